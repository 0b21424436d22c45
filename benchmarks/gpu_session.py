"""A short session on a lent GPU in two parts: correctness, then numbers; steps that hang are killed, the rest goes on.

python benchmarks/gpu_session.py prepare [--carry build/gpu_session]    beforehand, on a machine without a GPU
python benchmarks/gpu_session.py 1 --out DIR                            on the GPU: correctness, cheap to dear
python benchmarks/gpu_session.py 2 --out DIR                            on the GPU: numbers

The machine with the GPU needs torch, Triton, NumPy and pytest, and no network; it is given the repository and what was
prepared. Every step has a time after which it and all that it started are killed, and a log of its own in DIR
($OUT by default); its outcome is a line of DIR/summary-PART.txt, written when it ends. A step that no longer fits into
the part's time is left out, and one whose tool is absent (ncu, compute-sanitizer) is passed over; both are said. The
exit status is 1 if a step failed, was killed or was left out, and 2 if nothing was prepared.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gpu_session_plan import PARTS, Step
from rows import Budget, append

ROOT = Path(__file__).resolve().parents[1]
CARRY = Path("build", "gpu_session")
LAST_LINE = 160

Execute = Callable[[Sequence[str], Path, float, Mapping[str, str]], int | None]
"""Runs a command with its output in a file, at most so many seconds; its exit status, or None if it was killed."""


@dataclass(frozen=True)
class Outcome:
    """How a step ended: passed, failed, killed, left out or absent; and in words, if there is more to say."""

    kind: str
    words: str = ""


def main(
    given: Sequence[str] | None = None, execute: Execute | None = None, clock: Callable[[], float] = time.monotonic
) -> int:
    """One part, or the preparation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("prepare", *PARTS))
    parser.add_argument("--carry", type=Path, default=ROOT / CARRY, help="what is prepared, and brought to the GPU")
    parser.add_argument("--out", type=Path, default=os.environ.get("OUT"), help="default: $OUT")
    parser.add_argument("--seconds", type=float, help="of this part; by default as planned")
    parser.add_argument("--python", default="3.12", help="version on the machine with the GPU, for its wheels")
    chosen = parser.parse_args(given)
    carry = chosen.carry.resolve()
    if chosen.part == "prepare":
        from gpu_session_prepare import prepare

        return prepare(ROOT, carry, chosen.python)
    if not carry.is_dir():
        print(f"{carry}: nothing was prepared; run before: benchmarks/gpu_session.sh prepare", file=sys.stderr)
        return 2
    if chosen.out is None:
        parser.error("--out is needed where $OUT is not set")
    chosen.out.mkdir(parents=True, exist_ok=True)
    seconds, steps = PARTS[chosen.part]
    budget = Budget(chosen.seconds or seconds, clock)
    with tempfile.TemporaryDirectory() as site:
        environment = surroundings(carry, unpacked(carry, Path(site)))
        planned = steps(carry, chosen.out.resolve(), sys.executable)
        summary = chosen.out / f"summary-{chosen.part}.txt"
        return perform(planned, budget, chosen.out, summary, environment, execute or run_limited, clock)


def perform(
    steps: Sequence[Step],
    budget: Budget,
    out: Path,
    summary: Path,
    environment: Mapping[str, str],
    execute: Execute,
    clock: Callable[[], float],
) -> int:
    """Every step in order; 1 if one failed, was killed or was left out."""
    wrong = False
    for number, step in enumerate(steps):
        begun = clock()
        outcome = one(step, budget, out / f"{step.name}.log", environment, execute)
        line = f"{outcome.kind:9}{step.name:14}{clock() - begun:7.1f} s  {outcome.words}".rstrip()
        append(summary, f"{line}\n", first=number == 0)
        print(line, flush=True)
        wrong = wrong or outcome.kind not in ("passed", "absent")
    return int(wrong)


def one(step: Step, budget: Budget, log: Path, environment: Mapping[str, str], execute: Execute) -> Outcome:
    """Do a step, if its tool is there and its time fits."""
    if shutil.which(step.command[0], path=environment.get("PATH")) is None:
        return Outcome("absent", f"{step.command[0]} is not installed")
    left = budget.left()
    if left is not None and left < step.seconds:
        return Outcome("left out", f"it may take {step.seconds:.0f} s, and {left:.0f} s are left")
    try:
        status = execute(step.command, log, step.seconds, environment)
    except OSError as failure:
        return Outcome("failed", f"it cannot be started: {failure}")
    if status is None:
        return Outcome("killed", f"after {step.seconds:.0f} s: {last_line(log)}")
    return Outcome("failed", f"exit status {status}: {last_line(log)}") if status else Outcome("passed", last_line(log))


def run_limited(command: Sequence[str], log: Path, seconds: float, environment: Mapping[str, str]) -> int | None:
    """As `Execute`; whatever the command started ends with it."""
    with log.open("wb") as stream:
        started = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=environment,
            process_group=0,  # not a session of its own, which would outlive this program where that is killed
        )
        try:
            return started.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
            started.wait()


def last_line(log: Path) -> str:
    """The last line of a log that says something."""
    if not log.exists():
        return "no log"
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip()[:LAST_LINE] for line in reversed(lines) if line.strip()), "it said nothing")


def surroundings(carry: Path, site: Path) -> dict[str, str]:
    """The environment of every step: our packages from the repository, what was compiled from the carried folder.

    The variables name files also where those are missing, so that no step compiles in their place.
    """
    own = [str(ROOT / name) for name in ("kernels", "engine", "export")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*own, str(site)]),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "MMCAF_ON_GPU": "1",  # a test that is skipped has shown nothing
        "MMCAF_MSDC_FATBIN": str(carry / "msdc.fatbin"),
        "MMCAF_CUBINS": str(carry / "cubin"),
        "MMCAF_CACHE": str(site / "cache"),
    }


def unpacked(carry: Path, site: Path) -> Path:
    """A folder with the carried packages that this Python lacks."""
    for wheel in sorted((carry / "wheels").glob("*.whl")):
        try:
            version(wheel.name.split("-")[0])
        except PackageNotFoundError:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(site)
    return site


if __name__ == "__main__":
    sys.exit(main())
