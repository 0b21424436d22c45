"""`mmcaf profile BUNDLE`: where the time goes, as a table, and as JSON, a trace and a page where asked for."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.errors import Remedy, UsageError
from mmcaf_engine.outputs import Output
from mmcaf_engine.profile.baseline import read_baseline
from mmcaf_engine.profile.html import html_page
from mmcaf_engine.profile.report import ProfileReport
from mmcaf_engine.profile.run import profile_bundle
from mmcaf_engine.profile.trace import trace_json

from .console import complain, note, warn
from .profile_text import render
from .progress import ProgressBar
from .report import Report


@dataclass(frozen=True)
class Measuring:
    """What is measured: arguments of `profile_bundle`, empty where its own choice is wanted."""

    study: Path | None
    record: Path | None
    backends: list[str]
    precisions: list[str]
    runs: int
    threads: int | None
    batch: int
    concurrency: list[int]


@dataclass(frozen=True)
class Comparing:
    """The report to compare with, and how much slower than that is a failure."""

    baseline: Path | None
    fail_over: str | None


def profile_command(
    path: Path, measuring: Measuring, comparing: Comparing, files: Mapping[str, Path | None], report: Report
) -> None:
    """Refuse what cannot work, measure, write, print, then judge.

    Ctrl-C ends the measuring; what there is by then is printed and written, and the exit code is 130.

    Args:
        files: where the trace and the html page go.
    """
    if comparing.fail_over is not None and comparing.baseline is None:
        raise UsageError("--fail-over needs a report to compare with.", Remedy("Name it", option="baseline"))
    outputs = {name: Output(name, file) for name, file in files.items() if file is not None}
    report.check(*outputs.values(), inputs=[path, measuring.study, measuring.record, comparing.baseline])
    earlier = None
    if comparing.baseline is not None:
        earlier = read_baseline(comparing.baseline, runs=measuring.runs, limit=comparing.fail_over)
    found = _measure(path, measuring)
    comparison = None if earlier is None else earlier.compared_with(found)
    makers: dict[str, Callable[[], str]] = {
        "trace": lambda: trace_json(found),
        "html": lambda: html_page(found, comparison),
    }
    report.give(
        lambda: render(found, comparison),
        lambda: found.to_json().rstrip(),
        others=[(output, makers[name]()) for name, output in outputs.items()],
    )
    for warning in comparison.warnings if comparison is not None else ():
        warn(warning)
    for output in outputs.values():
        note(f"written: {output.path}")
    if found.interrupted:
        complain("interrupted: this is what was measured so far")
        raise KeyboardInterrupt
    if earlier is not None and comparison is not None:
        earlier.require_no_failure(comparison)


def _measure(path: Path, measuring: Measuring) -> ProfileReport:
    given = {name: value for name, value in asdict(measuring).items() if value != []}
    try:
        with ProgressBar() as progress:
            return profile_bundle(load_bundle(path), **given, progress=progress)
    except KeyboardInterrupt:
        complain("interrupted before anything was measured")
        raise
