"""The engine with its rooms, which are imported on first use, the demonstration's bundle, the runtimes with what they
load by path, and versions of packages."""

from importlib.util import find_spec

from PyInstaller.utils.hooks import collect_data_files, collect_dynamic_libs, collect_submodules, copy_metadata

PACKAGES = ("mmcaf-infer", "numpy", "pydantic", "pydicom", "imagecodecs", "nibabel")
RUNTIMES = tuple(name for name in ("onnxruntime", "openvino") if find_spec(name))  # not every processor has both

hiddenimports = [*collect_submodules("mmcaf_engine"), *RUNTIMES]
# Gigabytes that only a GPU or an export has a use for: who wants one names it with --hidden-import.
excludedimports = ["torch", "tensorrt", "tensorrt_rtx", "triton", "mmcaf_export", "matplotlib"]
datas = collect_data_files("mmcaf_engine")
for package in (*PACKAGES, *RUNTIMES):
    datas += copy_metadata(package)
libraries = ["*.so*", "*.dll", "*.dylib"]
binaries = [library for name in RUNTIMES for library in collect_dynamic_libs(name, search_patterns=libraries)]
