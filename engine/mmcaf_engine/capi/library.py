"""Where libmmcaf lies, how a program is compiled and linked with it, and which files go along with that program."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from ..errors import BackendError, Remedy
from ..machine.installation import DISTRIBUTION
from . import __path__ as folders

NAME = "libmmcaf.so.1"
"""The number is that of the interface: MMCAF_API_VERSION of mmcaf.h."""
RUNTIME = (
    "libopenvino.so.*",
    "libopenvino_intel_cpu_plugin.so",
    "libopenvino_ir_frontend.so.*",
    "libopenvino_onnx_frontend.so.*",
    "libtbb.so.*",
)
"""What of OpenVINO's package an answer on the processor needs; the frontends read kept engines and ONNX networks."""
BESIDE = ("libcrypto.so.3", "libz.so.1")
"""What the system has: of OpenSSL 3, and zlib."""


@dataclass(frozen=True)
class CLibrary:
    """The folder that holds include, lib and csharp."""

    folder: Path

    @property
    def file(self) -> Path:
        """The library."""
        return self.folder / "lib" / NAME

    @property
    def include(self) -> Path:
        """Where mmcaf.h and mmcaf.hpp are."""
        return self.folder / "include"

    @property
    def csharp(self) -> Path:
        """Where the sources for C# are."""
        return self.folder / "csharp"

    @property
    def cmake(self) -> Path:
        """What mmcaf_DIR is for CMake's find_package(mmcaf)."""
        return self.folder / "lib" / "cmake" / "mmcaf"

    @property
    def pkgconfig(self) -> Path:
        """What PKG_CONFIG_PATH names for pkg-config."""
        return self.folder / "lib" / "pkgconfig"

    def cflags(self) -> list[str]:
        """Arguments for the compiler."""
        return [f"-I{self.include}"]

    def libs(self) -> list[str]:
        """Arguments for the linker; the program then finds the library where it lies now."""
        folder = self.file.parent
        return [f"-L{folder}", f"-l:{NAME}", f"-Wl,-rpath,{folder}"]

    def files(self) -> list[Path]:
        """What a computer without Python needs, to be copied into one folder: library, operators, OpenVINO.

        `BESIDE` comes from its system.
        """
        return [self.file, *_operators(), *_runtime()]


def c_library() -> CLibrary:
    """The one of this installation.

    Raises:
        BackendError: it was not built.
    """
    for folder in places():
        if (found := CLibrary(folder)).file.is_file():
            return found
    raise BackendError(
        f"The C library, {NAME}, was not built with this installation: that needs GCC or Clang, the package openvino, "
        "and the headers of OpenSSL 3 and zlib.",
        Remedy("On Debian and Ubuntu, install them", command="apt install g++ libssl-dev zlib1g-dev"),
        "Then install mmcaf-infer again from its sources.",
    )


def places() -> Iterator[Path]:
    """Where this package is; of an editable installation, CMake's files lie where it is installed."""
    yield from map(Path, folders)
    try:
        yield Path(str(distribution(DISTRIBUTION).locate_file("mmcaf_engine/capi")))
    except PackageNotFoundError:
        return


def fault() -> str | None:
    """Why the library cannot be used here, or None: it is loaded."""
    try:
        library = c_library()
    except BackendError as failure:
        return failure.problem
    from mmcaf_kernels.cpu.library import KernelsMissingError, load

    try:
        load(library.file)
    except KernelsMissingError as failure:
        return str(failure)
    return None


def _operators() -> list[Path]:
    """The kernels, which the library looks for beside itself; none where they were not built."""
    from mmcaf_kernels.cpu.extension import built

    return list(built().values())


def _runtime() -> list[Path]:
    found = find_spec("openvino")
    places = (found.submodule_search_locations or ()) if found else ()
    return [file for place in places for name in RUNTIME for file in sorted((Path(place) / "libs").glob(name))]
