"""`mmcaf profile BUNDLE`: where the time goes, as a table, and as JSON, a trace and a page where asked for."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmcaf_engine.bundle.bundle import Bundle, load_bundle
from mmcaf_engine.errors import StrictError, UsageError
from mmcaf_engine.outputs import Output, check_writable, write_all
from mmcaf_engine.profile.compare import Comparison, check_baseline, compare, judge, parse_limit
from mmcaf_engine.profile.html import html_page
from mmcaf_engine.profile.machine import machine_facts
from mmcaf_engine.profile.report import MAX_REPORT_BYTES, ProfileReport
from mmcaf_engine.profile.run import profile_bundle
from mmcaf_engine.profile.trace import trace_json
from mmcaf_engine.strict_json import read_bounded

from .profile_text import render
from .progress import ProgressBar

STDOUT = "-"


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
class Writing:
    """Where the report goes besides the table; json may be "-" for stdout, in place of the table."""

    json: str | None
    trace: Path | None
    html: Path | None


def profile_command(
    path: Path, measuring: Measuring, writing: Writing, baseline: Path | None, fail_over: str | None
) -> None:
    """Refuse what cannot work, measure, print, write, then judge.

    Ctrl-C ends the measuring; what there is by then is printed and written, and the exit code is 130.
    """
    if fail_over is not None and baseline is None:
        raise UsageError("--fail-over needs a report to compare with.", "Name it: --baseline OLD.json")
    limit = None if fail_over is None else parse_limit(fail_over)
    outputs = _outputs(writing)
    check_writable(list(outputs.values()), inputs=[path, measuring.study, measuring.record, baseline], force=True)
    earlier = None if baseline is None else _read(baseline)
    if earlier is not None and limit is not None:
        check_baseline(earlier, machine_facts(), measuring.runs, name=str(baseline))
    bundle = load_bundle(path)
    report = _measure(bundle, measuring)
    comparison = None
    if earlier is not None:
        comparison = compare(report, earlier)
        if limit is not None and not report.interrupted:
            comparison = judge(comparison, limit)
    _deliver(report, comparison, writing, outputs)
    if report.interrupted:
        print("interrupted: this is what was measured so far", file=sys.stderr)
        raise KeyboardInterrupt
    if comparison is not None and comparison.failures:
        raise StrictError(
            f"--fail-over {fail_over}: slower than {baseline}: {'; '.join(comparison.failures)}.",
            "Look at what changed with --html, or measure again on a quiet machine.",
        )


def _measure(bundle: Bundle, measuring: Measuring) -> ProfileReport:
    try:
        with ProgressBar() as progress:
            return profile_bundle(
                bundle,
                study=measuring.study,
                record=measuring.record,
                runs=measuring.runs,
                threads=measuring.threads,
                batch=measuring.batch,
                progress=progress,
                **_given(measuring),
            )
    except KeyboardInterrupt:
        print("interrupted before anything was measured", file=sys.stderr)
        raise


def _outputs(writing: Writing) -> dict[str, Output]:
    """The files to write, by what they hold."""
    files = {"json": writing.json, "trace": writing.trace, "html": writing.html}
    for kind in ("trace", "html"):
        if str(files[kind]) == STDOUT:
            raise UsageError(f"--{kind} -: only --json is printed on stdout.", f"Name a file for --{kind}.")
    return {kind: Output(kind, Path(file)) for kind, file in files.items() if file is not None and file != STDOUT}


def _read(file: Path) -> ProfileReport:
    data = read_bounded(file, error=UsageError, max_bytes=MAX_REPORT_BYTES)
    return ProfileReport.from_json(data, name=str(file))


def _given(measuring: Measuring) -> dict[str, tuple[Any, ...]]:
    """The lists that are not empty; the others are left to `profile_bundle`."""
    lists: dict[str, Sequence[str | int]] = {
        "backends": measuring.backends,
        "precisions": measuring.precisions,
        "concurrency": measuring.concurrency,
    }
    return {name: tuple(given) for name, given in lists.items() if given}


def _deliver(
    report: ProfileReport, comparison: Comparison | None, writing: Writing, outputs: dict[str, Output]
) -> None:
    """The files, all or none, then stdout, then on stderr what a reader of the comparison must know."""
    makers: dict[str, Callable[[], str]] = {
        "json": report.to_json,
        "trace": lambda: trace_json(report),
        "html": lambda: html_page(report, comparison),
    }
    write_all([(output, makers[kind]()) for kind, output in outputs.items()], force=True)
    print(report.to_json().rstrip() if writing.json == STDOUT else render(report, comparison), flush=True)
    for warning in comparison.warnings if comparison is not None else ():
        print(f"warning: {warning}", file=sys.stderr)
    for output in outputs.values():
        print(f"written: {output.path}", file=sys.stderr)
