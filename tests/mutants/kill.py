"""Tries every mutant: the tests closest to it must fail within a minute.

    python tests/mutants/kill.py [ROOM ...] [--jobs N]

prints a line for each that survives or that no test could judge, and a table of the rooms; ends with 1 if there is any.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from mutants import Mutant, rooms  # noqa: E402

SECONDS = 60
FAILED, PASSED = 1, 0
"""What pytest ends with: some test failed, all passed; everything else judges nothing."""


@dataclass(frozen=True)
class Verdict:
    """What became of one mutant."""

    mutant: Mutant
    killed: bool
    why: str
    seconds: float


def trial(mutant: Mutant) -> Verdict:
    """Run the tests closest to a mutant."""
    command = [Path(sys.executable).with_name("pytest"), "-x", "-q", "-p", "mutants.plugin", "-p", "no:cacheprovider"]
    described = {name: value for name, value in asdict(mutant).items() if name in ("file", "line", "becomes")}
    started = time.monotonic()
    try:
        ran = subprocess.run(
            [*map(str, command), *mutant.tests],
            cwd=ROOT,
            env={**os.environ, "MUTANT": json.dumps(described), "PYTHONPATH": str(ROOT / "tests"), "CI": ""},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Verdict(mutant, False, f"no verdict within {SECONDS} s", SECONDS)
    said = {FAILED: "", PASSED: "survived"}.get(
        ran.returncode, f"pytest ended with {ran.returncode}: {ran.stdout[-800:]}"
    )
    return Verdict(mutant, ran.returncode == FAILED, said, time.monotonic() - started)


def report(name: str, verdicts: list[Verdict], equivalent: int) -> Iterator[str]:
    """What there is to say of one room."""
    for one in verdicts:
        if not one.killed:
            yield f"{one.mutant}\n    {one.why}"
    killed = sum(one.killed for one in verdicts)
    slowest = max((one.seconds for one in verdicts), default=0.0)
    yield f"{name}: {killed} of {len(verdicts)} killed, slowest {slowest:.0f} s; {equivalent} equivalent"


def main() -> None:
    """Try the mutants of some rooms, or of all."""
    known = rooms()
    parser = argparse.ArgumentParser(description="Try single-line bugs: the closest tests must fail.")
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=f"of {', '.join(known)}")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    if unknown := set(given.rooms) - set(known):
        parser.error(f"no file for {', '.join(sorted(unknown))} in tests/mutants")
    survived = 0
    with ThreadPoolExecutor(given.jobs) as pool:
        for name in given.rooms or known:
            tried = [mutant for mutant in known[name] if not mutant.equivalent]
            verdicts = list(pool.map(trial, tried))
            survived += sum(not one.killed for one in verdicts)
            print(*report(name, verdicts, len(known[name]) - len(tried)), sep="\n", flush=True)
    parser.exit(1 if survived else 0)


if __name__ == "__main__":
    main()
