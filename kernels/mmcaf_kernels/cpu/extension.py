"""OpenVINO's extension: the kernels as operators, for the one release of OpenVINO that it was built against."""

import ctypes
import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from packaging.version import Version

from . import __path__ as folders
from .library import LEVELS, KernelsMissingError, load

NAME = "libmmcaf_openvino_"
OPERATORS = (
    "GatedLstm",
    "GatedLstmStates",
    "GroupNormAct",
    "GroupedConvolution",
    "MaxPool",
    "MultiScaleDepthwise",
    "UpsampleDepthwise",
)
"""What the library must have."""
PLACING = ("cpu/openvino", "graph", "graph/fusions")
"""The parts of this package that decide where operators are put."""


@cache
def extension() -> Path:
    """The library that `Core.add_extension` and `NodeFactory.add_extension` take.

    Raises:
        KernelsMissingError: it was not built, or for another release of OpenVINO, cannot be loaded, or the processor
            lacks the instructions by which the kernels are faster than OpenVINO's own operators.
    """
    file = _for_installed()
    for runtime in _runtime():
        load(runtime)
    loaded = load(file)
    operators = _told(loaded, "mmcaf_operators").split()
    if lacking := [name for name in OPERATORS if name not in operators]:
        raise KernelsMissingError(f"{file} has no {lacking[0]}: it was built from older sources than are installed")
    if _told(loaded, "mmcaf_cpu_level") not in LEVELS[1:]:
        raise KernelsMissingError("this processor has no AVX2 and FMA, or MMCAF_CPU_FEATURES takes them away", "")
    return file


@cache
def instructions() -> str:
    """What the operators compute with on this processor: avx2, avx512, vnni or bf16, each with all before it.

    Raises:
        KernelsMissingError: as `extension`.
    """
    return _told(load(extension()), "mmcaf_cpu_level")


def fault() -> KernelsMissingError | None:
    """Why OpenVINO has no operators of ours here, and what would help, or None."""
    try:
        extension()
    except KernelsMissingError as failure:
        return failure
    return None


def missing() -> str | None:
    """Why OpenVINO has no operators of ours here, or None."""
    found = fault()
    return None if found is None else str(found)


@cache
def fingerprint() -> str:
    """What tells one build of the operators, what they compute with and what puts them into a network from another.

    "none" where there are none. The C library makes the same of the extension and of what that tells of `placing`.
    """
    if missing():
        return "none"
    digest = hashlib.sha256(extension().read_bytes() + placing().encode()).hexdigest()
    return f"{digest[:12]}-{instructions()}"


def placing() -> str:
    """SHA-256 of the sources that put operators into a network; of a program in one file, which has none, of those that
    the extension was built beside.

    Raises:
        KernelsMissingError: as `extension`.
    """
    listed = [f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n" for file in _sources()]
    if not listed:
        return _told(load(extension()), "mmcaf_placing")
    return hashlib.sha256("".join(listed).encode()).hexdigest()


def built() -> dict[str, Path]:
    """Release of OpenVINO -> the extension for it; an editable installation has the package in two folders."""
    files = (file for folder in folders for file in sorted(Path(folder).glob(f"{NAME}*")))
    return {file.stem.removeprefix(NAME): file for file in files if file.suffix in (".so", ".dylib", ".dll")}


def _sources() -> list[Path]:
    """Of what reads a network, finds blocks in it and puts the operators there."""
    package = {Path(folder).parent for folder in folders}
    return [file for root in sorted(package) for part in PLACING for file in sorted((root / part).glob("*.py"))]


def _for_installed() -> Path:
    """The extension for the OpenVINO that is installed."""
    try:
        release = Version(version("openvino")).base_version
    except PackageNotFoundError as failure:
        raise KernelsMissingError("the package openvino is not installed", "") from failure
    files = built()
    if not files:
        raise KernelsMissingError(f"not built; they are built where CMake finds GCC or Clang and openvino {release}")
    if release not in files:
        have = " and ".join(sorted(files))
        raise KernelsMissingError(
            f"built for openvino {have}, not for the installed {release}",
            "Install the OpenVINO that they were built for, or mmcaf-infer again from its sources.",
            f"pip install openvino=={max(files)}",
        )
    return files[release]


def _told(loaded: ctypes.CDLL, function: str) -> str:
    """The text that a function of the library gives."""
    ask = getattr(loaded, function, None)
    if ask is None:
        raise KernelsMissingError(
            f"{loaded._name} has no {function}: it was built from older sources than are installed"
        )
    ask.restype = ctypes.c_char_p
    found: bytes = ask()
    return found.decode()


def _runtime() -> list[Path]:
    """OpenVINO's own library, which the extension needs and finds only once it is loaded."""
    found = find_spec("openvino")
    places = (found.submodule_search_locations or ()) if found else ()
    return [file for place in places for file in sorted((Path(place) / "libs").glob("libopenvino.*"))]
