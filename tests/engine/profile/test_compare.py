"""A report against an earlier one: a plain bootstrap's interval, and a verdict only where there can be one."""

from dataclasses import replace

import numpy as np
import pytest

import profile_reports
from mmcaf_engine.errors import UsageError
from mmcaf_engine.profile.compare import Change, check_baseline, compare, interval_text, judge, parse_limit
from mmcaf_engine.profile.report import ProfileReport, Samples
from refusals import Fact, refused


@pytest.fixture(scope="module")
def baseline() -> ProfileReport:
    """OpenVINO in FP32 and INT8."""
    whole = profile_reports.report()
    return replace(whole, configurations=whole.configurations[:2])


def found(report: ProfileReport, baseline: ProfileReport) -> dict[tuple[str, str], Change]:
    return {(change.configuration, change.what): change for change in compare(report, baseline).changes}


@pytest.mark.parametrize(("before", "now"), [(5, 6), (20, 20), (7, 40)])
def test_the_interval_is_a_plain_loops(baseline: ProfileReport, before: int, now: int) -> None:
    generator = np.random.default_rng(before)
    runs = generator.gamma(9.0, 1.0, before), np.round(generator.gamma(9.5, 1.0, now), 1)
    reports = [with_window(baseline, values.tolist()) for values in runs]
    change = found(reports[1], reports[0])["openvino fp32", "one window"]
    ratios = []
    for _ in range(4000):
        drawn = [np.median(generator.choice(values, len(values))) for values in runs]
        ratios.append(drawn[1] / drawn[0])
    low, high = np.percentile(ratios, (2.5, 97.5))
    assert change.ratio == pytest.approx(np.median(runs[1]) / np.median(runs[0]))
    assert change.low == pytest.approx(low, rel=0.03) and change.high == pytest.approx(high, rel=0.03)


def with_window(report: ProfileReport, values: list[float]) -> ProfileReport:
    """The report with these runs of a window in its first configuration."""
    first = report.configurations[0]
    assert first.steady is not None
    steady = replace(first.steady, call=Samples.of(values))
    return replace(report, configurations=(replace(first, steady=steady), *report.configurations[1:]))


def test_the_same_report_changes_nothing(baseline: ProfileReport) -> None:
    comparison = judge(compare(baseline, baseline), 0.0)
    assert len(comparison.changes) == 4 and comparison.failures == () and comparison.warnings == ()
    assert all(change.ratio == 1 and not change.certain for change in comparison.changes)


@pytest.mark.parametrize(
    ("factor", "limit", "failures"),
    [(1.20, 0.05, 2), (1.20, 0.25, 0), (1.04, 0.05, 0), (0.80, 0.05, 0), (1.02, 0.0, 0)],
    ids=["slower", "within-a-wide-limit", "within", "faster", "no-clear-change"],
)
def test_verdict(baseline: ProfileReport, factor: float, limit: float, failures: int) -> None:
    slower = profile_reports.slower(baseline, factor, only=("openvino", "int8"))
    comparison = judge(compare(slower, baseline), limit)
    assert len(comparison.failures) == failures
    assert all(failure.startswith("openvino int8, one ") for failure in comparison.failures)


def test_beyond_the_limit_but_not_certain_is_no_failure(baseline: ProfileReport) -> None:
    wild = [with_window(baseline, (np.array([1, 2, 3, 50, 100, 150]) * factor).tolist()) for factor in (1.0, 1.4)]
    change = found(wild[1], wild[0])["openvino fp32", "one window"]
    assert change.ratio == pytest.approx(1.4) and not change.certain and not change.slower_than(0.05)


def test_few_runs_give_no_interval(baseline: ProfileReport) -> None:
    few = with_window(baseline, [9.0] * 4)
    change = found(few, baseline)["openvino fp32", "one window"]
    assert change.low is None and change.high is None and not change.slower_than(0.0)
    assert interval_text(change) == "fewer than 5 runs, no interval"


def test_a_call_of_several_windows_is_shown_by_window(baseline: ProfileReport) -> None:
    first = baseline.configurations[0]
    assert first.steady is not None
    steady = replace(first.steady, batch=4)
    batched = replace(baseline, configurations=(replace(first, steady=steady),))
    change = found(batched, batched)["openvino fp32", "one window"]
    assert change.before_ms == pytest.approx(11.9 / 4) and change.ratio == 1


def test_another_machine_is_a_warning_and_refused_for_a_verdict(baseline: ProfileReport) -> None:
    moved = replace(baseline, machine=replace(baseline.machine, processor="Faster CPU", cores=64))
    warnings = compare(baseline, moved).warnings
    assert warnings == (
        "The baseline is of another machine: processor Faster CPU, here Example CPU 3.0 GHz.",
        "The baseline is of another machine: cores 64, here 2.",
    )
    with refused(UsageError, "old.json", "Faster CPU", "cores", 64, 2):
        check_baseline(moved, baseline.machine, 20, name="old.json")


@pytest.mark.parametrize(
    ("changes", "earlier", "runs", "facts"),
    [
        ({"interrupted": True}, 20, 20, ("old.json", "interrupted")),
        ({}, 20, 4, ("5 runs", 4)),
        ({}, 4, 20, ("5 runs", 4)),
        ({}, 5, 5, None),
    ],
    ids=["interrupted", "few-runs", "few-runs-earlier", "fine"],
)
def test_what_a_verdict_can_be_based_on(
    baseline: ProfileReport, changes: dict[str, bool], earlier: int, runs: int, facts: tuple[Fact, ...] | None
) -> None:
    given = replace(baseline, settings=replace(baseline.settings, runs=earlier), **changes)
    if facts is None:
        check_baseline(given, baseline.machine, runs, name="old.json")
    else:
        with refused(UsageError, *facts):
            check_baseline(given, baseline.machine, runs, name="old.json")


def test_another_bundle_is_compared_with_a_warning(baseline: ProfileReport) -> None:
    other = replace(baseline, bundle=replace(baseline.bundle, name="lung-2", sha256="f" * 64))
    comparison = compare(other, baseline)
    assert "The baseline is of another bundle: lung 8351aee8820f, and this is lung-2 ffff" in comparison.warnings[0]
    assert len(comparison.changes) == 4


def test_other_studies_are_not_compared(baseline: ProfileReport) -> None:
    longer = replace(baseline, subject=replace(baseline.subject, slices=300, windows=25))
    comparison = compare(longer, baseline)
    assert {change.what for change in comparison.changes} == {"one window"}
    assert "synthetic study of 26 slices, 3 windows in the baseline" in comparison.warnings[0]


def test_a_given_study_may_be_another(baseline: ProfileReport) -> None:
    given = replace(baseline, subject=replace(baseline.subject, kind="given study"))
    comparison = compare(given, given)
    assert len(comparison.changes) == 4 and "same study is not recorded" in comparison.warnings[0]


def test_another_number_of_threads_is_not_compared(baseline: ProfileReport) -> None:
    one = replace(baseline.configurations[0], threads=1)
    comparison = compare(replace(baseline, configurations=(one,)), baseline)
    assert comparison.changes == ()
    assert "openvino fp32 is not compared: CPU with 2 threads in the baseline, CPU with 1 threads" in str(comparison)
    with refused(UsageError, "report"):
        judge(comparison, 0.05)


def test_another_version_is_compared_and_said(baseline: ProfileReport) -> None:
    newer = replace(baseline, configurations=(replace(baseline.configurations[0], version="2027.0"),))
    comparison = compare(newer, baseline)
    assert len(comparison.changes) == 2
    assert "openvino was 2026.1 in the baseline and is 2027.0." in comparison.warnings
    assert "openvino int8 is in the baseline only." in comparison.warnings


def test_what_can_no_longer_be_measured_fails(baseline: ProfileReport) -> None:
    broken = replace(
        baseline.configurations[0], skipped="it fails the self-test", steady=None, answer=None, version=None
    )
    now = replace(baseline, configurations=(broken, *baseline.configurations[1:]))
    comparison = judge(compare(now, baseline), 0.05)
    assert comparison.failures == ("no longer measured: openvino fp32: it fails the self-test",)


@pytest.mark.parametrize(("text", "limit"), [("5%", 0.05), ("2.5 %", 0.025), ("0%", 0.0), (" 150% ", 1.5)])
def test_limit(text: str, limit: float) -> None:
    assert parse_limit(text) == pytest.approx(limit)


@pytest.mark.parametrize("text", ["", "5", "0.05", "five%", "-5%", "nan%", "1e3%", "5%%", "99999%", "5 % more"])
def test_not_a_limit(text: str) -> None:
    with refused(UsageError, "percentage", option="fail_over", value="5%"):
        parse_limit(text)


@pytest.mark.parametrize(
    ("low", "high", "certain"),
    [
        (1.01, 1.2, True),
        (0.8, 0.99, True),
        (0.9, 1.1, False),
        (1.0, 1.2, False),
        (0.8, 1.0, False),
        (None, None, False),
    ],
)
def test_a_change_is_certain_where_its_interval_leaves_no_change_out(
    low: float | None, high: float | None, certain: bool
) -> None:
    change = Change("openvino fp32", "one window", 1.0, 1.1, 1.1, low, high)
    assert change.certain == certain and change.slower_than(0.05) == certain and not change.slower_than(0.15)
