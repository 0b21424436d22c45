"""`mmcaf tune BUNDLE`: what runs it here, how fast, and what "auto" takes from now on."""

import json as json_format
from pathlib import Path
from typing import Any

from mmcaf_engine.backends.remedies import SEE_WHAT_RUNS
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.errors import BackendError
from mmcaf_engine.machine.cpu import usable_cores
from mmcaf_engine.session.timings import Timing
from mmcaf_engine.session.tune import Tuned, tune

from .progress import ProgressBar

REPORT_VERSION = 1


def tune_command(path: Path, runs: int, threads: int | None, json: bool) -> None:
    """Time all that may answer, keep the times, and print them with the choice."""
    bundle = load_bundle(path)
    with ProgressBar() as progress:
        tuned = tune(bundle, runs=runs, threads=threads, progress=progress)
    choice = tuned.tuning.pick()
    if choice is None:
        raise BackendError(f"Nothing of {bundle.manifest.name} was timed.", SEE_WHAT_RUNS)
    if json:
        print(json_format.dumps(_document(tuned, choice), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print("\n".join(_lines(tuned, choice)))


def _document(tuned: Tuned, choice: Timing) -> dict[str, Any]:
    tuning = tuned.tuning
    timed = [{**timing.model_dump(), "reason": None} for timing in tuning.timings]
    nothing = dict.fromkeys(("median_ms", "p95_ms", "device"))
    left_out = [
        {"backend": one.backend, "precision": one.precision, **nothing, "reason": one.reason} for one in tuned.left_out
    ]
    return {
        "schema_version": REPORT_VERSION,
        "model": {"name": tuning.bundle, "bundle_sha256": tuning.facts.bundle_sha256},
        "processor": tuning.facts.processor,
        "gpu": tuning.facts.gpu,
        "threads": tuning.facts.threads,
        "runs": tuning.runs,
        "candidates": timed + left_out,
        "choice": {"backend": choice.backend, "precision": choice.precision},
        "kept": str(tuned.file),
    }


def _lines(tuned: Tuned, choice: Timing) -> list[str]:
    """The table, fastest first, then what is made of it."""
    tuning = tuned.tuning
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
