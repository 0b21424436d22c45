"""Figures of a cohort beside scikit-learn, statsmodels and DeLong's method as defined, degenerate cohorts too."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.metrics import brier_score_loss, roc_auc_score, roc_curve
from statsmodels.stats.contingency_tables import mcnemar as oracle_mcnemar
from statsmodels.stats.proportion import proportion_confint

from mmcaf_engine.bundle.accuracy import Runtime
from mmcaf_engine.errors import UsageError
from mmcaf_engine.evaluation.analysis import wrong_answers
from mmcaf_engine.evaluation.cases import Cohort, FileCase
from mmcaf_engine.evaluation.compare import CohortScores, StudyScores
from mmcaf_engine.evaluation.statistics.calibration import BINS, calibration
from mmcaf_engine.evaluation.statistics.delong import auroc_interval, compare_paired, compare_unpaired
from mmcaf_engine.evaluation.statistics.intervals import Z, wilson
from mmcaf_engine.evaluation.statistics.mcnemar import mcnemar
from mmcaf_engine.evaluation.statistics.net_benefit import decision_curve
from mmcaf_engine.evaluation.statistics.operating import decisions, threshold_by
from mmcaf_engine.record.slices import read_named
from mmcaf_engine.result.decisions import BinaryDecision
from refusals import refused

RUNTIME = Runtime(backend="onnxruntime", version="1", device="CPU")

Truth, Scores = NDArray[np.int64], NDArray[np.float64]


def cohorts(count: int = 12) -> Iterator[tuple[Truth, Scores, Scores]]:
    """Labels and two sets of scores that know something of them, some with many ties, of 5 to 200 studies."""
    rng = np.random.default_rng(7)
    for number in range(count):
        studies = int(rng.integers(5, 200))
        truth = np.concatenate([[0, 0, 1, 1], rng.integers(0, 2, studies - 4)]).astype(np.int64)
        rng.shuffle(truth)
        shared = rng.normal(size=studies)
        pair = [1 / (1 + np.exp(-(truth - 0.5 + shared + rng.normal(size=studies)))) for _ in range(2)]
        mine, theirs = (np.round(one, 1 + number % 4) for one in pair)
        yield truth, mine.clip(0.01, 0.99), theirs.clip(0.01, 0.99)


def placements(truth: Truth, scores: Scores) -> tuple[list[float], list[float]]:
    """DeLong's structural components, pair by pair as equation (4) of the paper has them."""
    cases, controls = scores[truth == 1], scores[truth == 0]

    def above(case: float, control: float) -> float:
        return 1.0 if case > control else 0.5 if case == control else 0.0

    of_cases = [sum(above(case, control) for control in controls) / len(controls) for case in cases]
    of_controls = [sum(above(case, control) for case in cases) / len(cases) for control in controls]
    return of_cases, of_controls


def covariance(mine: list[float], theirs: list[float]) -> float:
    mean, other = sum(mine) / len(mine), sum(theirs) / len(theirs)
    return sum((a - mean) * (b - other) for a, b in zip(mine, theirs, strict=True)) / (len(mine) - 1)


def test_auroc_and_its_interval() -> None:
    for truth, scores, _ in cohorts():
        of_cases, of_controls = placements(truth, scores)
        error = (
            covariance(of_cases, of_cases) / len(of_cases) + covariance(of_controls, of_controls) / len(of_controls)
        ) ** 0.5
        found = auroc_interval(truth, scores)
        assert found.value == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
        assert found.low == pytest.approx(max(0.0, found.value - Z * error), abs=1e-12)
        assert found.high == pytest.approx(min(1.0, found.value + Z * error), abs=1e-12)


def test_two_sets_of_scores_are_compared_on_the_same_studies() -> None:
    for truth, mine, theirs in cohorts():
        a, b = placements(truth, mine), placements(truth, theirs)
        variance = sum(
            (covariance(x, x) + covariance(y, y) - 2 * covariance(x, y)) / len(x) for x, y in zip(a, b, strict=True)
        )
        found = compare_paired(truth, mine, theirs)
        difference = roc_auc_score(truth, mine) - roc_auc_score(truth, theirs)
        assert found.difference.value == pytest.approx(difference, abs=1e-12)
        assert found.difference.high == pytest.approx(min(1.0, difference + Z * variance**0.5), abs=1e-9)
        assert found.difference.low == pytest.approx(max(-1.0, difference - Z * variance**0.5), abs=1e-9)
        assert found.p == pytest.approx(2 * norm.sf(abs(difference) / variance**0.5), abs=1e-9)


def test_other_studies_add_their_variances() -> None:
    (truth, mine, _), (other, theirs, _) = [*cohorts(2)]
    halves = [(one.high - one.low) / 2 for one in (auroc_interval(truth, mine), auroc_interval(other, theirs))]  # type: ignore[operator]
    found = compare_unpaired(truth, mine, other, theirs).difference
    assert found.value == pytest.approx(roc_auc_score(truth, mine) - roc_auc_score(other, theirs), abs=1e-12)
    assert found.high - found.value == pytest.approx(sum(half**2 for half in halves) ** 0.5, abs=1e-3)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("truth", "scores", "value", "note"),
    [
        ([], [], None, "no studies"),
        ([1, 1], [0.2, 0.7], None, "all 2 studies are with the label"),
        ([0, 0, 0], [0.2, 0.7, 0.7], None, "all 3 studies are without the label"),
        ([0, 1], [0.2, 0.7], 1.0, "too few studies for an interval: 1 with the label, 1 without"),
        ([0, 0, 1], [0.2, 0.7, 0.5], 0.5, "too few studies for an interval: 1 with the label, 2 without"),
        ([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.8], 1.0, "too few studies for an interval: 2 with the label, 2 without"),
        ([1, 1, 0, 0], [0.1, 0.2, 0.7, 0.8], 0.0, "too few studies for an interval: 2 with the label, 2 without"),
        ([1, 0, 1, 0], [0.5, 0.5, 0.5, 0.5], 0.5, "too few studies for an interval: 2 with the label, 2 without"),
    ],
)
def test_an_interval_without_width_is_none(truth: list[int], scores: list[float], value: float, note: str) -> None:
    found = auroc_interval(np.array(truth, np.int64), np.array(scores, np.float64))
    assert (found.value, found.low, found.high, found.note) == (value, None, None, note)


def test_equal_scores_are_no_difference() -> None:
    truth, scores, _ = next(cohorts())
    found = compare_paired(truth, scores, scores)
    assert (found.difference.value, found.difference.low, found.p) == (0.0, None, None)
    assert found.difference.note == "both put the studies in the same order"


def test_proportions() -> None:
    for of in (1, 2, 7, 40, 1000):
        for count in sorted({0, 1, of // 3, of - 1, of}):
            found = wilson(count, of)
            low, high = proportion_confint(count, of, method="wilson")
            assert (found.value, found.count, found.of) == (count / of, count, of)
            assert found.low == pytest.approx(max(low, 0.0), abs=1e-12)
            assert found.high == pytest.approx(min(high, 1.0), abs=1e-12)
    assert (wilson(0, 0).value, wilson(0, 0).low) == (None, None)


def test_decisions_on_the_same_studies() -> None:
    rng = np.random.default_rng(1)
    for studies in (1, 5, 30, 200):
        right, other = rng.random(studies) < 0.7, rng.random(studies) < 0.6
        table = [[(right & other).sum(), (right & ~other).sum()], [(~right & other).sum(), (~right & ~other).sum()]]
        found = mcnemar(right, other)
        assert (found.only_first, found.only_second) == (table[0][1], table[1][0])
        assert found.p == pytest.approx(oracle_mcnemar(table, exact=True).pvalue, abs=1e-12)
    assert mcnemar(np.array([True]), np.array([True])).p == 1.0


def test_calibration() -> None:
    fitted = 0
    for truth, scores, _ in cohorts(24):
        found = calibration(truth, scores)
        assert found.brier.value == pytest.approx(brier_score_loss(truth, scores), abs=1e-12)
        assert sum(one.observed.of for one in found.bins) == len(truth) and len(found.bins) <= BINS
        assert sum(one.observed.count for one in found.bins) == truth.sum()
        means = [one.mean_probability for one in found.bins]
        assert means == sorted(means) and len(set(means)) == len(means)
        if found.slope.value is None:
            assert "separates" in found.slope.note
            continue
        logits = np.log(scores / (1 - scores))
        model = statsmodels.api.Logit(truth, statsmodels.api.add_constant(logits)).fit(disp=0, tol=1e-12, maxiter=200)
        assert [found.intercept.value, found.slope.value] == pytest.approx(list(model.params), abs=1e-6)
        assert [found.slope.low, found.slope.high] == pytest.approx(list(model.conf_int()[1]), abs=1e-5)
        fitted += 1
    assert fitted > 15


@pytest.mark.parametrize(
    ("truth", "scores", "note"),
    [
        ([1, 1, 1], [0.2, 0.4, 0.9], "studies of one label alone"),
        ([0, 1, 0], [0.4, 0.4, 0.4], "every study has the same probability"),
        ([0, 0, 1], [0.1, 0.4, 0.4], "a threshold separates the labels, so that no slope is steep enough"),
        ([1, 1, 0], [0.1, 0.2, 0.4], "a threshold separates the labels, so that no slope is steep enough"),
    ],
)
def test_a_slope_that_there_is_not(truth: list[int], scores: list[float], note: str) -> None:
    found = calibration(np.array(truth, np.int64), np.array(scores))
    assert (found.slope.value, found.slope.note, found.intercept.note) == (None, note, note)


def test_probabilities_of_0_and_1_are_judged_too() -> None:
    found = calibration(np.array([0, 1, 0, 1, 1]), np.array([0.0, 1.0, 0.6, 0.4, 1.0]))
    assert found.brier.value == pytest.approx((0.36 + 0.36) / 5) and found.slope.value is not None
    assert calibration(np.zeros(0, np.int64), np.zeros(0)).brier.note == "no studies"


def test_operating_points() -> None:
    for truth, scores, _ in cohorts():
        false, sensitivity, _thresholds = roc_curve(truth, scores, drop_intermediate=False)
        chosen = threshold_by("youden", truth, scores)
        assert chosen is not None and not np.isin(chosen, scores)
        point = decisions(truth, scores >= chosen, chosen)
        assert point.sensitivity.value + point.specificity.value - 1 == pytest.approx((sensitivity - false).max())  # type: ignore[operator]
        for share in (0.5, 0.9, 1.0):
            at = threshold_by(f"sensitivity={share}", truth, scores)
            assert at is not None
            kept = decisions(truth, scores >= at, at)
            assert kept.sensitivity.value is not None and kept.sensitivity.value >= share
            best = (1 - false[sensitivity >= share - 1e-12]).max()
            assert kept.specificity.value == pytest.approx(best)
            at = threshold_by(f"specificity={share}", truth, scores)
            assert at is not None
            kept = decisions(truth, scores >= at, at)
            assert kept.specificity.value is not None and kept.specificity.value >= share
            assert kept.sensitivity.value == pytest.approx(sensitivity[1 - false >= share - 1e-12].max())


@pytest.mark.parametrize("largest", [1.0, 5.0])
def test_a_threshold_may_lie_above_every_score(largest: float) -> None:
    truth, scores = np.array([0, 1, 0, 1]), np.array([largest, 0.5, -0.2, largest])
    at = threshold_by("specificity=1", truth, scores)
    assert at is not None and not (scores >= at).any()
    lowest = threshold_by("sensitivity=1", truth, np.array([0.3, -0.2, 0.1, 0.4]))
    assert lowest is not None and lowest < -0.2


def test_no_operating_point_of_one_label() -> None:
    assert threshold_by("youden", np.array([1, 1]), np.array([0.2, 0.4])) is None
    assert threshold_by("sensitivity=0.9", np.array([0]), np.array([0.2])) is None


@pytest.mark.parametrize("rule", ["", "best", "sensitivity", "sensitivity=0", "specificity=1.1", "sensitivity=nan"])
def test_unknown_rules(rule: str) -> None:
    with refused(UsageError, "operating point"):
        threshold_by(rule, np.array([0, 1]), np.array([0.1, 0.2]))


def test_net_benefit() -> None:
    truth, scores = np.array([1, 0, 1, 0]), np.array([0.9, 0.6, 0.4, 0.1])
    found = {one.threshold: one for one in decision_curve(truth, scores)}
    assert found[0.5].net_benefit == pytest.approx((1 - 1 * 1.0) / 4)
    assert found[0.2].net_benefit == pytest.approx((2 - 1 * 0.25) / 4)
    assert found[0.2].treat_all == pytest.approx(0.5 - 0.5 * 0.25)
    assert found[0.95].net_benefit == 0.0
    assert decision_curve(truth[:0], scores[:0]) == ()


def test_the_surest_wrong_answers_come_first() -> None:
    truth = (0, 1, 0, 1, None)
    probabilities = np.array([0.51, 0.01, 0.9, 0.8, 0.99])
    outcome = CohortScores(tuple("abcde"), truth, {"fp32": StudyScores(RUNTIME, probabilities, probabilities)}, (), ())
    found = wrong_answers(outcome, BinaryDecision(("no", "yes"), 0.5))
    assert [(one.id, one.holds) for one in found] == [("b", True), ("c", False), ("a", False)]


def test_a_cohort_is_known_by_what_it_asks(tmp_path: Path) -> None:
    """By its lesions too, and by which file holds what."""
    for name, text in (("r1", "ab"), ("r2", "c"), ("r3", "a"), ("r4", "bc")):
        (tmp_path / name).write_text(text)

    def digest(record: str, report: str, lesion: str) -> str:
        case = FileCase("a", 1, tmp_path, tmp_path / record, tmp_path / report, read_named(lesion))
        return Cohort("table", (case,)).sha256

    assert digest("r1", "r2", "3-9") == digest("r1", "r2", "3-9")
    assert len({digest("r1", "r2", "3-9"), digest("r1", "r2", "4-9"), digest("r3", "r4", "3-9")}) == 3
