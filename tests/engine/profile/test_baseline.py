"""A baseline: read and refused before anything is measured, and what it makes of a report."""

from dataclasses import replace
from pathlib import Path

import pytest

import profile_reports
from mmcaf_engine.errors import StrictError, UsageError
from mmcaf_engine.profile.baseline import read_baseline
from mmcaf_engine.profile.report import ProfileReport
from refusals import Fact, refused


@pytest.fixture(scope="module")
def report() -> ProfileReport:
    return profile_reports.report()


@pytest.fixture
def old(tmp_path: Path, report: ProfileReport, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The report as a file, on the machine that it is of."""
    monkeypatch.setattr("mmcaf_engine.profile.baseline.machine_facts", lambda: profile_reports.MACHINE)
    file = tmp_path / "old.json"
    file.write_text(report.to_json(), encoding="utf-8")
    return file


def test_slower_is_a_failure_only_with_a_limit(old: Path, report: ProfileReport) -> None:
    slower = profile_reports.slower(report, 1.2, only=("onnxruntime", "fp32"))
    watching, judging = read_baseline(old, runs=20), read_baseline(old, runs=20, limit="5%")
    assert watching.report == report and watching.limit is None and judging.limit == pytest.approx(0.05)
    shown = watching.compared_with(slower)
    assert not shown.failures
    watching.require_no_failure(shown)
    failed = judging.compared_with(slower)
    assert len(failed.failures) == 2
    with refused(StrictError, "5%", str(old), "onnxruntime fp32", "one study"):
        judging.require_no_failure(failed)
    judging.require_no_failure(judging.compared_with(report))


def test_an_interrupted_report_has_no_failures(old: Path, report: ProfileReport) -> None:
    part = replace(profile_reports.slower(report, 2.0, only=("onnxruntime", "fp32")), interrupted=True)
    assert not read_baseline(old, runs=20, limit="0%").compared_with(part).failures


@pytest.mark.parametrize(
    ("limit", "runs", "facts"),
    [("5", 20, ("fail_over", "percentage", "5")), ("5%", 3, ("5 runs", 3))],
    ids=["no-percent-sign", "few-runs"],
)
def test_no_verdict_possible(old: Path, limit: str, runs: int, facts: tuple[Fact, ...]) -> None:
    with refused(UsageError, *facts):
        read_baseline(old, runs=runs, limit=limit)
    assert read_baseline(old, runs=runs).limit is None


def test_another_machine(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = replace(profile_reports.MACHINE, cores=64)
    monkeypatch.setattr("mmcaf_engine.profile.baseline.machine_facts", lambda: here)
    read_baseline(old, runs=20)
    with refused(UsageError, str(old), "cores", 64):
        read_baseline(old, runs=20, limit="5%")


@pytest.mark.parametrize(
    ("content", "facts"),
    [("", ("JSON", "line 1")), ("[1]", ("version", 1)), ('{"schema_version": 2}', ("version", 2, 1))],
    ids=["empty", "list", "newer"],
)
def test_no_report(old: Path, content: str, facts: tuple[Fact, ...]) -> None:
    old.write_text(content)
    with refused(UsageError, str(old), *facts):
        read_baseline(old, runs=20)
    with refused(UsageError, "nowhere.json", "no such file"):
        read_baseline(old.with_name("nowhere.json"), runs=20)
