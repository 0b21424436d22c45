"""Single-line bugs of the C library that its tests must find; capi/kill_mutants.py tries them."""

import tomllib
from functools import cache
from pathlib import Path

from mutants import Mutant

FILE = Path(__file__).parent / "capi" / "mutants.toml"


@cache
def mutants() -> tuple[Mutant, ...]:
    """All that are listed."""
    listed = tomllib.loads(FILE.read_text(encoding="utf-8"))["mutant"]
    return tuple(Mutant(**{**one, "tests": tuple(one["tests"])}) for one in listed)
