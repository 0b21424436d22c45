"""Programs that are built with this installation's C library, and what they answer."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

import counterparts
from mmcaf_engine.capi.library import CLibrary, c_library
from mmcaf_engine.errors import BackendError

ROOT = Path(__file__).parent.parent
EMBED = ROOT / "examples" / "embed"
STRICT = ("-O0", "-Wall", "-Wextra", "-Werror", "-pedantic")


@dataclass(frozen=True)
class Ended:
    """What a program left behind."""

    code: int
    out: str
    err: str


def need_library() -> CLibrary:
    """The C library; without it, the test is skipped."""
    try:
        return c_library()
    except BackendError as failure:
        pytest.skip(str(failure))


def c_program(source: Path, program: Path, *more: str) -> Path:
    """Compile and link a file of C99."""
    library = need_library()
    return _compiled([counterparts.need("gcc", "cc"), "-std=c99"], source, program, library, more)


def cpp_program(source: Path, program: Path, *more: str) -> Path:
    """Compile and link a file of C++17."""
    library = need_library()
    return _compiled([counterparts.need("g++", "c++"), "-std=c++17"], source, program, library, more)


def csharp_program(source: Path, program: Path) -> Path:
    """Compile a file of C# with the binding."""
    library = need_library()
    sources = [str(source), *map(str, sorted(library.csharp.glob("*.cs")))]
    done(counterparts.need("mcs"), "-warnaserror+", f"-out:{program}", *sources)
    return program


def done(*command: object, **environment: str) -> Ended:
    """A command that must succeed."""
    ended = run(*command, **environment)
    assert ended.code == 0, ended.err
    return ended


def run(*command: object, **environment: str) -> Ended:
    """A command in a process of its own."""
    process = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    return Ended(process.returncode, process.stdout, process.stderr)


def _compiled(compiler: list[str], source: Path, program: Path, library: CLibrary, more: tuple[str, ...]) -> Path:
    done(*compiler, *STRICT, *library.cflags(), source, "-o", program, *library.libs(), *more)
    return program
