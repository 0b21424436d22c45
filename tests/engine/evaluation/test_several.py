"""The gate for several labels: macro AUROC against scikit-learn, flips of the answer, and a whole cohort."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from mmcaf_engine.bundle.accuracy import Accuracy, Runtime, parse_accuracy, write_accuracy
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.demo.liver import LIVER_LABELS, liver_patient
from mmcaf_engine.errors import StudyError, UsageError
from mmcaf_engine.evaluation.cohort import open_cohort
from mmcaf_engine.evaluation.compare import StudyScores, agreement, evaluate
from mmcaf_engine.evaluation.metrics import mean_auroc_of_draws
from mmcaf_engine.evaluation.performance import area_of, performance
from mmcaf_engine.evaluation.synthetic import LiverCase, demo_cohort
from mmcaf_engine.manifest import AccuracyBound, Manifest
from mmcaf_engine.result.decisions import BinaryDecision, MulticlassDecision
from mmcaf_engine.session.session import open_session
from refusals import refused
from tiny_bundle import tiny_manifest
from tiny_liver import make_tiny_liver, tiny_liver_manifest

FILES = {name: {"sha256": "0" * 64, "size": 1} for name in ("model.onnx", "golden.npz")}
LOOSE = AccuracyBound(probability_difference=1, flips=1, auroc_loss=1)
LIVER = Manifest.model_validate({**tiny_liver_manifest(), "files": FILES})


def drawn(studies: int, labels: int, seed: int = 0, signal: float = 1.0) -> tuple[list[int], NDArray[np.float64]]:
    """Labels, and probabilities that know something of them; some are rounded, so that ties occur."""
    rng = np.random.default_rng(seed)
    known = rng.integers(0, labels, studies)
    logits = rng.normal(0, 1, (studies, labels)).round(1)
    logits[np.arange(studies), known] += signal
    powers = np.exp(logits)
    return known.tolist(), powers / powers.sum(axis=1, keepdims=True)


def among(probabilities: NDArray[np.float64]) -> MulticlassDecision:
    """Labels named by their numbers."""
    return MulticlassDecision(tuple(map(str, range(probabilities.shape[1]))))


def scores(probabilities: NDArray[np.float64]) -> StudyScores:
    return StudyScores(Runtime(backend="none", version="1", device="CPU"), probabilities, np.log(probabilities))


@pytest.mark.parametrize(("studies", "labels"), [(40, 3), (80, 7), (13, 2)])
def test_ratios_and_auroc_equal_scikit_learns(studies: int, labels: int) -> None:
    known, probabilities = drawn(studies, labels)
    found = performance(known, probabilities, among(probabilities))
    said = probabilities.argmax(axis=1)
    one_hot = np.eye(labels)[known]
    areas = [roc_auc_score(one_hot[:, label], probabilities[:, label]) for label in range(labels)]
    assert found.auroc is not None and found.auroc.value == pytest.approx(np.mean(areas))
    assert found.auroc.low <= found.auroc.value <= found.auroc.high
    if labels > 2:
        assert found.auroc.value == pytest.approx(roc_auc_score(known, probabilities, multi_class="ovr"))
    table = found.decisions
    assert table is not None and table.accuracy == pytest.approx(accuracy_score(known, said))
    assert table.f1 == pytest.approx(f1_score(known, said, average="macro"))
    assert table.sensitivity == pytest.approx(recall_score(known, said, average="macro"))
    assert table.ppv == pytest.approx(precision_score(known, said, average="macro"))
    assert found.per_label is not None and [one.studies for one in found.per_label] == np.bincount(known).tolist()
    assert [one.auroc for one in found.per_label] == pytest.approx(areas)
    assert [one.f1 for one in found.per_label] == pytest.approx(f1_score(known, said, average=None).tolist())


def test_labels_that_do_not_occur_are_left_out_of_the_means() -> None:
    known, probabilities = drawn(30, 3)
    wide = np.concatenate([probabilities, np.zeros((30, 2))], axis=1)
    narrow, found = performance(known, probabilities, among(probabilities)), performance(known, wide, among(wide))
    assert found.auroc is not None and narrow.auroc is not None and found.auroc.value == narrow.auroc.value
    assert found.decisions == narrow.decisions
    assert found.per_label is not None and found.per_label[4].auroc is None and found.per_label[4].studies == 0


def test_one_label_alone_has_no_auroc() -> None:
    _, probabilities = drawn(10, 3)
    assert area_of([1] * 10, probabilities, among(probabilities)) is None
    found = agreement(scores(probabilities), scores(probabilities), [1] * 10, among(probabilities), LOOSE)
    assert found.auroc_difference is None and "all 10 labelled studies are of label 1" in (found.auroc_note or "")


def test_draws_are_weighted_studies() -> None:
    known, probabilities = drawn(25, 3)
    counts = np.random.default_rng(4).integers(1, 4, (5, 25))
    drawn_values = mean_auroc_of_draws(np.eye(3, dtype=np.int64)[known], probabilities)(counts)
    for row, value in zip(counts, drawn_values, strict=True):
        repeated = np.repeat(np.arange(25), row)
        expected = roc_auc_score(np.array(known)[repeated], probabilities[repeated], multi_class="ovr")
        assert value == pytest.approx(expected)


def test_agreement_counts_changed_answers_and_the_largest_difference() -> None:
    reference = np.array([[0.6, 0.3, 0.1], [0.1, 0.5, 0.4], [0.2, 0.2, 0.6]])
    other = np.array([[0.5, 0.3, 0.2], [0.1, 0.42, 0.48], [0.2, 0.2, 0.6]])
    found = agreement(scores(reference), scores(other), [0, 1, 2], among(other), LOOSE)
    assert found.flips.count == found.flips.changed == 1 and found.flips.fraction == pytest.approx(1 / 3)
    assert found.max_probability_difference == pytest.approx(0.1)
    assert found.mean_probability_difference == pytest.approx((0.1 + 0.08 + 0.0) / 3)
    assert found.passed and found.auroc_difference is not None
    strict = AccuracyBound(probability_difference=0.05, flips=0.1, auroc_loss=0)
    failed = agreement(scores(reference), scores(other), [0, 1, 2], among(other), strict)
    assert not failed.passed and [reason.split(";")[0] for reason in failed.reasons[:2]] == [
        "a probability differs by 0.1000",
        "1 label(s) change, 33.33% of the studies",
    ]


def test_the_difference_of_equal_scores_is_exactly_0() -> None:
    known, probabilities = drawn(60, 7)
    found = agreement(scores(probabilities), scores(probabilities.copy()), known, among(probabilities), LOOSE)
    assert found.auroc_difference is not None
    assert (found.auroc_difference.value, found.auroc_difference.low, found.auroc_difference.high) == (0, 0, 0)


# Cohorts


def test_the_manifest_decides_which_synthetic_studies_come() -> None:
    liver = open_cohort("demo:3-9", LIVER)
    assert [type(case) for case in liver] == [LiverCase] * 7
    assert [case.label for case in liver] == [liver_patient(seed).lesion.kind for seed in range(3, 10)]
    lung = open_cohort("demo:3-9", Manifest.model_validate({**tiny_manifest(), "files": FILES}))
    assert not any(isinstance(case, LiverCase) for case in lung)
    reversed_labels = demo_cohort(3, 7, MulticlassDecision(LIVER_LABELS[::-1]), kind="liver")
    assert [case.label for case in reversed_labels] == [6 - liver_patient(seed).lesion.kind for seed in range(3, 10)]
    unlike = LIVER.model_copy(update={"labels": tuple("abcdefg")})
    assert {case.label for case in open_cohort("demo:3-9", unlike)} == {None}


def test_a_liver_study_is_refused_where_it_does_not_fit() -> None:
    lung = Manifest.model_validate({**tiny_manifest(), "files": FILES})
    with refused(StudyError, "demo:3", "MR", "tiny", "CT", "image"):
        LiverCase(3).load(lung)


@pytest.mark.parametrize(
    ("cell", "label"), [("synthetic lesion 4", 4), ("SYNTHETIC LESION 0", 0), ("6", 6), ("", None)]
)
def test_labels_of_a_table(tmp_path: Path, cell: str, label: int | None) -> None:
    (tmp_path / "a.nii").touch()
    (tmp_path / "cohort.csv").write_text(f"study,label\na.nii,{cell}\n")
    (case,) = open_cohort(str(tmp_path / "cohort.csv"), LIVER)
    assert case.label == label


def test_an_unknown_label_of_a_table(tmp_path: Path) -> None:
    (tmp_path / "a.nii").touch()
    (tmp_path / "cohort.csv").write_text("study,label\na.nii,7\n")
    with refused(UsageError, "cohort.csv", "line 2", "'7'", "synthetic lesion 0", 0, 6):
        open_cohort(str(tmp_path / "cohort.csv"), LIVER)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Accuracy:
    """Six synthetic studies, FP32 against a copy of itself."""
    bundle = load_bundle(make_tiny_liver(tmp_path_factory.mktemp("several") / "liver.mmcaf"))
    with open_session(bundle, backend="onnxruntime") as fp32:
        other = open_session(bundle, backend="onnxruntime", precision="fp32")
        with other:
            accuracy, _ = evaluate(open_cohort("demo:0-5", bundle.manifest), {"fp32": fp32, "fp16": other})
    return accuracy


def test_a_cohort_of_several_labels(outcome: Accuracy) -> None:
    kinds = [liver_patient(seed).lesion.kind for seed in range(6)]
    assert outcome.threshold is None and outcome.cohort.positives is None
    assert outcome.cohort.per_label == tuple(kinds.count(kind) for kind in range(7))
    assert outcome.precisions["fp16"].flips.count == 0 and outcome.precisions["fp16"].passed


def test_the_file_holds_what_is_of_its_kind(outcome: Accuracy, tmp_path: Path) -> None:
    write_accuracy(outcome, tmp_path / "accuracy.json")
    stored = json.loads((tmp_path / "accuracy.json").read_text())
    assert "positives" not in stored["cohort"] and "per_label" in stored["cohort"]
    assert set(stored["precisions"]["fp16"]["flips"]) == {"changed", "fraction"}
    assert parse_accuracy((tmp_path / "accuracy.json").read_bytes()) == outcome
    of_two = performance([0, 1], np.array([0.2, 0.7]), BinaryDecision(("a", "b"), 0.5)).model_dump(mode="json")
    assert "per_label" not in of_two
