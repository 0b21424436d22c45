"""The kernels' libraries for the processor, which are loaded by path."""

from PyInstaller.utils.hooks import collect_dynamic_libs

binaries = collect_dynamic_libs("mmcaf_kernels")
hiddenimports = ["mmcaf_kernels.cpu"]
excludedimports = ["torch", "triton"]
