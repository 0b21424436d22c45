"""Single-line bugs that the tests beside a module must find, room by room; `kill.py` tries them."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Mutant:
    """One bug: a line of a file that becomes another, and the tests that are the closest to it.

    equivalent: why no test can tell the difference; such a one is not tried.
    """

    file: str
    line: str
    becomes: str
    tests: tuple[str, ...] = ()
    equivalent: str = ""

    def __str__(self) -> str:
        return f"{self.file}: {self.line.strip()} -> {self.becomes.strip()}"


def rooms() -> dict[str, tuple[Mutant, ...]]:
    """Room -> its mutants, of the TOML file of its name."""
    return {file.stem: _read(file) for file in sorted(FOLDER.glob("*.toml"))}


def _read(file: Path) -> tuple[Mutant, ...]:
    listed = tomllib.loads(file.read_text(encoding="utf-8"))["mutant"]
    return tuple(Mutant(**{**one, "tests": tuple(one.get("tests", ()))}) for one in listed)
