"""The built library of processor kernels: where it is, and whether it runs here."""

import ctypes
import hashlib
from functools import cache
from pathlib import Path

from . import __path__ as folders

NAME = "libmmcaf_cpu"
FUNCTIONS = ("mmcaf_gated_lstm", "mmcaf_gated_lstm_states")
"""What it must have besides `mmcaf_runs_here`."""


class KernelsMissingError(RuntimeError):
    """There is no library of processor kernels that runs here; the message says why."""


@cache
def library() -> ctypes.CDLL:
    """The library, loaded once.

    Raises:
        KernelsMissingError: it was not built, or from older sources, cannot be loaded, or is made of instructions that
            the processor lacks.
    """
    file = built()
    if file is None:
        raise KernelsMissingError(
            "not built; they are built with mmcaf-infer from its sources where CMake finds GCC or Clang"
        )
    try:
        loaded = ctypes.CDLL(str(file))
    except OSError as failure:
        raise KernelsMissingError(f"{file} cannot be loaded: {failure}") from failure
    if lacking := [name for name in FUNCTIONS if not hasattr(loaded, name)]:
        raise KernelsMissingError(f"{file} has no {lacking[0]}: it was built from older sources than are installed")
    if not loaded.mmcaf_runs_here():
        raise KernelsMissingError("this processor has no AVX2 and FMA")
    return loaded


def missing() -> str | None:
    """Why there are no processor kernels here, or None."""
    try:
        library()
    except KernelsMissingError as failure:
        return str(failure)
    return None


@cache
def fingerprint() -> str:
    """The first twelve hexadecimal digits of the library's SHA-256; "none" where there is none that runs here."""
    file = built()
    if file is None or missing():
        return "none"
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]


def built() -> Path | None:
    """The library's file; an editable installation has the package in two folders."""
    files = (file for folder in folders for file in Path(folder).glob(f"{NAME}.*"))
    return next((file for file in files if file.suffix in (".so", ".dylib", ".dll")), None)
