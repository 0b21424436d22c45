"""`mmcaf tune BUNDLE`: what runs it here, how fast, and what "auto" takes from now on."""

from pathlib import Path

from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.machine.cpu import usable_cores
from mmcaf_engine.session.timings import Timing
from mmcaf_engine.session.tune import Tuned, tune

from .console import to_json
from .progress import ProgressBar
from .report import Report


def tune_command(path: Path, runs: int, threads: int | None, devices: list[str], report: Report) -> None:
    """Time all that may answer, keep the times, and print them with the choice."""
    report.check(inputs=[path])
    with ProgressBar() as progress:
        tuned = tune(
            load_bundle(path), runs=runs, threads=threads, devices=[one.lower() for one in devices], progress=progress
        )
    report.give(lambda: "\n".join(_lines(tuned)), lambda: to_json(tuned.to_dict()))


def _lines(tuned: Tuned) -> list[str]:
    """The table, fastest first, then what is made of it."""
    tuning, choice = tuned.tuning, tuned.choice
    threads = tuning.facts.threads
    rows = [("backend", "precision", "median ms", "p95 ms", "")]
    rows += [
        (one.backend, one.precision, f"{one.median_ms:.2f}", f"{one.p95_ms:.2f}", _note(one, one == choice))
        for one in sorted(tuning.timings, key=lambda timing: timing.median_ms)
    ]
    rows += [(one.backend, one.precision, "-", "-", one.reason) for one in tuned.left_out]
    option = "" if threads == usable_cores() else f" --threads {threads}"
    return [
        f"{tuning.bundle}, bundle {tuning.facts.bundle_sha256[:12]}: one window, {tuning.runs} runs each, "
        f"{threads} threads",
        *(f"{a:<13}{b:<11}{c:>10}{d:>10}   {note}".rstrip() for a, b, c, d, note in rows),
        f"chosen: {choice.backend} {choice.precision}. Where backend and precision are auto, this bundle now runs so "
        f"on this machine: mmcaf-infer STUDY RECORD --bundle BUNDLE{option}",
        f"kept in {tuned.file}; to forget it: mmcaf cache clear --kind tuning",
    ]


def _note(timing: Timing, chosen: bool) -> str:
    on_gpu = [f"on {timing.device}"] if timing.device not in (None, "CPU") else []
    return ", ".join([*on_gpu, *(["chosen"] if chosen else [])])
