"""The report: its figures against other ways to work them out, and what is refused when one is read."""

import json
import statistics
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mmcaf_engine.errors import UsageError
from mmcaf_engine.profile.report import (
    BundleFacts,
    Configuration,
    MachineFacts,
    ProfileReport,
    Roofline,
    Samples,
    Settings,
    Steady,
    SubjectFacts,
    report_schema,
)
from refusals import Fact, refused

SAMPLES = Samples.of([3.0, 1.0, 2.5, 2.0], discarded=2, note="a note")
REPORT = ProfileReport(
    created_with="0.1.0",
    machine=MachineFacts("Linux", "a processor", ("avx2",), 2, None, None),
    bundle=BundleFacts("lung", "0" * 64, "mmcaf", True),
    subject=SubjectFacts("synthetic study", 26, 3, {"image": (1, 1, 12, 192, 192)}),
    settings=Settings(4, 3, 2, 1, (1, 2)),
    roofline=Roofline({"fp32": 100.0}, 10.0, "made up"),
    configurations=(
        Configuration("openvino", "fp32", steady=Steady(SAMPLES, 1, SAMPLES.p50)),
        Configuration("openvino", "bf16", skipped="no BF16 units"),
    ),
)


@pytest.mark.parametrize("count", [1, 2, 3, 20, 101])
def test_percentiles_are_linear_between_runs(count: int) -> None:
    values = np.random.default_rng(count).gamma(2.0, 10.0, count).tolist()
    found = Samples.of(values)
    assert found.values == tuple(values)
    assert found.max == max(values)
    assert found.mean == pytest.approx(statistics.fmean(values))
    assert found.p50 == pytest.approx(statistics.median(values))
    if count > 1:  # The other library's word for numpy's "linear" is "inclusive".
        hundredths = statistics.quantiles(values, n=100, method="inclusive")
        assert [found.p90, found.p95, found.p99] == pytest.approx([hundredths[at - 1] for at in (90, 95, 99)])


@pytest.mark.parametrize(
    ("values", "outliers"),
    [
        ([10.0] * 20, 0),
        ([10.0] * 19 + [10.1], 1),
        ([*range(10, 30)], 0),
        ([*range(10, 29), 60], 1),
        ([*range(10, 28), 70, 80], 2),
        ([0.0, *range(20, 39)], 0),
        ([1, 2, 3, 4, 10], 0),  # p75 is 4 and p25 is 2
        ([1, 2, 3, 4, 10.5], 1),
    ],
    ids=[
        "all equal",
        "one that differs from equals",
        "even",
        "one far out",
        "two far out",
        "a fast one",
        "at the limit",
        "just beyond it",
    ],
)
def test_outliers_are_counted_and_kept(values: list[float], outliers: int) -> None:
    found = Samples.of(values)
    assert found.outliers == outliers
    assert found.max == max(values)


def test_a_report_is_read_as_it_was_written() -> None:
    text = REPORT.to_json()
    assert ProfileReport.from_json(text) == ProfileReport.from_json(text.encode()) == REPORT
    assert json.loads(text)["schema_version"] == 1
    assert next(iter(json.loads(text))) == "schema_version"


def test_no_runs_are_no_samples() -> None:
    with pytest.raises((ValueError, IndexError)):
        Samples.of([])


def changed(path: str, value: Any) -> str:
    """The report as JSON with one value replaced; None removes it."""
    document = json.loads(REPORT.to_json())
    *parents, last = path.split(".")
    place = document
    for part in parents:
        place = place[int(part)] if part.isdigit() else place[part]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("", ("JSON", "line 1")),
        ("[]", ("version", 1)),
        ("{}", ("version", 1)),
        (changed("schema_version", 2), ("version", 2, 1)),
        (changed("schema_version", "1"), ('"1"',)),
        (changed("schema_version", True), ("version", "true")),
        (changed("created_with", None), ("created_with",)),
        (changed("settings.runs", "4"), ("settings.runs", "integer")),
        (changed("settings.runs", 4.5), ("settings.runs",)),
        (changed("subject.kind", "a patient"), ("subject.kind",)),
        (changed("machine.hostname", "x"), ("machine.hostname",)),
        (changed("configurations.0.steady.call.values", [1.0, "2"]), ("configurations.0.steady.call.values.1",)),
        (changed("configurations.0.steady.call.values", []), ("configurations.0.steady.call.values",)),
        (changed("roofline.gflops", {"fp64": 1.0}), ("roofline.gflops.fp64.[key]",)),
        (REPORT.to_json().replace("100.0", "NaN"), ("NaN",)),
        (REPORT.to_json().replace('"runs": 4', '"runs": 4, "runs": 5'), ('"runs"', "twice")),
    ],
    ids=[
        "empty",
        "a list",
        "nothing in it",
        "a later version",
        "a version in quotes",
        "a version that is true",
        "a field missing",
        "a number in quotes",
        "half a run",
        "an unknown word",
        "an unknown field",
        "words among runs",
        "no runs",
        "an unknown precision",
        "NaN",
        "a key twice",
    ],
)
def test_what_is_no_report_is_refused_by_name(text: str, facts: tuple[Fact, ...]) -> None:
    with refused(UsageError, "old.json", *facts):
        ProfileReport.from_json(text, name="old.json")


def test_numbers_that_are_not_finite_are_never_written() -> None:
    with pytest.raises(ValueError):
        replace(REPORT, roofline=Roofline({"fp32": float("nan")}, 10.0, "made up"))


def test_the_schema_says_what_is_required() -> None:
    schema = report_schema()
    assert schema["additionalProperties"] is False
    assert {"created_with", "machine", "configurations"} <= set(schema["required"])
    assert "skipped" in schema["$defs"]["Configuration"]["properties"]
