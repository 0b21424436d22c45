"""The C library as it is installed: what it exports and needs, and how a program finds it."""

import fnmatch
import json
import logging
import re
import shutil
from pathlib import Path

import pytest

import counterparts
from c_programs import EMBED, ROOT, STRICT, c_program, done, need_library
from c_programs import run as run_process
from command import Command
from mmcaf_engine import __version__
from mmcaf_engine.capi import library as libraries
from mmcaf_engine.capi.library import BESIDE, NAME, RUNTIME, CLibrary, fault

_log = logging.getLogger(__name__)
HEADER = ROOT / "engine" / "capi" / "include" / "mmcaf.h"
MAP = ROOT / "engine" / "capi" / "mmcaf.map"
LAYOUT = Path(__file__).with_name("layout.txt")
VERSION = '#include "mmcaf.h"\n#include <stdio.h>\nint main(void) { puts(mmcaf_version()); return 0; }\n'


@pytest.fixture(scope="module")
def library() -> CLibrary:
    return need_library()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A program that prints the library's version."""
    file = tmp_path / "version.c"
    file.write_text(VERSION)
    return file


def declared() -> set[str]:
    """Functions of the header."""
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(encoding="utf-8"), flags=re.DOTALL)
    return set(re.findall(r"^MMCAF_API\b[^;(]*?\b(mmcaf_\w+)\s*\(", text, re.MULTILINE))


def test_it_exports_what_the_header_declares_and_nothing_else(library: CLibrary) -> None:
    exported = done(counterparts.need("nm"), "--dynamic", "--defined-only", library.file).out
    names = {line.split()[-1].partition("@")[0] for line in exported.splitlines() if " A " not in line}
    assert names == declared() == set(re.findall(r"^    (mmcaf_\w+);", MAP.read_text(), re.MULTILINE))
    assert len(names) > 15 and "MMCAF_1" in exported


def test_structs_lie_as_they_did(library: CLibrary, tmp_path: Path) -> None:
    """A program that was compiled with an older header still works: a struct may only grow at its end.

    Where a struct has grown on purpose: tests/capi/layout.txt takes the lines that this test prints.
    """
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = []
    for body, name in re.findall(r"typedef struct \w+ \{(.*?)\} (\w+);", text, re.DOTALL):
        members = [part for one in body.split(";") for part in one.split(",")]
        fields = [found[1] for part in members if (found := re.search(r"(\w+)(?:\[\d+\])?\s*$", part.strip()))]
        lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
        lines += [f'printf("{name}.{field} %zu\\n", offsetof({name}, {field}));' for field in fields]
    (tmp_path / "layout.c").write_text(
        '#include "mmcaf.h"\n#include <stddef.h>\n#include <stdio.h>\nint main(void) {' + "\n".join(lines) + "}\n"
    )
    printed = done(c_program(tmp_path / "layout.c", tmp_path / "layout")).out
    assert len(lines) > 30
    kept = set(LAYOUT.read_text(encoding="utf-8").splitlines())
    moved = {line for line in kept if "." in line} - set(printed.splitlines())
    assert not moved, printed
    assert printed == LAYOUT.read_text(encoding="utf-8"), printed


@pytest.mark.parametrize(
    ("compiler", "standard", "header"),
    [("gcc", "c99", "mmcaf.h"), ("g++", "c++17", "mmcaf.h"), ("g++", "c++17", "mmcaf.hpp")],
    ids=["C", "C in C++", "C++"],
)
def test_headers_stand_alone(compiler: str, standard: str, header: str, library: CLibrary, tmp_path: Path) -> None:
    file = tmp_path / ("empty.c" if compiler == "gcc" else "empty.cpp")
    file.write_text(f'#include "{header}"\n#include "{header}"\n')
    done(counterparts.need(compiler), f"-std={standard}", *STRICT, *library.cflags(), "-fsyntax-only", file)


def test_no_python_is_needed(library: CLibrary) -> None:
    needed = done("ldd", library.file).out
    names = [line.split()[0] for line in needed.splitlines()]
    assert set(BESIDE) <= set(names) and "not found" not in needed
    assert not [name for name in names if "python" in name.lower()]
    assert fault() is None
    _log.info("%.2f MiB, %d files to copy", library.file.stat().st_size / 2**20, len(library.files()))
    assert library.file.stat().st_size < 8 * 2**20


def test_a_program_is_built_with_what_the_command_prints(run: Command, source: Path, tmp_path: Path) -> None:
    flags = run("mmcaf", "capi", "--cflags", "--libs").out
    assert run("mmcaf", "capi", "--libs").out in flags and len(flags.splitlines()) == 1
    done("sh", "-c", f"{counterparts.need('gcc')} {source} -o {tmp_path}/version {flags}")
    assert done(tmp_path / "version").out == f"{__version__}\n"


def test_a_program_is_built_by_pkg_config(library: CLibrary, source: Path, tmp_path: Path) -> None:
    found = done(counterparts.need("pkg-config"), "--cflags", "--libs", "mmcaf", PKG_CONFIG_PATH=str(library.pkgconfig))
    done("sh", "-c", f"{counterparts.need('gcc')} {source} -o {tmp_path}/version {found.out.strip()}")
    assert done(tmp_path / "version").out == f"{__version__}\n"


def test_cmake_finds_it_in_a_version_that_fits(run: Command, tmp_path: Path) -> None:
    folder = run("mmcaf", "capi", "--cmake").out.strip()
    shutil.copytree(EMBED, tmp_path / "embed")
    ask = ("cmake", "-S", tmp_path / "embed", "-B", tmp_path / "build", f"-Dmmcaf_DIR={folder}")
    assert "Configuring done" in done(*ask).out
    project = tmp_path / "embed" / "CMakeLists.txt"
    project.write_text(project.read_text().replace("find_package(mmcaf 0.1 ", "find_package(mmcaf 99.1 "))
    assert f"version: {__version__}" in run_process(*ask).err


def test_the_command_says_where_all_is(run: Command, library: CLibrary) -> None:
    shown = json.loads(run("mmcaf", "capi", "--json").out)
    paths = [shown[name] for name in ("library", "include", "csharp", "cmake", "pkgconfig")] + shown["files"]
    assert all(Path(path).exists() for path in paths)
    names = [Path(path).name for path in shown["files"]]
    for pattern in (NAME, "libmmcaf_openvino_*.so", *RUNTIME):
        assert len(fnmatch.filter(names, pattern)) == 1, pattern
    assert shown["bytes"] == library.file.stat().st_size and shown["version"] == __version__
    text = run("mmcaf", "capi").out
    assert str(library.file) in text and "libcrypto.so.3" in text
    assert run("mmcaf", "capi", "--path").out.strip() == str(library.folder)
    run("mmcaf", "capi", "--path", "--libs").refused(2, "--path is printed alone")


def test_without_the_library_the_command_says_how_to_build_it(
    run: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(libraries, "places", lambda: iter([tmp_path]))
    run("mmcaf", "capi", "--cflags").refused(6, NAME, "apt install g++ libssl-dev zlib1g-dev", "from its sources")
    assert NAME in str(fault())
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / NAME).write_bytes(b"no library")
    assert "cannot be loaded" in str(fault())
