"""`mmcaf capi`."""

import shlex
from collections.abc import Sequence
from typing import Any

from mmcaf_engine import __version__
from mmcaf_engine.capi.library import BESIDE, CLibrary, c_library
from mmcaf_engine.errors import UsageError

from .console import to_json
from .report import Report


def capi_command(asked: Sequence[str], report: Report) -> None:
    """Print what is asked for, or all there is to say.

    Args:
        asked: cflags and libs, in one line; or path, cmake or files alone.
    """
    flags = [name for name in asked if name in ("cflags", "libs")]
    if len(asked) > max(len(flags), 1):
        alone = next(name for name in asked if name not in flags)
        raise UsageError(f"--{alone} is printed alone.", "Leave the others out.")
    report.check()
    library = c_library()
    report.give(lambda: "\n".join(_lines(library, asked)), lambda: to_json(_document(library)))


def _lines(library: CLibrary, asked: Sequence[str]) -> list[str]:
    if "path" in asked:
        return [str(library.folder)]
    if "cmake" in asked:
        return [str(library.cmake)]
    if "files" in asked:
        return [str(file) for file in library.files()]
    if asked:
        flags = {"cflags": library.cflags, "libs": library.libs}
        return [shlex.join(part for name, give in flags.items() if name in asked for part in give())]
    size = library.file.stat().st_size / 2**20
    return [
        f"library     {library.file}, version {__version__}, {size:.1f} MiB",
        f"compile     {shlex.join(library.cflags())}",
        f"link        {shlex.join(library.libs())}",
        f"CMake       -Dmmcaf_DIR={library.cmake}",
        f"pkg-config  PKG_CONFIG_PATH={library.pkgconfig}",
        f"C#          {library.csharp}",
        f"to copy     {len(library.files())} files (--files), beside {' and '.join(BESIDE)} of the system",
    ]


def _document(library: CLibrary) -> dict[str, Any]:
    return {
        "version": __version__,
        "library": str(library.file),
        "bytes": library.file.stat().st_size,
        "include": str(library.include),
        "csharp": str(library.csharp),
        "cmake": str(library.cmake),
        "pkgconfig": str(library.pkgconfig),
        "cflags": library.cflags(),
        "libs": library.libs(),
        "files": [str(file) for file in library.files()],
        "beside": list(BESIDE),
    }
