"""Makes a libcuda.so.1 that PyCUDA can be imported with: what libcuda.c has, and a refusal for all else it links to."""

import re
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("libcuda.c")


def missing_tools() -> str | None:
    """The program without which it cannot be made."""
    return next((tool for tool in ("gcc", "nm") if shutil.which(tool) is None), None)


def make_libcuda(module: Path, folder: Path) -> Path:
    """The library, in a folder, for PyCUDA's extension module."""
    listed = _output("nm", "--dynamic", "--undefined-only", module)
    wanted = set(re.findall(r" U (cu[A-Z]\w+)", listed))
    ours = set(re.findall(r"^int (cu[A-Z]\w+)\(", SOURCE.read_text(), re.MULTILINE))
    rest = folder / "rest.c"
    rest.write_text("".join(f"int {name}(void) {{ return 801; }}\n" for name in sorted(wanted - ours)))
    library = folder / "libcuda.so.1"
    _output("gcc", "-shared", "-fPIC", "-O1", "-w", "-Wl,-soname,libcuda.so.1", "-o", library, SOURCE, rest)
    return library


def _output(*command: object) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
