"""AUROC with its variance, and two of the same studies compared.

DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988, 837-845: every study of label 1 is placed among those of
label 0, and the other way about; the variances of these placements are the variance of AUROC.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .intervals import Figure, Z

Labels = NDArray[np.int64]
Scores = NDArray[np.float64]

LEAST = 2
"""Studies of each label from which a variance can be told."""


@dataclass(frozen=True)
class Comparison:
    """AUROC of one set of scores minus that of another, of the same studies or of others.

    p: two-sided, of no difference; None where it cannot be told, and `difference.note` says why.
    """

    difference: Figure
    p: float | None


def auroc_interval(truth: Labels, scores: Scores) -> Figure:
    """AUROC with its normal interval, cut at 0 and 1.

    Args:
        truth: 1 for yes and 0 for no, [S]. scores: higher for yes, finite, [S].
    """
    placed = _placed(truth, scores[np.newaxis])
    if placed is None:
        return Figure(None, note=_one_label(truth))
    value, variance = float(placed.areas[0]), float(placed.covariance[0, 0])
    if not variance > 0:
        return Figure(value, note=too_few(truth))
    half = Z * math.sqrt(variance)
    return Figure(value, max(0.0, value - half), min(1.0, value + half))


def compare_paired(truth: Labels, scores: Scores, reference: Scores) -> Comparison:
    """Two sets of scores of the same studies, [S] each; arguments as for `auroc_interval`."""
    placed = _placed(truth, np.array([scores, reference]))
    if placed is None:
        return Comparison(Figure(None, note=_one_label(truth)), None)
    difference = float(placed.areas[0] - placed.areas[1])
    variance = float(placed.covariance[0, 0] + placed.covariance[1, 1] - 2 * placed.covariance[0, 1])
    alike = "both put the studies in the same order" if difference == 0 else too_few(truth)
    return _compared(difference, variance, alike)


def compare_unpaired(truth: Labels, scores: Scores, other_truth: Labels, other_scores: Scores) -> Comparison:
    """Scores of one cohort minus those of another one of other studies."""
    mine, theirs = _placed(truth, scores[np.newaxis]), _placed(other_truth, other_scores[np.newaxis])
    if mine is None or theirs is None:
        return Comparison(Figure(None, note=_one_label(truth if mine is None else other_truth)), None)
    difference = float(mine.areas[0] - theirs.areas[0])
    variance = float(mine.covariance[0, 0] + theirs.covariance[0, 0])
    return _compared(difference, variance, too_few(truth))


def _compared(difference: float, variance: float, otherwise: str) -> Comparison:
    if not variance > np.finfo(np.float64).eps:
        return Comparison(Figure(difference, note=otherwise), None)
    error = math.sqrt(variance)
    interval = Figure(difference, max(-1.0, difference - Z * error), min(1.0, difference + Z * error))
    return Comparison(interval, math.erfc(abs(difference) / error / math.sqrt(2)))


@dataclass(frozen=True)
class _Placed:
    """areas: AUROC of each set of scores, [K]. covariance: between them, [K, K]; NaN of a single study of a label."""

    areas: NDArray[np.float64]
    covariance: NDArray[np.float64]


def _placed(truth: Labels, scores: Scores) -> _Placed | None:
    """Of scores [K, S]; None without studies of both labels."""
    positive = truth == 1
    cases, controls = scores[:, positive], scores[:, ~positive]
    m, n = cases.shape[1], controls.shape[1]
    if not m or not n:
        return None
    of_cases, of_controls = np.empty((len(scores), m)), np.empty((len(scores), n))
    for at, (own, others) in enumerate(zip(cases, controls, strict=True)):
        of_cases[at] = _share_below(own, others)
        of_controls[at] = 1 - _share_below(others, own)
    areas: NDArray[np.float64] = of_cases.mean(axis=1)
    if m < LEAST or n < LEAST:
        return _Placed(areas, np.full((len(scores), len(scores)), np.nan))
    return _Placed(areas, np.atleast_2d(np.cov(of_cases)) / m + np.atleast_2d(np.cov(of_controls)) / n)


def _share_below(values: Scores, others: Scores) -> Scores:
    """Of each value, the share of the others that are below it; equal ones count half."""
    ordered = np.sort(others)
    below, up_to = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    result: Scores = (below + up_to) / (2 * len(others))
    return result


def too_few(truth: Labels) -> str:
    """In words, that no interval follows from these studies, as where every score of one label is above all others."""
    positives = int(truth.sum())
    return f"too few studies for an interval: {positives} with the label, {len(truth) - positives} without"


def _one_label(truth: Labels) -> str:
    if not len(truth):
        return "no studies"
    return f"all {len(truth)} studies are {'with' if truth[0] else 'without'} the label"
