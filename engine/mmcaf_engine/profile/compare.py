"""Whether a bundle answers slower than in an earlier report, with a bootstrap interval of the ratio of medians."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import Remedy, UsageError
from ..evaluation.intervals import bootstrap_interval
from ..evaluation.metrics import Statistic
from .figures import signed_percent, title
from .report import Configuration, MachineFacts, ProfileReport, Samples

LEAST_RUNS = 5
"""With fewer on either side there is no interval."""

_LIMIT = re.compile(r"(\d{1,4}(?:\.\d{1,4})?) ?%")


@dataclass(frozen=True)
class Change:
    """How the median of one thing moved. ratio: now / before; low, high: its 95 % interval, None with too few runs."""

    configuration: str
    what: Literal["one study", "one window"]
    before_ms: float
    now_ms: float
    ratio: float
    low: float | None
    high: float | None

    @property
    def certain(self) -> bool:
        """Whether the interval excludes that nothing changed."""
        return self.low is not None and self.high is not None and not self.low <= 1 <= self.high

    def slower_than(self, limit: float) -> bool:
        """Whether the median rose by more than this fraction, and the interval excludes that nothing changed."""
        return self.certain and self.ratio > 1 + limit


@dataclass(frozen=True)
class Comparison:
    """A report against an earlier one.

    gone: what the earlier one measured and this one could not, with the reason; warnings: what makes the two hard to
    compare, or was not compared; failures: what is slower than the limit, in words; filled in by `judge`.
    """

    created_with: str
    changes: tuple[Change, ...]
    gone: tuple[str, ...]
    warnings: tuple[str, ...]
    limit: float | None = None
    failures: tuple[str, ...] = ()


def parse_limit(text: str) -> float:
    """The fraction that "5%" means.

    Raises:
        UsageError: not a number of percent.
    """
    found = _LIMIT.fullmatch(text.strip())
    if found is None:
        raise UsageError(
            f"fail_over: expected a percentage from 0% to 9999%, got {text[:40]!r}.",
            Remedy("For example", option="fail_over", value="5%"),
        )
    return float(found[1]) / 100


def check_baseline(baseline: ProfileReport, machine: MachineFacts, runs: int, *, name: str) -> None:
    """Refuse, before anything is measured, a baseline that no verdict could be based on.

    Raises:
        UsageError: it is of another machine, was interrupted, or it or this report has too few runs.
    """
    if differing := _differing(baseline.machine, machine):
        raise UsageError(
            f"{name}: measured on another machine, on which no limit can be based: {'; '.join(differing)}.",
            Remedy(
                "Measure the baseline on this machine, or leave this out to see both side by side", option="fail_over"
            ),
        )
    if baseline.interrupted:
        raise UsageError(f"{name}: was interrupted; a limit needs a whole report.", "Measure the baseline again.")
    if min(runs, baseline.settings.runs) < LEAST_RUNS:
        raise UsageError(
            f"A limit needs at least {LEAST_RUNS} runs for an interval; here are {runs}, and "
            f"{baseline.settings.runs} in {name}.",
            Remedy("Measure with more runs", option="runs", value="20"),
        )


def compare(report: ProfileReport, baseline: ProfileReport) -> Comparison:
    """What became slower or faster, configuration by configuration; one that only one report has is not compared."""
    earlier = {title(one): one for one in baseline.configurations if one.skipped is None}
    same_study = _study(report) == _study(baseline)
    changes: list[Change] = []
    warnings = _warnings(report, baseline)
    gone = []
    for one in report.configurations:
        before = earlier.pop(title(one), None)
        if one.skipped is not None:
            gone += [f"{title(one)}: {one.skipped}"] if before is not None else []
        elif before is None:
            warnings.append(f"{title(one)} is not in the baseline.")
        elif (one.threads, one.device) != (before.threads, before.device):
            warnings.append(
                f"{title(one)} is not compared: {_placed(before)} in the baseline, {_placed(one)} in this report."
            )
        else:
            changes += _changes(one, before, same_study)
            if one.version != before.version:
                warnings.append(f"{one.backend} was {before.version} in the baseline and is {one.version}.")
    warnings += [f"{name} is in the baseline only." for name in earlier]
    return Comparison(baseline.created_with, tuple(changes), tuple(gone), tuple(dict.fromkeys(warnings)))


def judge(comparison: Comparison, limit: float) -> Comparison:
    """The comparison with its failures: what is slower by more than `limit`, and what can no longer be measured.

    Raises:
        UsageError: nothing could be compared.
    """
    slower = [
        f"{change.configuration}, {change.what}: {signed_percent(change.ratio - 1)}, {interval_text(change)}"
        for change in comparison.changes
        if change.slower_than(limit)
    ]
    failures = [*slower, *(f"no longer measured: {one}" for one in comparison.gone)]
    if not comparison.changes and not failures:
        raise UsageError(
            f"Nothing of this report can be compared with the baseline: {' '.join(comparison.warnings)}",
            "Measure the baseline again with the same options.",
        )
    return replace(comparison, limit=limit, failures=tuple(failures))


def interval_text(change: Change) -> str:
    """The interval of the change: "+3.1% to +6.0%"."""
    if change.low is None or change.high is None:
        return f"fewer than {LEAST_RUNS} runs, no interval"
    return f"{signed_percent(change.low - 1)} to {signed_percent(change.high - 1)}"


def _changes(now: Configuration, before: Configuration, same_study: bool) -> Iterator[Change]:
    if now.answer is not None and before.answer is not None and same_study:
        yield _change(title(now), "one study", before.answer.wall, now.answer.wall)
    if now.steady is not None and before.steady is not None and now.steady.batch == before.steady.batch:
        yield _change(title(now), "one window", before.steady.call, now.steady.call, now.steady.batch)


def _change(
    configuration: str, what: Literal["one study", "one window"], before: Samples, now: Samples, windows: int = 1
) -> Change:
    """Both are drawn with replacement, each apart; drift of the machine between the two is not in the interval."""
    values = np.array([*before.values, *now.values])
    groups = np.repeat([0, 1], [len(before.values), len(now.values)])
    low = high = None
    if min(len(before.values), len(now.values)) >= LEAST_RUNS:
        low, high = bootstrap_interval(groups, _ratio_of_medians(values, groups))
    ratio = now.p50 / before.p50 if before.p50 else float(np.finfo(np.float64).max)
    return Change(configuration, what, before.p50 / windows, now.p50 / windows, ratio, low, high)


def _ratio_of_medians(values: NDArray[np.float64], groups: NDArray[np.int64]) -> Statistic:
    """Median of group 1 divided by that of group 0, from how often each value was drawn."""
    first, second = (_median_of_draws(values[groups == group]) for group in (0, 1))
    return lambda counts: second(counts[:, groups == 1]) / first(counts[:, groups == 0])


def _median_of_draws(values: NDArray[np.float64]) -> Statistic:
    order = np.argsort(values, kind="stable")
    ascending, total = values[order], len(values)

    def medians(counts: NDArray[np.int64]) -> NDArray[np.float64]:
        upto = np.cumsum(counts[:, order], axis=1)
        lower = (upto <= (total - 1) // 2).sum(axis=1)
        upper = (upto <= total // 2).sum(axis=1)
        return np.asarray((ascending[lower] + ascending[upper]) / 2)

    return medians


def _warnings(report: ProfileReport, baseline: ProfileReport) -> list[str]:
    said = [f"The baseline is of another machine: {one}." for one in _differing(baseline.machine, report.machine)]
    if report.bundle.sha256 != baseline.bundle.sha256:
        said.append(
            f"The baseline is of another bundle: {baseline.bundle.name} {baseline.bundle.sha256[:12]}, and this is "
            f"{report.bundle.name} {report.bundle.sha256[:12]}."
        )
    if _study(report) != _study(baseline):
        said.append(
            f"The studies differ, so only windows are compared: {_study_text(baseline)} in the baseline, "
            f"{_study_text(report)} in this report."
        )
    elif report.subject.kind == "given study":
        said.append("Whether the baseline is of the same study is not recorded; it has as many slices.")
    if report.settings.batch != baseline.settings.batch:
        said.append(
            f"Windows are not compared: {baseline.settings.batch} in a call in the baseline, "
            f"{report.settings.batch} in this report."
        )
    said += ["The baseline was interrupted and is not whole."] if baseline.interrupted else []
    return said


def _differing(before: MachineFacts, now: MachineFacts) -> list[str]:
    """What tells two machines apart, in words; the system's version and the free memory do not."""
    pairs = {
        "processor": (before.processor, now.processor),
        "cores": (before.cores, now.cores),
        "GPU": (before.gpu or "none", now.gpu or "none"),
    }
    return [f"{what} {old}, here {new}" for what, (old, new) in pairs.items() if old != new]


def _study(report: ProfileReport) -> tuple[str, int | None, int]:
    return (report.subject.kind, report.subject.slices, report.subject.windows)


def _study_text(report: ProfileReport) -> str:
    slices = "" if report.subject.slices is None else f" of {report.subject.slices} slices"
    return f"{report.subject.kind}{slices}, {report.subject.windows} windows"


def _placed(one: Configuration) -> str:
    return f"{one.device}" + ("" if one.threads is None else f" with {one.threads} threads")
