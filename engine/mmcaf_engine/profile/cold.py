"""From nothing: a process of its own for each figure, with a cache of its own, so that the user's is left alone."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from ..backends.remedies import SEE_WHAT_RUNS
from ..bundle.bundle import Bundle
from ..errors import BackendError, Remedy
from ..files import reason
from ..outputs import temporary_folder
from ..settings import child_environment
from .probe import FIRST_LINE
from .report import Cold, Memory, Samples
from .steady import Each
from .subject import Measured

MOST_ROUNDS = 5
"""Each takes two or three processes."""


@dataclass(frozen=True)
class ColdStart:
    """What the processes told. notes: what could not be measured, and why."""

    cold: Cold
    memory: Memory | None
    notes: tuple[str, ...]


def measure_cold(
    bundle: Bundle,
    measured: Measured,
    backend: str,
    precision: str,
    threads: int,
    runs: int,
    each: Each | None = None,
) -> ColdStart:
    """Rounds of processes: one with an empty cache, one with what that one kept, and one that answers the study.

    What the system keeps of files in memory is warm from the second round on.

    Args:
        runs: rounds, but at most MOST_ROUNDS.

    Raises:
        BackendError: a process failed.
    """
    task = {"bundle": str(bundle.folder), "backend": backend, "precision": precision, "threads": threads}
    study = {
        "study": None if measured.study is None else str(measured.study),
        "record": None if measured.record is None else str(measured.record),
    }
    empty: list[dict[str, Any]] = []
    kept: list[dict[str, Any]] = []
    answers: list[dict[str, Any]] = []
    for done in range(rounds(runs)):
        with temporary_folder() as cache:
            empty.append(fresh_process({**task, "answer": False}, cache))
            kept.append(fresh_process({**task, "answer": False}, cache))
            if measured.is_study:
                answers.append(fresh_process({**task, **study, "answer": True}, cache))
        if each is not None:
            each(done + 1)
    cold = Cold(
        process_start=_samples(empty + kept + answers, "process_start"),
        imports=_samples(empty + kept, "imports"),
        open_cold=_samples(empty, "open"),
        open_warm=_samples(kept, "open"),
        first_infer=_samples(empty + kept, "first_infer"),
        first_answer=_samples(answers, "first_answer") if answers else None,
    )
    notes = [f"The opening with the engine kept: cache {kept[-1]['cache']}."]
    if not answers:
        notes.append("The first answer was not measured, for want of a study.")
    memory, why = _memory(answers or kept)
    return ColdStart(cold, memory, (*notes, *why))


def rounds(runs: int) -> int:
    """How many rounds are measured."""
    return min(runs, MOST_ROUNDS)


def fresh_process(task: dict[str, Any], cache: Path) -> dict[str, Any]:
    """The figures of one fresh process."""
    environment = child_environment(cache)
    command = [sys.executable, "-P", "-c", FIRST_LINE]
    document = json.dumps({**task, "started": perf_counter()})
    what = f"profiling {task['backend']} {task['precision']} in a fresh process"
    try:
        done = subprocess.run(command, input=document, env=environment, capture_output=True, text=True)  # noqa: S603
    except OSError as failure:
        raise BackendError(f"{what}: none can be started: {reason(failure)}.", SEE_WHAT_RUNS) from None
    try:
        figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise BackendError(f"{what}: it ended without an answer: {said[:300]}", SEE_WHAT_RUNS) from None
    if "error" in figures:
        problem, remedies = figures["error"]
        raise BackendError(f"{what}: {problem}", *(Remedy(**fields) for fields in remedies))
    return figures


def _samples(figures: list[dict[str, Any]], name: str) -> Samples:
    return Samples.of([entry[name] for entry in figures])


def _memory(figures: list[dict[str, Any]]) -> tuple[Memory | None, list[str]]:
    """The highest of these processes."""
    ram = [entry["ram_peak_mb"] for entry in figures]
    vram = [entry["vram_peak_mb"] for entry in figures]
    if None in ram:
        return None, ["Peak memory was not measured: this system does not tell it."]
    return Memory(max(ram), None if None in vram else max(vram)), []
