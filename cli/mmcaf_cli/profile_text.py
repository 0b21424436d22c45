"""The outcome of `mmcaf profile` as tables that a person reads, at most 100 columns wide."""

import textwrap
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TypeVar

from mmcaf_engine.profile.compare import Comparison, interval_text
from mmcaf_engine.profile.figures import (
    all_notes,
    amount,
    inputs_text,
    measured,
    megabytes,
    milliseconds,
    percent,
    roofline_text,
    signed_percent,
    skipped,
    stage_name,
    title,
)
from mmcaf_engine.profile.report import RUNTIME, Configuration, ProfileReport, Samples
from mmcaf_engine.result.result import NOT_A_MEDICAL_DEVICE

WIDTH = 100
SIDE_BY_SIDE = 4
"""Configurations in one table of stages or modules."""

SHOWN_MODULES = 12
SHOWN_LAYERS = 5

_PERCENTILES = ("p50", "p90", "p95", "p99", "max", "outliers")
_Row = tuple[str, ...]
_Part = TypeVar("_Part")


def render(report: ProfileReport, comparison: Comparison | None = None) -> str:
    """What was measured on what, then the tables; the slowest first in each that says where time goes."""
    ranked = measured(report)
    parts = [
        _heading(report),
        _studies(ranked),
        _windows(ranked),
        _kernels(ranked),
        _cold(ranked),
        *_stages(ranked),
        _throughput(ranked),
        *_modules(ranked),
        _slowest_layers(ranked),
        _baseline(comparison) if comparison is not None else [],
        [line for name, reason in skipped(report) for line in _wrapped(f"not measured: {name}, {reason}")],
        [line for note in all_notes(report) for line in _wrapped(f"note: {note}")],
        [NOT_A_MEDICAL_DEVICE],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _heading(report: ProfileReport) -> list[str]:
    bundle, machine, settings, subject = report.bundle, report.machine, report.settings, report.subject
    slices = "" if subject.slices is None else f" of {subject.slices} slices"
    roofline = roofline_text(report)
    processor = f"{machine.processor}, {machine.cores} cores"
    facts = {
        "bundle": f"{bundle.name}, {bundle.sha256[:12]}" + (", demonstration" if bundle.demonstration else ""),
        "measured": f"{subject.kind}{slices}, {subject.windows} windows; {inputs_text(report)}",
        "settings": f"{settings.runs} runs, {settings.threads} threads, {settings.batch} windows in a call"
        if settings.batch > 1
        else f"{settings.runs} runs, {settings.threads} threads",
        "machine": processor + (f", {machine.gpu}" if machine.gpu else ""),
        "roofline": roofline,
    }
    lines = ["Interrupted: this is what was measured so far."] if report.interrupted else []
    return lines + [line for name, value in facts.items() if value for line in _wrapped(f"{name:<10} {value}", hang=11)]


def _studies(ranked: list[Configuration]) -> list[str]:
    """How long one study takes with a session open, and the most memory that takes."""
    video = any(one.memory and one.memory.vram_peak_mb is not None for one in ranked)
    rows = [("one study", *_PERCENTILES, "memory", *(("GPU memory",) if video else ()))]
    for one in ranked:
        peaks = (one.memory.ram_peak_mb, one.memory.vram_peak_mb) if one.memory else (None, None)
        memory = [megabytes(peak) for peak in peaks[: 1 + video]]
        rows.append((title(one), *_percentiles(one.answer.wall if one.answer else None), *memory))
    return _table(rows) if any(one.answer or one.memory for one in ranked) else []


def _windows(ranked: list[Configuration]) -> list[str]:
    """How long one window takes with a session open, and the energy where the machine tells it."""
    energy = any(one.energy for one in ranked)
    rows = [("one window", *_PERCENTILES, *(("energy",) if energy else ()))]
    for one in ranked:
        figures = _percentiles(one.steady.call, one.steady.batch) if one.steady else _percentiles(None)
        joules = [amount(one.energy.joules_per_window if one.energy else None, "J")] if energy else []
        rows.append((title(one), *figures, *joules))
    return _table(rows) if any(one.steady for one in ranked) else []


def _kernels(ranked: list[Configuration]) -> list[str]:
    """How long one window takes with this project's kernels and with the runtime's own operators in their places."""
    rows = [
        (
            title(one),
            milliseconds(one.kernels.on.p50),
            milliseconds(one.kernels.off.p50),
            f"{one.kernels.on.p50 / one.kernels.off.p50:.2f}",
            str(sum(one.kernels.layers.values())),
        )
        for one in ranked
        if one.kernels
    ]
    return _table([("this project's kernels", "on", "off", "on / off", "layers"), *rows]) if rows else []


def _percentiles(runs: Samples | None, windows: int = 1) -> _Row:
    if runs is None:
        return ("-",) * len(_PERCENTILES)
    figures = (runs.p50, runs.p90, runs.p95, runs.p99, runs.max)
    return (*(milliseconds(figure / windows) for figure in figures), str(runs.outliers))


def _cold(ranked: list[Configuration]) -> list[str]:
    head = ("new process", "start", "imports", "open warm", "open cold", "first window", "first answer")
    rows = [
        (
            title(one),
            *(
                milliseconds(part.p50 if part else None)
                for part in (
                    one.cold.process_start,
                    one.cold.imports,
                    one.cold.open_warm,
                    one.cold.open_cold,
                    one.cold.first_infer,
                    one.cold.first_answer,
                )
            ),
        )
        for one in ranked
        if one.cold
    ]
    return _table([head, *rows]) if rows else []


def _stages(ranked: list[Configuration]) -> Iterator[list[str]]:
    """The stages of one study, slowest first in the first configuration of each table."""
    answered = [(title(one), one.answer) for one in ranked if one.answer]
    for group in _groups(answered):
        columns = [
            {
                **{stage_name(stage.name): (stage.ms, stage.share) for stage in answer.stages},
                "unaccounted": (answer.unaccounted_ms, answer.unaccounted_ms / (answer.wall_ms or 1)),
            }
            for _, answer in group
        ]
        rows = [("stages of one study", *(name for name, _ in group)), *_by_column(columns)]
        rows.append(("wall time", *(f"{milliseconds(answer.wall_ms)} 100%" for _, answer in group)))
        yield _table(rows)


def _throughput(ranked: list[Configuration]) -> list[str]:
    counts = sorted({step.concurrency for one in ranked for step in one.throughput})
    if not counts:
        return []
    heads = [f"{count} at a time" for count in counts]
    rows: list[_Row] = [("windows/s (p95 wait)", *heads)]
    for one in ranked:
        steps = {step.concurrency: step for step in one.throughput}
        cells = [
            f"{amount(steps[count].windows_per_s, '')} ({milliseconds(steps[count].p95_ms)})" if count in steps else "-"
            for count in counts
        ]
        rows.append((title(one), *cells))
    return _table(rows)


def _modules(ranked: list[Configuration]) -> Iterator[list[str]]:
    """One window by module, the slowest of the first configuration of each table on top."""
    layered = [(title(one), one.layers) for one in ranked if one.layers]
    for group in _groups(layered):
        columns = [{row.module: (row.ms, row.share) for row in layers.modules} for _, layers in group]
        rows = list(_by_column(columns))
        more = len(rows) - SHOWN_MODULES
        shown = [("modules of one window", *(name for name, _ in group)), *islice(rows, SHOWN_MODULES)]
        yield _table(shown) + ([f"and {more} more modules: see --html or --json"] if more > 0 else [])


def _slowest_layers(ranked: list[Configuration]) -> list[str]:
    rows: list[_Row] = [("slowest layers", "module", "time", "share", "of roofline", "bound by")]
    for one in ranked:
        if one.layers is None:
            continue
        rows.append((title(one), "", "", "", "", ""))
        slowest = sorted((row for row in one.layers.rows if row.kind != RUNTIME), key=lambda row: -row.ms)
        for row in slowest[:SHOWN_LAYERS]:
            figures = (milliseconds(row.ms), percent(row.share), percent(row.roofline_share), row.bound or "-")
            rows.append((f"  {_end_of(row.name, 33)}", _short(row.module, 24), *figures))
    return _table(rows, left=2) if len(rows) > 1 else []


def _baseline(comparison: Comparison) -> list[str]:
    rows: list[_Row] = [("against the baseline", "", "baseline", "now", "change", "95 % interval", "")]
    for change in comparison.changes:
        verdict = ("slower" if change.ratio > 1 else "faster") if change.certain else "no clear change"
        rows.append(
            (
                change.configuration,
                change.what,
                milliseconds(change.before_ms),
                milliseconds(change.now_ms),
                signed_percent(change.ratio - 1),
                interval_text(change),
                verdict,
            )
        )
    return _table(rows, left=2) if len(rows) > 1 else []


def _by_column(columns: Sequence[dict[str, tuple[float, float]]]) -> Iterator[_Row]:
    """Rows of all names, slowest in the first column on top; cells are milliseconds with the share of the column."""
    names = dict.fromkeys(name for column in columns for name in column)
    ordered = sorted(names, key=lambda name: [-column.get(name, (0.0, 0.0))[0] for column in columns])
    for name in ordered:
        cells = [
            f"{milliseconds(column[name][0])} {percent(column[name][1]):>4}" if name in column else "-"
            for column in columns
        ]
        yield (_short(name, 28), *cells)


def _groups(parts: Sequence[_Part]) -> Iterator[Sequence[_Part]]:
    for first in range(0, len(parts), SIDE_BY_SIDE):
        yield parts[first : first + SIDE_BY_SIDE]


def _table(rows: Sequence[_Row], left: int = 1) -> list[str]:
    """Columns as wide as their widest cell, the first `left` of them to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if index < left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _short(text: str, length: int) -> str:
    shown = _printable(text)
    return shown if len(shown) <= length else f"{shown[: length - 3]}..."


def _end_of(text: str, length: int) -> str:
    """A layer's name tells the most at its end."""
    shown = _printable(text)
    return shown if len(shown) <= length else f"...{shown[3 - length :]}"


def _wrapped(text: str, hang: int = 2) -> list[str]:
    return textwrap.wrap(_printable(text), WIDTH, subsequent_indent=" " * hang)


def _printable(text: str) -> str:
    """Names come from the bundle; one with a terminal's control characters in it must not reach the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
