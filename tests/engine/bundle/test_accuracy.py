"""accuracy.json in and out, its summary for the answer, and the manifest's bounds."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from mmcaf_engine.bundle.accuracy import (
    ACCURACY_NAME,
    Accuracy,
    AccuracySummary,
    CohortSummary,
    Configuration,
    Flips,
    Judged,
    Reference,
    Runtime,
    accuracy_summary,
    parse_accuracy,
    write_accuracy,
)
from mmcaf_engine.bundle.bundle import MANIFEST_NAME, load_bundle, write_bundle
from mmcaf_engine.errors import BundleError
from mmcaf_engine.evaluation.compare import StudyScores, agreement
from mmcaf_engine.evaluation.performance import performance
from mmcaf_engine.manifest import DEFAULT_ACCURACY_BOUNDS, AccuracyBound, Manifest
from mmcaf_engine.result.decisions import BinaryDecision
from refusals import Fact, refused
from several_precisions import add_precisions
from tiny_bundle import tiny_manifest

LABELS = (0, 1, 1, None)
RUNTIME = Runtime(backend="openvino", version="2026.1", device="CPU")
RULE = BinaryDecision(("quiet", "loud"), 0.5)


def scores(*probabilities: float) -> StudyScores:
    values = np.array(probabilities)
    return StudyScores(RUNTIME, values, np.log(values / (1 - values)))


@pytest.fixture
def accuracy() -> Accuracy:
    exact, other = scores(0.2, 0.7, 0.9, 0.48), scores(0.21, 0.7, 0.88, 0.51)
    return Accuracy(
        cohort=CohortSummary(source="cohort.csv", studies=4, refused=1, labelled=3, positives=2),
        threshold=0.5,
        reference=Reference(**RUNTIME.model_dump(), performance=performance(LABELS, exact.probabilities, RULE)),
        precisions={"int8": agreement(exact, other, LABELS, RULE, DEFAULT_ACCURACY_BOUNDS["int8"])},
    )


def sealed(source: Path, output: Path, content: str | None) -> Path:
    """A bundle with fp16 and int8, and with this accuracy.json."""
    draft = shutil.copytree(source, output.with_name("with-accuracy.draft"))
    manifest = json.loads((draft / MANIFEST_NAME).read_text())
    del manifest["files"]
    if content is not None:
        (draft / ACCURACY_NAME).write_text(content)
    return write_bundle(draft, manifest, output).folder


def test_round_trip_with_the_same_bytes(accuracy: Accuracy, tmp_path: Path) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    write_accuracy(accuracy, first)
    assert parse_accuracy(first.read_bytes()) == accuracy
    write_accuracy(parse_accuracy(first.read_bytes()), second)
    assert first.read_bytes() == second.read_bytes() and first.read_bytes().endswith(b"}\n")


def changed(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    *parents, last = path.split(".")
    inner = document
    for name in parents:
        inner = inner[name]
    inner[last] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "facts"),
    [
        ("format_version", 2, (2, 1)),
        ("measured_on", "2026-01-01", ("measured_on", "Extra inputs")),
        ("cohort.studies", 0, ("cohort.studies", 1)),
        ("cohort.folder", "/data", ("cohort.folder", "Extra inputs")),
        ("reference.precision", "fp16", ("reference.precision", "'fp32'")),
        ("precisions.int4", {}, ("precisions.int4", "'fp32'")),
        ("precisions.int8.max_logit_difference", None, ("precisions.int8.max_logit_difference", "number")),
    ],
)
def test_unusable(accuracy: Accuracy, tmp_path: Path, path: str, value: Any, facts: tuple[Fact, ...]) -> None:
    document = changed(accuracy.model_dump(mode="json"), path, value)
    (tmp_path / ACCURACY_NAME).write_text(json.dumps(document))
    with refused(BundleError, ACCURACY_NAME, *facts):
        parse_accuracy((tmp_path / ACCURACY_NAME).read_bytes())


@pytest.mark.parametrize(
    ("content", "fact"),
    [("", "line 1"), ("[]", "dictionary"), ("{}", "cohort"), ('{"threshold": NaN}', "NaN"), ("null", "dictionary")],
)
def test_no_report_at_all(tmp_path: Path, content: str, fact: str) -> None:
    (tmp_path / ACCURACY_NAME).write_text(content)
    with refused(BundleError, ACCURACY_NAME, fact):
        parse_accuracy((tmp_path / ACCURACY_NAME).read_bytes())


def test_not_finite_is_never_written(accuracy: Accuracy) -> None:
    measured = accuracy.precisions["int8"].model_dump()
    with pytest.raises(ValidationError, match="finite"):
        type(accuracy.precisions["int8"]).model_validate({**measured, "max_logit_difference": float("inf")})


def test_summary(accuracy: Accuracy, tiny_bundle: Path, tmp_path: Path) -> None:
    several = add_precisions(tiny_bundle, tmp_path / "several.mmcaf", {"fp16": 0.0, "int8": 0.01})
    write_accuracy(accuracy, tmp_path / "measured.json")
    bundle = load_bundle(sealed(several, tmp_path / "sealed.mmcaf", (tmp_path / "measured.json").read_text()))
    summary = accuracy_summary(bundle, "int8")
    assert summary == AccuracySummary("cohort.csv", 4, pytest.approx(0.03), 1, 0.0)
    assert accuracy_summary(bundle, "fp32") is None, "fp32 is the reference"
    assert accuracy_summary(bundle, "fp16") is None, "nothing was measured"
    assert accuracy_summary(load_bundle(several), "int8") is None, "no accuracy.json"


def test_summary_of_the_configuration_that_costs_most(accuracy: Accuracy, tiny_bundle: Path, tmp_path: Path) -> None:
    several = add_precisions(tiny_bundle, tmp_path / "several.mmcaf", {"int8": 0.01})
    measured = accuracy.precisions["int8"]
    ways = [
        Judged(
            configuration=Configuration(backend=backend, hint="f32", between="fp32", kernels=()),
            runtime=measured.runtime,
            max_probability_difference=difference,
            max_logit_difference=0.1,
            flips=flips,
        )
        for backend, difference, flips in (("openvino", 0.03, 0.25), ("onnxruntime", 0.05, 0.5))
    ]
    accuracy.precisions["int8"] = measured.model_copy(update={"judged": tuple(ways)})
    write_accuracy(accuracy, tmp_path / "measured.json")
    bundle = load_bundle(sealed(several, tmp_path / "sealed.mmcaf", (tmp_path / "measured.json").read_text()))
    assert accuracy_summary(bundle, "int8") == AccuracySummary("cohort.csv", 4, 0.05, 2, 0.0)


def test_summary_of_an_invalid_report(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = load_bundle(sealed(tiny_bundle, tmp_path / "sealed.mmcaf", "{}"))
    with refused(BundleError, ACCURACY_NAME, "cohort", "threshold", "reference", "precisions"):
        accuracy_summary(bundle, "int8")


def test_bounds_have_defaults(tiny_bundle: Path) -> None:
    stored = json.loads((tiny_bundle / MANIFEST_NAME).read_text())
    del stored["accuracy_bounds"]
    bounds = Manifest.model_validate(stored).accuracy_bounds
    assert bounds == DEFAULT_ACCURACY_BOUNDS
    found = {name: (b.probability_difference, b.flips, b.auroc_loss) for name, b in bounds.items()}
    assert found == {"fp16": (0.01, 0.01, 0.005), "bf16": (0.02, 0.01, 0.005), "int8": (0.1, 0.01, 0.005)}


def test_a_bound_of_ones_own_keeps_the_other_defaults(tiny_bundle: Path, tmp_path: Path) -> None:
    own = {"probability_difference": 0.2, "flips": 0.0, "auroc_loss": 1.0}
    bundle = load_bundle(add_precisions(tiny_bundle, tmp_path / "own.mmcaf", {}, accuracy_bounds={"int8": own}))
    assert bundle.manifest.accuracy_bounds["int8"] == AccuracyBound.model_validate(own)
    assert bundle.manifest.accuracy_bounds["fp16"] == DEFAULT_ACCURACY_BOUNDS["fp16"]


@pytest.mark.parametrize(
    ("bounds", "facts"),
    [
        ({"fp32": DEFAULT_ACCURACY_BOUNDS["fp16"].model_dump()}, ("accuracy_bounds", "fp32")),
        ({"int4": DEFAULT_ACCURACY_BOUNDS["fp16"].model_dump()}, ("accuracy_bounds.int4", "'int8'")),
        ({"int8": {"flips": 0.1}}, ("accuracy_bounds.int8.probability_difference", "accuracy_bounds.int8.auroc_loss")),
        ({"int8": {"probability_difference": 0.1, "flips": 1.1, "auroc_loss": 0}}, ("accuracy_bounds.int8.flips", 1)),
        (
            {"int8": {"probability_difference": -0.1, "flips": 0, "auroc_loss": 0}},
            ("accuracy_bounds.int8.probability_difference", 0),
        ),
    ],
    ids=["fp32", "int4", "incomplete", "above 1", "below 0"],
)
def test_unusable_bounds(tiny_bundle: Path, tmp_path: Path, bounds: dict[str, Any], facts: tuple[Fact, ...]) -> None:
    assert "accuracy_bounds" not in tiny_manifest()
    with refused(BundleError, "own.mmcaf", *facts):
        add_precisions(tiny_bundle, tmp_path / "own.mmcaf", {}, accuracy_bounds=bounds)


@pytest.mark.parametrize(
    ("flips", "count"),
    [
        ({"to_label_0": 2, "to_label_1": 3}, 5),
        ({"to_label_0": 2}, 2),
        ({"to_label_1": 3}, 3),
        ({"changed": 4}, 4),
        ({"changed": 0}, 0),
        ({}, 0),
    ],
    ids=str,
)
def test_flips_are_counted_to_either_label_or_as_they_are_told(flips: dict[str, int], count: int) -> None:
    assert Flips(**flips, fraction=0.1).count == count
