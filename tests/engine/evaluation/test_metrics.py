"""AUROC, ROC curve and decisions against scikit-learn; what is not defined is None."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as sk

from mmcaf_engine.bundle.accuracy import LabelTable
from mmcaf_engine.errors import UsageError
from mmcaf_engine.evaluation.metrics import (
    auroc,
    auroc_of_draws,
    both_labels,
    decision_table,
    mean_of_tables,
    roc_curve,
)
from refusals import Fact, refused


def cohort(studies: int, decimals: int | None, seed: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels of both kinds and overlapping probabilities; few decimals make ties."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([[0, 1], rng.integers(0, 2, studies - 2)])
    scores = 1 / (1 + np.exp(-rng.normal(1.2 * labels - 0.6)))
    return labels, scores if decimals is None else np.round(scores, decimals)


CASES = [
    pytest.param(*cohort(studies, decimals, seed), id=f"{studies} studies, {ties}")
    for seed, studies in enumerate((2, 3, 63, 100, 1001))
    for decimals, ties in ((None, "no ties"), (1, "many ties"), (0, "two scores"))
]
CASES += [
    pytest.param(np.array([0, 1, 0, 1]), np.full(4, 0.5), id="one score"),
    pytest.param(np.array([0, 0, 1]), np.array([0.1, 0.2, 0.9]), id="perfect"),
    pytest.param(np.array([1, 1, 0]), np.array([0.1, 0.2, 0.9]), id="inverted"),
]


@pytest.mark.parametrize(("labels", "scores"), CASES)
def test_auroc(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> None:
    assert auroc(labels, scores) == pytest.approx(sk.roc_auc_score(labels, scores), abs=1e-12)


@pytest.mark.parametrize(("labels", "scores"), CASES)
def test_roc_curve(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> None:
    curve = roc_curve(labels, scores)
    assert curve is not None
    false, true, thresholds = sk.roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve.false_positive_rate, false, rtol=0, atol=1e-12)
    np.testing.assert_allclose(curve.sensitivity, true, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(curve.thresholds, thresholds)
    assert np.trapezoid(curve.sensitivity, curve.false_positive_rate) == pytest.approx(auroc(labels, scores))


@pytest.mark.parametrize("threshold", [0.05, 0.5, 0.9, 1.0], ids="from {}".format)
@pytest.mark.parametrize(("labels", "scores"), CASES)
def test_decisions(labels: NDArray[np.int64], scores: NDArray[np.float64], threshold: float) -> None:
    table = decision_table(labels, scores, threshold)
    said = (scores >= threshold).astype(int)
    tn, fp, fn, tp = sk.confusion_matrix(labels, said, labels=[0, 1]).ravel()
    assert (table.true_negatives, table.false_positives) == (tn, fp)
    assert (table.false_negatives, table.true_positives) == (fn, tp)
    expected = {
        "accuracy": sk.accuracy_score(labels, said),
        "f1": sk.f1_score(labels, said, zero_division=np.nan),
        "sensitivity": sk.recall_score(labels, said, zero_division=np.nan),
        "specificity": sk.recall_score(labels, said, pos_label=0, zero_division=np.nan),
        "ppv": sk.precision_score(labels, said, zero_division=np.nan),
        "npv": sk.precision_score(labels, said, pos_label=0, zero_division=np.nan),
    }
    for name, value in expected.items():
        assert getattr(table, name) == (None if math.isnan(value) else pytest.approx(value)), name


@pytest.mark.parametrize("label", [0, 1], ids=["label 0 only", "label 1 only"])
def test_one_label_leaves_undefined_what_is_undefined(label: int) -> None:
    labels, scores = np.full(3, label), np.array([0.1, 0.4, 0.8])
    assert auroc(labels, scores) is None and roc_curve(labels, scores) is None and not both_labels(labels)
    table = decision_table(labels, scores, 0.5)
    if label:
        assert table.specificity is None and table.sensitivity == pytest.approx(1 / 3)
        assert (table.ppv, table.npv) == (1.0, 0.0)
    else:
        assert table.sensitivity is None and table.specificity == pytest.approx(2 / 3)
        assert (table.ppv, table.npv, table.f1) == (0.0, 1.0, 0.0)


def test_nothing_said_of_nothing() -> None:
    assert decision_table([0, 0], [0.1, 0.2], 0.5).f1 is None
    assert decision_table([], [], 0.5).accuracy is None
    assert auroc([], []) is None


def test_a_draw_is_a_cohort_with_repeated_studies() -> None:
    labels, scores = cohort(40, 1, 7)
    rng = np.random.default_rng(1)
    counts = np.ones((5, 40), np.int64) + rng.integers(0, 3, (5, 40))
    repeated = [auroc(np.repeat(labels, row), np.repeat(scores, row)) for row in counts]
    np.testing.assert_allclose(auroc_of_draws(labels, scores)(counts), np.array(repeated, float), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("labels", "scores", "facts"),
    [
        ([0, 1], [0.5], ("[2]", "[1]")),
        ([[0, 1]], [[0.1, 0.2]], ("[1, 2]", "[S]")),
        ([0, 2], [0.1, 0.2], ("label", 0, 1)),
        ([0, 0.5], [0.1, 0.2], ("label", 0, 1)),
        ([0, 1], [0.1, math.nan], (1, "2 scores", "NaN")),
        ([0, 1], [math.inf, 0.1], (1, "2 scores", "NaN")),
    ],
    ids=["lengths", "two axes", "label 2", "label 0.5", "NaN", "infinity"],
)
@pytest.mark.parametrize("measure", [auroc, roc_curve, lambda labels, scores: decision_table(labels, scores, 0.5)])
def test_wrong_input(measure: Any, labels: Any, scores: Any, facts: tuple[Fact, ...]) -> None:
    with refused(UsageError, *facts):
        measure(labels, scores)


def test_a_mean_is_of_the_ratios_that_are_defined() -> None:
    cohorts = ([1, 0], [0.9, 0.8]), ([1, 0], [0.1, 0.2]), ([1, 0], [0.9, 0.1])  # PPV 1/2, undefined, 1
    tables = [
        LabelTable(**decision_table(*one, 0.5).model_dump(), label=0, studies=1, auroc=None, interval=None)
        for one in cohorts
    ]
    assert [table.ppv for table in tables] == [0.5, None, 1.0]
    assert mean_of_tables(tables, "ppv") == 0.75 and mean_of_tables(iter(tables), "ppv") == 0.75
    assert mean_of_tables(tables[1:2], "ppv") is None
