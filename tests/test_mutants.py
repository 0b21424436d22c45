"""The lists of mutants fit the code of today: each names one line, still compiles, and has tests to kill it."""

import ast
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from import_rules import GROUND, PACKAGES, ROOMS, ROOT
from mutants import Mutant, rooms
from mutants.plugin import changed, module_name

LEAST = 10
KNOWN = rooms()
EVERY = [pytest.param(one, id=f"{room}-{at}") for room, listed in KNOWN.items() for at, one in enumerate(listed)]


def places() -> set[str]:
    """The rooms that exist, the engine's ground as one, and the other packages."""
    engine = PACKAGES["mmcaf_engine"]
    there = {name for group in ROOMS for name in group if (engine / name).is_dir()}
    return there | {"ground", "pipeline", "cli", "export", "kernels"}


def room_of(file: str) -> str:
    package, *rest = module_name(Path(file)).split(".")
    if package != "mmcaf_engine":
        return package.removeprefix("mmcaf_")
    return "ground" if rest[0] in {name for group in GROUND for name in group} else rest[0]


def test_every_room_has_its_mutants() -> None:
    assert set(KNOWN) == places()
    for room, listed in KNOWN.items():
        tried = [one for one in listed if not one.equivalent]
        assert len(tried) >= LEAST and len(set(listed)) == len(listed), room
        assert {room_of(one.file) for one in listed} == {room}


@cache
def statements(file: str) -> tuple[str, dict[range, str]]:
    """A file, and where its statements of the outermost level lie: lines, counted from 1 -> what they say."""
    source = (ROOT / file).read_text(encoding="utf-8")
    return source, {lines_of(one): ast.dump(one) for one in ast.parse(source).body}


def lines_of(statement: ast.stmt) -> range:
    first = min([statement.lineno, *(one.lineno for one in getattr(statement, "decorator_list", ()))])
    return range(first, (statement.end_lineno or first) + 1)


@pytest.mark.parametrize("mutant", EVERY)
def test_a_mutant_fits_the_code(mutant: Mutant) -> None:
    source, known = statements(mutant.file)
    other = changed(source, mutant.line, mutant.becomes).splitlines()
    pairs = zip(source.splitlines(), other, strict=True)
    (at,) = (number for number, (now, then) in enumerate(pairs, start=1) if now != then)
    [(lines, before)] = [(lines, says) for lines, says in known.items() if at in lines]
    [after] = ast.parse("\n".join(other[lines.start - 1 : lines.stop - 1])).body
    assert ast.dump(after) != before
    assert mutant.equivalent or mutant.tests
    for test in mutant.tests:
        file, _, named = test.partition("::")
        function = named.partition("[")[0]
        assert not function or f"\ndef {function}(" in (ROOT / file).read_text(encoding="utf-8"), test
        assert (ROOT / file).exists(), test


GRANDCHILD = """
import subprocess, sys
import mutants.plugin
code = "from mmcaf_engine.errors import CAUSE_CHARACTERS; print(CAUSE_CHARACTERS)"
subprocess.run([sys.executable, "-c", code], check=True)
"""


def test_a_process_that_a_test_starts_sees_the_change_too() -> None:
    file, line = "engine/mmcaf_engine/errors.py", "CAUSE_CHARACTERS = 4096"
    mutant = json.dumps({"file": file, "line": line, "becomes": "CAUSE_CHARACTERS = 3"})
    known = {**os.environ, "MUTANT": mutant, "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run([sys.executable, "-c", GRANDCHILD], env=known, capture_output=True, text=True, check=True)
    assert done.stdout == "3\n"
