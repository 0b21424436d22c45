"""Bootstrap intervals: the same as a plain loop, they cover the truth, and identical scores differ by nothing."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from mmcaf_engine.errors import UsageError
from mmcaf_engine.evaluation.intervals import bootstrap_interval, paired_interval
from mmcaf_engine.evaluation.metrics import auroc_of_draws
from refusals import refused

LOOP_DRAWS = 150


def binormal(positives: int, negatives: int, separation: float, seed: int) -> tuple[NDArray[np.int64], np.ndarray]:
    """Normal scores of variance 1; the AUROC of their distributions is Phi(separation / sqrt 2)."""
    labels = np.repeat([0, 1], [negatives, positives])
    return labels, np.random.default_rng(seed).normal(separation * labels)


def plain_loop(labels: NDArray[np.int64], scores: list[np.ndarray]) -> tuple[float, float]:
    """The interval of the (difference of) AUROC, drawn and measured one by one."""
    rng = np.random.default_rng(0)
    groups = [np.flatnonzero(labels == label) for label in (0, 1)]
    values = []
    for _ in range(LOOP_DRAWS):
        drawn = np.concatenate([rng.choice(group, len(group)) for group in groups])
        areas = [float(roc_auc_score(labels[drawn], part[drawn])) for part in scores]
        values.append(areas[0] - sum(areas[1:]))
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


@pytest.mark.parametrize(("positives", "negatives"), [(1, 1), (3, 40), (29, 31)])
def test_same_as_a_plain_loop(positives: int, negatives: int) -> None:
    labels, scores = binormal(positives, negatives, 1.0, 3)
    scores = np.round(scores, 1)
    other = scores + np.random.default_rng(4).normal(0, 0.5, len(scores))
    order = np.random.default_rng(5).permutation(len(labels))
    labels, scores, other = labels[order], scores[order], other[order]
    alone = bootstrap_interval(labels, auroc_of_draws(labels, scores), draws=LOOP_DRAWS)
    assert alone == pytest.approx(plain_loop(labels, [scores]), abs=1e-12)
    paired = paired_interval(labels, auroc_of_draws(labels, other), auroc_of_draws(labels, scores), draws=LOOP_DRAWS)
    assert paired == pytest.approx(plain_loop(labels, [other, scores]), abs=1e-12)


def test_covers_the_truth() -> None:
    """Of 200 cohorts from one known distribution, about 95 % of the intervals hold its AUROC."""
    truth = 0.5 * (1 + math.erf(1.2 / math.sqrt(2) / math.sqrt(2)))
    held = 0
    for seed in range(200):
        labels, scores = binormal(60, 80, 1.2, seed)
        low, high = bootstrap_interval(labels, auroc_of_draws(labels, scores), draws=400, seed=seed)
        held += low <= truth <= high
    assert 0.91 <= held / 200 <= 0.98


def test_paired_identical_scores() -> None:
    labels, scores = binormal(20, 30, 0.7, 0)
    same = auroc_of_draws(labels, scores), auroc_of_draws(labels, 3 * scores + 1)
    assert paired_interval(labels, *same) == (0.0, 0.0)


def test_paired_is_narrower_than_unpaired() -> None:
    labels, scores = binormal(100, 100, 1.0, 1)
    near = scores + np.random.default_rng(2).normal(0, 0.05, len(scores))
    low, high = bootstrap_interval(labels, auroc_of_draws(labels, scores))
    paired_low, paired_high = paired_interval(labels, auroc_of_draws(labels, near), auroc_of_draws(labels, scores))
    assert (paired_high - paired_low) < 0.2 * (high - low)


def test_repeats_and_depends_on_the_seed() -> None:
    labels, scores = binormal(20, 30, 0.7, 0)
    statistic = auroc_of_draws(labels, scores)
    assert bootstrap_interval(labels, statistic, seed=1) == bootstrap_interval(labels, statistic, seed=1)
    assert bootstrap_interval(labels, statistic, seed=1) != bootstrap_interval(labels, statistic, seed=2)


def test_a_large_cohort_is_drawn_in_blocks_with_the_same_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, scores = binormal(20, 30, 0.7, 0)
    whole = bootstrap_interval(labels, auroc_of_draws(labels, scores), draws=100)
    monkeypatch.setattr("mmcaf_engine.evaluation.intervals._BLOCK", 7 * len(labels))
    assert bootstrap_interval(labels, auroc_of_draws(labels, scores), draws=100) == whole


@pytest.mark.parametrize(
    ("labels", "draws"), [([], 10), ([0, -1], 10), ([0, 1], 0)], ids=["no studies", "label -1", "no draws"]
)
def test_wrong_input(labels: list[int], draws: int) -> None:
    with refused(UsageError, "bootstrap", draws):
        bootstrap_interval(labels, lambda counts: counts.sum(axis=1).astype(float), draws=draws)


def test_a_draw_in_which_nothing_is_defined_is_left_out() -> None:
    labels = np.zeros(40, np.int64)

    def first_drawn_once(counts: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.where(counts[:, 0] > 0, counts[:, 0].astype(np.float64), np.nan)

    low, high = bootstrap_interval(labels, first_drawn_once, draws=200)
    assert low == 1 and 2 <= high <= 5
