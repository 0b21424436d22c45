"""The kernels' libraries for the processor, which are loaded by path, and what makes nodes of a network of them."""

from importlib.util import find_spec

from PyInstaller.utils.hooks import collect_dynamic_libs

binaries = collect_dynamic_libs("mmcaf_kernels")
hiddenimports = ["mmcaf_kernels.cpu", *(["openvino.utils.node_factory"] if find_spec("openvino") else [])]
excludedimports = ["torch", "triton"]
