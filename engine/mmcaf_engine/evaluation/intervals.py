"""Bootstrap intervals over studies (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13).

Studies are drawn with replacement, each label apart, so that every draw has the cohort's number of
each. All randomness comes from one seed: the same cohort gives the same interval.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import UsageError
from .metrics import Statistic

DRAWS = 4000
PERCENTILES = (2.5, 97.5)
"""Ends of the 95 % interval."""

_BLOCK = 1 << 20
"""Counts held at once; bounds the memory on a large cohort."""


def bootstrap_interval(
    labels: ArrayLike, statistic: Statistic, *, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float]:
    """The 95 % percentile interval of a statistic.

    Args:
        labels: whole numbers from 0, [S].
        statistic: from counts of the studies, [B, S], to its values, [B]; see `metrics.auroc_of_draws`. A draw for
            which it is NaN is left out.

    Raises:
        UsageError: no studies, a label that is no whole number from 0, or no draws.
    """
    values = np.concatenate([statistic(counts) for counts in _draws(np.asarray(labels), draws, seed)])
    low, high = np.nanpercentile(values, PERCENTILES)
    return float(low), float(high)


def paired_interval(
    labels: ArrayLike, statistic: Statistic, reference: Statistic, *, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float]:
    """The interval of `statistic` minus `reference` on the same draws of the same studies."""
    return bootstrap_interval(labels, lambda counts: statistic(counts) - reference(counts), draws=draws, seed=seed)


def _draws(labels: NDArray[np.int64], draws: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Blocks of draws as counts of every study, int64 [B, S]."""
    whole = labels.ndim == 1 and len(labels) and labels.dtype.kind in "iu" and labels.min() >= 0
    if not whole or draws < 1:
        raise UsageError(f"{draws} bootstrap draws of labels {list(labels.shape)}; [S] of labels from 0 is expected.")
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // len(labels))
    for first in range(0, draws, block):
        counts = np.empty((min(block, draws - first), len(labels)), np.int64)
        for row in counts:
            drawn = np.concatenate([rng.choice(group, len(group)) for group in groups])
            row[:] = np.bincount(drawn, minlength=len(labels))
        yield counts
