"""Independent labels: each with its probability and threshold, from windows to the answer, and over a cohort."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from mmcaf_engine.bundle.accuracy import Accuracy, Runtime
from mmcaf_engine.errors import BackendError, UsageError
from mmcaf_engine.evaluation.cohort_table import read_cohort
from mmcaf_engine.evaluation.compare import StudyScores, agreement
from mmcaf_engine.evaluation.metrics import mean_auroc_of_draws, told_apart
from mmcaf_engine.evaluation.performance import Labels, area_of, performance
from mmcaf_engine.manifest import AccuracyBound, Manifest
from mmcaf_engine.result.aggregate import StudyScore
from mmcaf_engine.result.decisions import BinaryDecision, MulticlassDecision, MultilabelDecision, decision_for
from mmcaf_engine.result.decisions.multilabel import NONE_PRESENT
from refusals import Fact, refused
from tiny_report import LABELS, THRESHOLDS, report_manifest
from tiny_result import tiny_result

FILES = {name: {"sha256": "0" * 64, "size": 1} for name in ("model.onnx", "golden.npz", "vocabulary.txt")}
RUNTIME = Runtime(backend="none", version="1", device="CPU")
LOOSE = AccuracyBound(probability_difference=1, flips=1, auroc_loss=1)


def manifest(**changes: Any) -> Manifest:
    return Manifest.model_validate({**report_manifest(), "files": FILES, **changes})


ONE = manifest()
ALONE = manifest(labels=["cancer"], thresholds=[0.5], outputs=[{"name": "logit", "kind": "score", "shape": ["N", 1]}])


def aggregate(starts: tuple[int, ...], given: NDArray[np.float32], of: Manifest) -> StudyScore:
    return decision_for(of).aggregate(starts, given)


def by(*thresholds: float) -> MultilabelDecision:
    """Labels named by their numbers."""
    return MultilabelDecision(tuple(map(str, range(len(thresholds)))), thresholds)


def truth(labels: Labels, count: int) -> NDArray[np.int64]:
    """1 where a label is present, [S, K]."""
    return np.array([[int(at in present) for at in range(count)] for present in labels])


def logits(*rows: tuple[float, ...]) -> NDArray[np.float32]:
    """From probabilities, as float32 [N, K]."""
    shares = np.array(rows, np.float64)
    return np.log(shares / (1 - shares)).astype(np.float32)


def sigmoid(values: NDArray[np.float32]) -> NDArray[np.float64]:
    exact: NDArray[np.float64] = 1 / (1 + np.exp(-values.astype(np.float64)))
    return exact


@pytest.mark.parametrize(
    ("shares", "said", "told", "alone"),
    [
        ((0.9, 0.1, 0.2), "nodule", 0, True),
        ((0.1, 0.35, 0.79), "effusion", 1, True),
        ((0.9, 0.31, 0.7), "nodule, effusion", 0, False),
        ((0.51, 0.35, 0.79), "nodule, effusion", 0, False),
        ((0.6, 0.35, 0.85), "nodule, effusion, large heart", 2, False),
        ((0.4, 0.29, 0.79), NONE_PRESENT, 2, False),
        ((0.2, 0.2, 0.2), NONE_PRESENT, 0, False),
    ],
    ids=[
        *("one", "one-though-another-is-more-probable", "two", "two-though-another-is-more-probable"),
        *("all", "none", "equal"),
    ],
)
def test_what_is_present_is_said(shares: tuple[float, ...], said: str, told: int, alone: bool) -> None:
    """With a probability where it is one label: that label's."""
    given = logits(shares)
    score = aggregate((0,), given, ONE)
    assert score.verdict == said and score.label == told
    np.testing.assert_allclose(score.probabilities, sigmoid(given)[0], rtol=1e-12)
    assert [finding.label for finding in score.findings] == list(LABELS)
    assert [finding.threshold for finding in score.findings] == list(THRESHOLDS)
    assert [finding.present for finding in score.findings] == [p >= t for p, t in zip(shares, THRESHOLDS, strict=True)]
    assert score.probability == (score.probabilities[told] if alone else None)
    assert (score.windows[0].logit, score.windows[0].probability) == (given[0, told], score.probabilities[told])
    probabilities = dict(zip(LABELS, score.probabilities, strict=True))
    result = replace(tiny_result(), label=said, probabilities=probabilities, findings=score.findings)
    assert result.scored_label == LABELS[told], "whose scores the windows have, as people are told"


@pytest.mark.parametrize(("share", "present"), [(0.5, True), (0.49, False)])
def test_one_label_alone(share: float, present: bool) -> None:
    score = aggregate((0,), logits((share,)), ALONE)
    assert score.verdict == ("cancer" if present else NONE_PRESENT)
    assert score.probability == (score.probabilities[0] if present else None)
    assert score.findings[0].present is present and score.findings[0].probability == score.probabilities[0]


def test_each_label_has_its_own_highest_window() -> None:
    given = logits((0.2, 0.8, 0.1), (0.7, 0.1, 0.3))
    score = aggregate((0, 4), given, ONE)
    np.testing.assert_allclose(score.probabilities, sigmoid(given).max(axis=0), rtol=1e-12)
    assert score.label == 1 and score.deciding == 0
    np.testing.assert_allclose([window.probability for window in score.windows], sigmoid(given)[:, 1], rtol=1e-12)


def test_the_mean_over_windows() -> None:
    given = logits((0.2, 0.8, 0.1), (0.7, 0.1, 0.3))
    score = aggregate((0, 4), given, manifest(aggregation={"method": "mean"}))
    mean = sigmoid(given).mean(axis=0)
    np.testing.assert_allclose(score.probabilities, mean, rtol=1e-12)
    np.testing.assert_allclose(score.logits, np.log(mean / (1 - mean)), rtol=1e-9)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_is_no_number_is_refused(value: float) -> None:
    with refused(BackendError, "slice 0", str(value), option="precision", value="fp32"):
        aggregate((0,), np.array([[0, value, 0]], np.float32), ONE)


def drawn(studies: int, labels: int, seed: int = 0, share: float = 0.3) -> tuple[Labels, NDArray[np.float64]]:
    """Which labels each study has, and probabilities that know something of them."""
    rng = np.random.default_rng(seed)
    present = rng.random((studies, labels)) < share
    shares = sigmoid((rng.normal(-1, 1, present.shape) + 1.5 * present).round(1).astype(np.float32))
    return [tuple(np.flatnonzero(row).tolist()) for row in present], shares


RULE = by(0.4, 0.3, 0.5, 0.6)


def test_figures_are_sklearns() -> None:
    labels, shares = drawn(60, 4)
    known = truth(labels, 4)
    found = performance(labels, shares, RULE)
    expected = [roc_auc_score(known[:, label], shares[:, label]) for label in range(4)]
    assert found.per_label is not None and found.auroc is not None
    for table, area, threshold in zip(found.per_label, expected, RULE.thresholds, strict=True):
        said = shares[:, table.label] >= threshold
        assert table.auroc == pytest.approx(area) and table.interval is not None
        assert table.interval.low <= area <= table.interval.high
        assert table.studies == known[:, table.label].sum() and table.threshold == threshold
        assert table.true_positives == (said & (known[:, table.label] == 1)).sum()
        assert table.false_positives == (said & (known[:, table.label] == 0)).sum()
    assert found.auroc.value == pytest.approx(np.mean(expected))
    assert found.auroc.low < found.auroc.value < found.auroc.high
    assert found.decisions is not None
    assert found.decisions.accuracy == pytest.approx(((shares >= np.array(RULE.thresholds)) == known).mean())


def test_the_interval_follows_single_draws() -> None:
    """Against AUROC computed anew on each draw's own studies."""
    labels, shares = drawn(25, 3, seed=4)
    known = truth(labels, 3)
    counts = np.random.default_rng(1).multinomial(25, [1 / 25] * 25, size=20)
    found = mean_auroc_of_draws(known, shares)(counts)
    for draw, value in zip(counts, found, strict=True):
        chosen = np.repeat(np.arange(25), draw)
        both = [at for at in range(3) if 0 < known[chosen, at].mean() < 1]
        expected = np.mean([roc_auc_score(known[chosen, at], shares[chosen, at]) for at in both])
        assert value == pytest.approx(expected)


def test_a_label_that_nobody_has_is_left_out_of_the_mean() -> None:
    labels, shares = drawn(40, 3, seed=2)
    without = [tuple(label for label in present if label != 1) for present in labels if isinstance(present, tuple)]
    assert told_apart(truth(without, 3)) == (0, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = performance(without, shares, by(0.5, 0.5, 0.5))
    assert found.per_label is not None and found.per_label[1].auroc is None and found.per_label[1].interval is None
    assert found.per_label[1].sensitivity is None and found.decisions is not None
    kept = [table.auroc for table in found.per_label if table.auroc is not None]
    assert found.auroc is not None and found.auroc.value == pytest.approx(np.mean(kept))


@pytest.mark.parametrize("labels", [[(), ()], [(0, 1), (0, 1)], [(0,), None]], ids=["none", "all", "one-labelled"])
def test_without_a_label_that_some_have_and_others_not_there_is_no_auroc(labels: Labels) -> None:
    shares = np.array([[0.2, 0.4], [0.7, 0.3]])
    assert area_of(labels, shares, by(0.5, 0.5)) is None
    assert performance(labels, shares, by(0.5, 0.5)).auroc is None


def test_a_cohort_without_labels() -> None:
    found = performance([None, None], np.array([[0.2, 0.4], [0.7, 0.3]]), by(0.5, 0.5))
    assert found.auroc is None and found.decisions is None and found.per_label is None


def scores(values: NDArray[np.float64]) -> StudyScores:
    return StudyScores(RUNTIME, values, np.log(values / (1 - values)))


def test_a_study_changes_where_any_of_its_labels_does() -> None:
    before = np.array([[0.2, 0.6], [0.2, 0.6], [0.9, 0.6], [0.1, 0.1]])
    after = np.array([[0.6, 0.4], [0.2, 0.6], [0.9, 0.4], [0.1, 0.15]])
    found = agreement(scores(before), scores(after), [(0,), (1,), (0, 1), ()], by(0.5, 0.5), LOOSE)
    assert (found.flips.changed, found.flips.fraction, found.flips.count) == (2, 0.5, 2)
    assert found.flips.to_label_0 is None
    assert found.max_probability_difference == pytest.approx(0.4)
    assert found.mean_probability_difference == pytest.approx((0.4 + 0 + 0.2 + 0.05) / 4)
    assert by(0.5, 0.5).decided(after).tolist() == [[1, 0], [0, 1], [1, 0], [0, 0]]


def test_equal_scores_differ_by_nothing() -> None:
    labels, shares = drawn(30, 4)
    found = agreement(scores(shares), scores(shares.copy()), labels, RULE, LOOSE)
    assert found.auroc_difference is not None and found.passed
    assert found.auroc_difference.model_dump() == {"value": 0, "low": 0, "high": 0}


def test_the_bound_counts_studies_and_the_mean_auroc() -> None:
    labels, shares = drawn(50, 4)
    worse = shares.copy()
    worse[:, 2] = shares[::-1, 2]
    found = agreement(scores(shares), scores(worse), labels, RULE, tightened(LOOSE, auroc_loss=0.01, flips=0.1))
    assert not found.passed and any("AUROC falls by" in reason for reason in found.reasons)
    assert any("label(s) change" in reason for reason in found.reasons)


def tightened(bound: AccuracyBound, **changes: float) -> AccuracyBound:
    return bound.model_copy(update=changes)


def test_what_only_independent_labels_have_is_left_out_for_others(tmp_path: Path) -> None:
    of_two = performance([0, 1], np.array([0.2, 0.7]), BinaryDecision(("a", "b"), 0.5))
    several = performance([0, 1], np.array([[0.8, 0.2], [0.3, 0.7]]), MulticlassDecision(("a", "b")))
    assert "interval" not in several.model_dump(mode="json")["per_label"][0]
    assert "per_label" not in of_two.model_dump(mode="json")
    assert "thresholds" in Accuracy.model_fields


def table(folder: Path, *lines: str) -> Path:
    """A cohort of studies and reports that are there."""
    for name in ("a", "b", "c"):
        (folder / name).touch()
    (folder / "r.txt").write_text("clear")
    (folder / "r.json").write_text("{}")
    path = folder / "cohort.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_table_names_the_labels_that_are_present(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "study,record,report,label",
        "a,r.json,r.txt,Nodule; large heart",
        "b,r.json,,",
        "c,r.json,r.txt,?",
    )
    cohort = read_cohort(path, ONE)
    assert [case.label for case in cohort] == [(0, 2), (), None]
    assert [case.report for case in cohort] == [tmp_path / "r.txt", None, tmp_path / "r.txt"]


def test_numbers_name_labels_too_and_no_column_means_unknown(tmp_path: Path) -> None:
    cohort = read_cohort(table(tmp_path, "study,record,label", "a,r.json,2;0"), ONE)
    assert [case.label for case in cohort] == [(0, 2)]
    cohort = read_cohort(table(tmp_path, "study,record", "a,r.json"), ONE)
    assert [case.label for case in cohort] == [None]


@pytest.mark.parametrize(
    ("label", "facts"),
    [
        ("nodule;mass", ("'mass'", "nodule", "effusion", "large heart", 2)),
        ("nodule;Nodule", ("twice", "'nodule;Nodule'")),
        ("nodule;", ("''", "nodule", "effusion")),
        ("nodule|effusion", ("'nodule|effusion'", "nodule", "effusion")),
    ],
)
def test_labels_that_are_none_are_refused(label: str, facts: tuple[Fact, ...], tmp_path: Path) -> None:
    with refused(UsageError, "cohort.csv", "line 2", *facts):
        read_cohort(table(tmp_path, "study,record,label", f"a,r.json,{label}"), ONE)


def test_a_report_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with refused(UsageError, "cohort.csv", "line 2", "report", "'x.txt'"):
        read_cohort(table(tmp_path, "study,record,report", "a,r.json,x.txt"), ONE)


def test_a_network_of_text_alone_needs_a_column_for_it(tmp_path: Path) -> None:
    text_only = manifest(
        inputs=[entry for entry in report_manifest()["inputs"] if entry["name"] != "table"], table=None
    )
    with refused(UsageError, "cohort.csv", "line 1", "column", "report", "tiny-report"):
        read_cohort(table(tmp_path, "study", "a"), text_only)
    cohort = read_cohort(table(tmp_path, "study,report", "a,r.txt"), text_only)
    assert [(case.record, case.report) for case in cohort] == [(None, tmp_path / "r.txt")]
