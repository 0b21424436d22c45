"""The built library of processor kernels: where it is, and whether it runs here."""

import ctypes
import hashlib
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from . import __path__ as folders

NAME = "libmmcaf_cpu"
LEVELS = ("reference", "avx2", "avx512", "vnni", "bf16")
FUNCTIONS = (
    "mmcaf_cpu_level",
    "mmcaf_cpu_allow",
    "mmcaf_area_resize_steps",
    "mmcaf_gated_lstm",
    "mmcaf_gated_lstm_states",
    "mmcaf_groupnorm_act",
    "mmcaf_grouped_convolution",
    "mmcaf_max_pool",
    "mmcaf_multi_scale_depthwise",
    "mmcaf_peak_multiply_add",
    "mmcaf_peak_read",
    "mmcaf_upsample_depthwise",
)
"""What the library must have."""


REBUILD = "Install mmcaf-infer again from its sources, where CMake finds GCC or Clang."


class KernelsMissingError(RuntimeError):
    """There is no library of processor kernels that runs here; the message says why.

    remedy: what to do, or nothing where nothing helps. command: a command line that does it, or nothing.
    """

    def __init__(self, reason: str, remedy: str = REBUILD, command: str = "") -> None:
        super().__init__(reason)
        self.remedy, self.command = remedy, command


@cache
def library() -> ctypes.CDLL:
    """The library, loaded once.

    Raises:
        KernelsMissingError: it was not built, or from older sources, or cannot be loaded.
    """
    file = built()
    if file is None:
        raise KernelsMissingError("not built; they are built with mmcaf-infer where CMake finds GCC or Clang")
    loaded = load(file)
    if lacking := [name for name in FUNCTIONS if not hasattr(loaded, name)]:
        raise KernelsMissingError(f"{file} has no {lacking[0]}: it was built from older sources than are installed")
    return loaded


def load(file: Path) -> ctypes.CDLL:
    """A library of ours.

    Raises:
        KernelsMissingError: the file is damaged or no library, or wants another one that is not there.
    """
    try:
        if _is_cut_short(file):
            raise OSError("it ends before its last section")
        return ctypes.CDLL(str(file))
    except OSError as failure:
        raise KernelsMissingError(f"{file} cannot be loaded: {failure}") from failure


def run(function: str, *arguments: object) -> None:
    """Call a function of the library that says whether it ran.

    Raises:
        KernelsMissingError: no library of processor kernels runs here.
        MemoryError: it needed more than there is; what it was to fill is undefined.
    """
    if getattr(library(), function)(*arguments):
        raise MemoryError(f"{function.removeprefix('mmcaf_').removesuffix('_run')}: out of memory")


def level() -> str:
    """What the kernels compute with: reference, avx2, avx512, vnni, bf16, each with all before it, or neon.

    Raises:
        KernelsMissingError: no library of processor kernels runs here.
    """
    ask = library().mmcaf_cpu_level
    ask.restype = ctypes.c_char_p
    found: bytes = ask()
    return found.decode()


@contextmanager
def at_most(name: str) -> Iterator[str]:
    """Let the kernels compute with no more than a level, for tests and benchmarks; gives `level` as it is then."""
    library().mmcaf_cpu_allow(name.encode())
    try:
        yield level()
    finally:
        library().mmcaf_cpu_allow(None)


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


def _is_cut_short(file: Path) -> bool:
    """Whether an ELF file ends before its table of sections, which lies last: the system would kill who loads it."""
    with file.open("rb") as library:
        header = library.read(64)
        if len(header) < 64 or header[:5] != b"\x7fELF\x02":
            return False
        (table,) = struct.unpack_from("<Q", header, 0x28)
        size, count = struct.unpack_from("<HH", header, 0x3A)
        return library.seek(0, 2) < table + size * count
