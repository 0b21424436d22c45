"""A short session on a lent GPU in two parts: correctness, then numbers; steps that hang are killed, the rest goes on.

python benchmarks/gpu_session.py prepare [--carry build/gpu_session]    beforehand, on a machine without a GPU
python benchmarks/gpu_session.py 1 --out DIR                            on the GPU: correctness, cheap to dear
python benchmarks/gpu_session.py 2 --out DIR                            on the GPU: numbers

The machine with the GPU needs torch, Triton, NumPy and pytest, and no network; it is given the repository and what was
prepared. Every step has a time after which it and all that it started are killed, and a log of its own in DIR
($OUT by default); its outcome is a line of DIR/summary-PART.txt, written when it ends. A step that no longer fits into
the part's time is left out, and one whose tool is absent (ncu, compute-sanitizer) is passed over; both are said. The
exit status is 1 if a step failed, was killed or was left out. Before any step: 2 if what was prepared is not there, not
whole or not for this machine, or DIR cannot be written; 6 without one of those packages, and without a GPU that torch
and what is compiled here can use. Where a signal ends the session, the step that runs ends with it, what it wrote
stays, and the status is 128 and the signal's number: 143 for SIGTERM.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import usage
from descendants import ended_together
from gpu_session_carried import COMMIT, CUBINS, FATBIN, faults, fits, wheels
from gpu_session_plan import PARTS, Step
from rows import Budget, append

from mmcaf_engine.errors import printable
from mmcaf_engine.machine.gpu import find_gpus
from mmcaf_kernels.targets import TARGETS

ROOT = usage.ROOT
COMMAND = "benchmarks/gpu_session.sh"
CARRY = Path("build", "gpu_session")
PYTHON, TARGET = "3.12", "sm_90"
OLDEST_PYTHON = 11
"""Of Python 3."""
FEW = ("torch", "triton", "numpy", "pytest")
"""What the machine with the GPU must have itself."""
LAST_LINE = 160
TAIL = 2**16
"""Bytes of a log that its last line is looked for in."""

Execute = Callable[[Sequence[str], Path, float, Mapping[str, str]], int | None]
"""Runs a command with its output in a file, at most so many seconds; its exit status, or None if it was killed."""


@dataclass(frozen=True)
class Outcome:
    """How a step ended: passed, failed, killed, left out, absent or ended; and in words, if there is more to say."""

    kind: str
    words: str = ""


def main(
    given: Sequence[str] | None = None, execute: Execute | None = None, clock: Callable[[], float] = time.monotonic
) -> int:
    """One part, or the preparation."""
    asked = usage.parser(__doc__)
    asked.add_argument("part", choices=("prepare", *PARTS))
    asked.add_argument("--carry", type=usage.path, default=ROOT / CARRY, help="what is brought to the GPU")
    asked.add_argument("--out", type=usage.path, help="default: $OUT")
    asked.add_argument("--seconds", type=usage.seconds, help="of this part; by default as planned")
    asked.add_argument("--force", action="store_true", help="replace the files of an earlier session in DIR")
    asked.add_argument("--python", type=python_version, help=f"of the machine with the GPU; default: {PYTHON}")
    asked.add_argument("--target", choices=TARGETS, help=f"of that GPU; default: {TARGET}")
    chosen = asked.parse_args(given)
    others = ("out", "seconds", "force") if chosen.part == "prepare" else ("python", "target")
    if idle := [f"--{name}" for name in others if getattr(chosen, name) not in (None, False)]:
        asked.error(f"{chosen.part} has no use for {', '.join(idle)}")
    carry = chosen.carry.resolve()
    if chosen.part == "prepare":
        from gpu_session_prepare import prepare

        with ended_together():
            return prepare(ROOT, carry, chosen.python or PYTHON, chosen.target or TARGET)
    named = chosen.out or (Path(os.environ["OUT"]) if os.environ.get("OUT") else None)
    if named is None:
        asked.error("--out is needed where $OUT is not set")
    if absent := [name for name in FEW if find_spec(name) is None]:
        return usage.missing(f"{sys.executable} has no {', '.join(absent)}; $PYTHON names another interpreter")
    out = named.resolve()
    usage.try_outputs(asked, [("--out", out)], inputs=[carry], kind="folder", force=True)
    gpus = find_gpus()
    capability = (gpus.found[0].target.major, gpus.found[0].target.minor) if gpus.found else None
    if capability is not None and not targets_for(capability):
        return usage.missing("nothing is compiled here for a GPU of compute capability {}.{}".format(*capability))
    if wrong := faults(carry, capability):
        print(*(f"{carry}: {one}" for one in wrong), sep="\n", file=sys.stderr)
        print(f"Prepare it elsewhere, and bring it: {preparation(carry, capability)}", file=sys.stderr)
        return usage.WRONG_USAGE
    if not gpus.found:
        return usage.without_gpu(gpus.reason)
    if reason := usage.torch_missing():
        return usage.without_gpu(reason)
    seconds, steps = PARTS[chosen.part]
    planned = steps(carry, out, sys.executable)
    summary = out / f"summary-{chosen.part}.txt"
    written = [summary, *(out / name for step in planned for name in (f"{step.name}.log", *step.writes))]
    if out.exists():
        usage.try_outputs(asked, [("--out", file) for file in written], force=chosen.force)
    out.mkdir(parents=True, exist_ok=True)
    budget = Budget(chosen.seconds or seconds, clock)
    with tempfile.TemporaryDirectory() as site:
        environment = surroundings(carry, unpacked(carry, Path(site)))
        return perform(planned, budget, out, summary, environment, execute or run_limited, clock)


def preparation(carry: Path, capability: tuple[int, int] | None) -> str:
    """The command that prepares all for this machine."""
    words = [COMMAND, "prepare", *(("--carry", str(carry)) if carry != ROOT / CARRY else ())]
    words += ["--python", "{}.{}".format(*sys.version_info)]
    return shlex.join([*words, *(("--target", targets_for(capability)[-1]) if capability else ())])


def targets_for(capability: tuple[int, int]) -> list[str]:
    """Those whose code runs on such a GPU."""
    return [target for target in TARGETS if fits(int(target.removeprefix("sm_")), capability)]


def python_version(text: str) -> str:
    """One that this project runs on, such as 3.12."""
    named = re.fullmatch(r"3\.([1-9]\d?)", text)
    if named is None or int(named[1]) < OLDEST_PYTHON:
        raise argparse.ArgumentTypeError(
            f"expected a version such as {PYTHON}, at least 3.{OLDEST_PYTHON}, got {text!r}"
        )
    return text


def perform(
    steps: Sequence[Step],
    budget: Budget,
    out: Path,
    summary: Path,
    environment: Mapping[str, str],
    execute: Execute,
    clock: Callable[[], float],
) -> int:
    """Every step in order; 1 if one failed, was killed or was left out.

    Raises:
        SystemExit: a signal ended a step, which has its line.
    """
    wrong = False
    for number, step in enumerate(steps):
        begun, ending = clock(), None
        log = out / f"{step.name}.log"
        try:
            outcome = one(step, budget, log, environment, execute)
        except SystemExit as signalled:
            ending, outcome = signalled, Outcome("ended", f"with the session: {last_line(log)}")
        line = f"{outcome.kind:9}{step.name:14}{clock() - begun:7.1f} s  {outcome.words}".rstrip()
        append(summary, f"{line}\n", first=number == 0)
        with suppress(OSError):  # Nobody may read it any more; the summary has it, and the GPU is there for minutes.
            print(line, flush=True)
        if ending is not None:
            raise ending
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
    return (
        Outcome("failed", f"{usage.in_words(status)}: {last_line(log)}")
        if status
        else Outcome("passed", last_line(log))
    )


def run_limited(command: Sequence[str], log: Path, seconds: float, environment: Mapping[str, str]) -> int | None:
    """As `Execute`; whatever the command started ends with it."""
    started = None
    with log.open("wb") as stream:
        try:
            with ended_together():
                started = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    cwd=ROOT,
                    env=environment,
                    process_group=0,  # so that Ctrl-C is for this program, which says what it ended
                )
                return started.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if started is not None:
                started.poll()


def last_line(log: Path) -> str:
    """The last line of a log that says something."""
    if not log.exists():
        return "no log"
    with log.open("rb") as stream:
        stream.seek(max(log.stat().st_size - TAIL, 0))
        lines = stream.read().decode("utf-8", errors="replace").split("\n")
    return next((said for line in reversed(lines) if (said := printable(line, LAST_LINE))), "it said nothing")


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
        "MMCAF_MSDC_FATBIN": str(carry / FATBIN),
        "MMCAF_CUBINS": str(carry / CUBINS),
        "MMCAF_COMMIT": (carry / COMMIT).read_text(encoding="utf-8").strip(),
        "MMCAF_CACHE": str(site / "cache"),
    }


def unpacked(carry: Path, site: Path) -> Path:
    """A folder with the carried packages that this Python lacks."""
    for wheel in wheels(carry):
        try:
            version(wheel.name.split("-")[0])
        except PackageNotFoundError:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(site)
    return site


if __name__ == "__main__":
    usage.run(main)
