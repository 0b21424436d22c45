"""Aggregation: the highest window or the mean, and never a probability from NaN."""

import numpy as np
import pytest

from mmcaf_engine.aggregate import aggregate, score_windows, sigmoid
from mmcaf_engine.errors import BackendError
from mmcaf_engine.manifest import AggregationSpec


def scores(*logits: float) -> tuple[tuple[int, ...], np.ndarray]:
    return tuple(range(0, 12 * len(logits), 12)), np.array(logits, dtype=np.float32)[:, None]


def test_max_takes_the_highest_window() -> None:
    windows = score_windows(*scores(-1.0, 2.0, 0.5))
    probability, logit = aggregate(windows, AggregationSpec(method="max"))
    assert logit == 2.0 and probability == pytest.approx(1 / (1 + np.exp(-2)))
    assert [window.start_slice for window in windows] == [0, 12, 24]


def test_mean_is_of_the_probabilities() -> None:
    windows = score_windows(*scores(-1.0, 1.0, 0.0))
    probability, logit = aggregate(windows, AggregationSpec(method="mean"))
    assert probability == pytest.approx(0.5) and logit == pytest.approx(0.0, abs=1e-12)


def test_windows_that_tell_apart_only_in_the_logit() -> None:
    _, logit = aggregate(score_windows(*scores(60.0, 80.0)), AggregationSpec(method="max"))
    assert logit == 80.0


@pytest.mark.parametrize("logit", [-1e4, -50.0, 0.0, 50.0, 1e4])
def test_sigmoid_does_not_overflow(logit: float) -> None:
    assert 0.0 <= sigmoid(logit) <= 1.0
    assert sigmoid(logit) + sigmoid(-logit) == pytest.approx(1.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_logit_is_an_error(bad: float) -> None:
    with pytest.raises(BackendError, match="window at slice 12 is"):
        score_windows(*scores(0.0, bad))
