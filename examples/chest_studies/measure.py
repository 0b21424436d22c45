"""AUROC on held-out studies with 95 % bootstrap intervals, with all inputs and with some of them left out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mmcaf_engine.evaluation.intervals import bootstrap_interval, paired_interval
from mmcaf_engine.evaluation.metrics import auroc, mean_auroc_of_draws

Scores = NDArray[np.float32]
"""Higher where a label is present, [N, K]."""


def macro_auroc(scores: Scores, present: NDArray[np.bool_]) -> float:
    """Plain mean over the labels, of scores [N, K]; each of them must be present in some studies and not in others."""
    return float(np.mean([auroc(there, values) or 0.0 for there, values in zip(present.T, scores.T, strict=True)]))


def compared(scores: Mapping[str, Scores], present: NDArray[np.bool_]) -> dict[str, dict[str, str]]:
    """Each set of inputs: its AUROC, and how far the first set's is above it on the same studies."""
    one, known = np.zeros(len(present), np.int64), present.astype(np.int64)
    statistics = {name: mean_auroc_of_draws(known, values) for name, values in scores.items()}
    areas = {name: macro_auroc(values, present) for name, values in scores.items()}
    first = next(iter(scores))
    found: dict[str, dict[str, str]] = {}
    for name, statistic in statistics.items():
        low, high = bootstrap_interval(one, statistic)
        found[name] = {"AUROC": f"{areas[name]:.3f} ({low:.3f} to {high:.3f})"}
        if name != first:
            low, high = paired_interval(one, statistics[first], statistic)
            found[name][f"{first} above it by"] = f"{areas[first] - areas[name]:+.3f} ({low:+.3f} to {high:+.3f})"
    return found
