"""A pytest plugin: parts of the C library come from the file that NATIVE_PARTS names, and not from the installation."""

import ctypes
import os

import testing_library


def _loaded() -> ctypes.CDLL:
    library = ctypes.CDLL(os.environ["NATIVE_PARTS"])
    library.mmcaf_testing_free.argtypes = [ctypes.c_void_p]
    return library


testing_library._loaded = _loaded
