"""Thresholds and columns that MedFusionNet's training fixes, against a search that tries everything."""

import logging
from itertools import pairwise

import numpy as np
import pytest
import torch

from mmcaf_export.networks.medfusionnet.metadata import MetadataSelection
from mmcaf_export.networks.medfusionnet.selection import BEST, Selection, fit, univariate_cuts

log = logging.getLogger(__name__)


def patients(count: int, columns: int, labels: int, seed: int, missing: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Columns of whole numbers, of flags and of many values, some telling of labels in either direction."""
    draw = np.random.default_rng(seed)
    table = draw.normal(0, 1, (count, columns))
    table[:, ::3] = np.rint(table[:, ::3] * 3)
    table[:, 1::3] = table[:, 1::3] > 0.8
    weights = draw.normal(0, 1.5, (columns, labels))
    present = table @ weights + draw.normal(0, 2, (count, labels)) > 0.5
    table[draw.random(table.shape) < missing] = np.nan
    return table, present.astype(int)


def youden(column: np.ndarray, present: np.ndarray, threshold: float, direction: float) -> float:
    """J by counting patients one by one."""
    hits = falls = positives = negatives = 0
    for value, there in zip(column, present, strict=True):
        crossed = value >= threshold if direction > 0 else value <= threshold
        positives, negatives = positives + int(there), negatives + int(not there)
        hits, falls = hits + int(crossed and there), falls + int(crossed and not there)
    return hits / positives - falls / negatives


def searched(table: np.ndarray, present: np.ndarray, best: int) -> dict[int, tuple[float, float, float, int, float]]:
    """Kept column -> fill, threshold, direction, label, score, by trying every cut on both sides."""
    columns, labels = table.shape[1], present.shape[1]
    found: dict[tuple[int, int], tuple[float, float, float]] = {}
    fills = []
    for column in range(columns):
        seen = sorted(value for value in table[:, column] if not np.isnan(value))
        middle = len(seen) // 2
        fills.append(seen[middle] if len(seen) % 2 else (seen[middle - 1] + seen[middle]) / 2)
        filled = np.where(np.isnan(table[:, column]), fills[-1], table[:, column])
        values = sorted(set(filled))
        for label in range(labels):
            found[column, label] = (0.0, values[0], 1.0)
            for lower, upper in pairwise(values):
                for direction in (1.0, -1.0):
                    score = youden(filled, present[:, label], (lower + upper) / 2, direction)
                    if score > found[column, label][0] + 1e-9:
                        found[column, label] = score, (lower + upper) / 2, direction
    kept = set()
    for label in range(labels):
        order = sorted(range(columns), key=lambda at: (-round(found[at, label][0], 9), at))
        kept |= set(order[:best])
    outcome = {}
    for column in sorted(kept):
        label = min(range(labels), key=lambda at: (-round(found[column, at][0], 9), at))
        score, threshold, direction = found[column, label]
        outcome[column] = fills[column], threshold, direction, label, score
    return outcome


@pytest.mark.parametrize(("count", "columns", "labels", "best"), [(37, 7, 3, 2), (60, 5, 4, 10), (24, 9, 1, 3)])
def test_as_a_search_that_tries_everything(count: int, columns: int, labels: int, best: int) -> None:
    table, present = patients(count, columns, labels, seed=count)
    expected = searched(table, present, best)
    found = fit(table, present, best)
    assert list(found.feature_index) == list(expected)
    if best >= columns:
        assert list(expected) == list(range(columns))
    else:
        assert best <= len(expected) < columns
    for at, (fill, threshold, direction, label, score) in enumerate(expected.values()):
        assert (found.fill_value[at], found.threshold[at], found.direction[at]) == (fill, threshold, direction)
        assert found.label[at] == label
        assert found.score[at] == pytest.approx(score, abs=1e-9)
    log.info("%d of %d columns, scores %s", len(expected), columns, found.score.round(2))
    assert {1.0, -1.0} == set(found.direction) or labels == 1


def test_mean_and_deviation_are_of_the_filled_columns() -> None:
    table, present = patients(41, 6, 2, seed=3, missing=0.3)
    found = fit(table, present)
    for at, column in enumerate(found.feature_index):
        filled = [found.fill_value[at] if np.isnan(value) else value for value in table[:, column]]
        mean = sum(filled) / len(filled)
        assert found.mean[at] == pytest.approx(mean)
        assert found.std[at] == pytest.approx((sum((value - mean) ** 2 for value in filled) / len(filled)) ** 0.5)


def test_a_clear_cut_is_found() -> None:
    age = np.array([20.0, 31, 42, 55, 61, 70, 83])
    present = np.stack([age > 50, age <= 42, np.arange(7) % 2 == 0], axis=1).astype(int)
    found = univariate_cuts(np.stack([age, np.ones(7)], axis=1), present.astype(bool))
    assert list(found.threshold[0, :2]) == [48.5, 48.5]
    assert list(found.direction[0, :2]) == [1, -1]
    assert list(found.score[0, :2]) == [1, 1]
    assert list(found.score[1]) == [0, 0, 0] and list(found.threshold[1]) == [1, 1, 1]


def test_the_order_of_patients_changes_nothing() -> None:
    table, present = patients(50, 8, 3, seed=5)
    order = np.random.default_rng(0).permutation(50)
    found, again = fit(table, present, 2), fit(table[order], present[order], 2)
    for name in Selection.__dataclass_fields__:
        np.testing.assert_allclose(getattr(found, name), getattr(again, name), rtol=1e-12)


def test_truth_values_are_ones_and_zeros() -> None:
    table, present = patients(20, 4, 2, seed=6)
    found, again = fit(table, present), fit(table.tolist(), present.astype(bool).tolist())
    assert np.array_equal(found.threshold, again.threshold) and np.array_equal(found.score, again.score)


def test_equal_columns_go_to_the_first() -> None:
    table, present = patients(30, 1, 1, seed=8, missing=0)
    found = fit(np.repeat(table, 4, axis=1), present, 1)
    assert list(found.feature_index) == [0]


def test_few_columns_are_all_kept() -> None:
    table, present = patients(80, 4, 14, seed=9)
    assert list(fit(table, present).feature_index) == [0, 1, 2, 3] and BEST == 10


def test_buffers_do_what_was_fitted() -> None:
    table, present = patients(45, 7, 3, seed=11)
    found = fit(table, present, 2)
    module = MetadataSelection(len(found.feature_index)).double()
    module.load_state_dict(found.buffers())
    made = module(torch.from_numpy(table)).numpy()
    filled = np.where(np.isnan(table), np.nanmedian(table, axis=0), table)[:, found.feature_index]
    values, crossed = np.split(made, 2, axis=1)
    np.testing.assert_allclose(values, (filled - found.mean) / found.std, atol=1e-5)
    for at in range(len(found.feature_index)):
        score = youden(filled[:, at], present[:, found.label[at]], found.threshold[at], found.direction[at])
        rates = (
            crossed[present[:, found.label[at]] == 1, at].mean() - crossed[present[:, found.label[at]] == 0, at].mean()
        )
        assert rates == pytest.approx(score) == pytest.approx(found.score[at])
    names = ["first", "second", "third"]
    assert found.label_names(names) == [names[at] for at in found.label]


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("columns", "labels", "message"),
    [
        ([[1.0], [2.0]], [[0], [1], [1]], r"columns are \[2, 1\] and labels \[3, 1\]"),
        ([1.0, 2.0], [[0], [1]], r"columns are \[2\]"),
        (np.empty((2, 0)), [[0], [1]], r"columns are \[2, 0\]"),
        ([[1.0], [2.0]], [[0], [2]], "other values than 0 and 1"),
        ([[1.0, 5.0], [2.0, INF]], [[0], [1]], "column 1 holds infinite values"),
        ([[1.0, NAN], [2.0, NAN]], [[0], [1]], "column 1 has no value at all"),
        ([[1.0], [2.0]], [[0, 1], [1, 1]], "label 1 is the same for all patients"),
    ],
    ids=["patients", "one axis", "no columns", "labels", "infinite", "missing", "same"],
)
def test_refused(columns: object, labels: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"selection: .*{message}"):
        fit(columns, labels)  # type: ignore[arg-type]


def test_keeping_none_is_refused() -> None:
    with pytest.raises(ValueError, match="each label is to keep 0 columns"):
        fit([[1.0], [2.0]], [[0], [1]], 0)
