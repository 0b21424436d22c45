"""Whether probabilities are as often right as they say."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .delong import Labels, Scores
from .intervals import Figure, Proportion, Z, wilson

BINS = 10
_STEPS = 50
_FARTHEST = 35.0
"""Logits beyond which a double holds no other probability than 0 or 1."""


@dataclass(frozen=True)
class Bin:
    """Studies of neighbouring probabilities: their mean, and how many are of label 1."""

    mean_probability: float
    observed: Proportion


@dataclass(frozen=True)
class Calibration:
    """How probabilities compare with what is so.

    brier: mean of the squared differences between probability and label. slope, intercept: of the logistic regression
    of the label on the logit: 1 and 0 where probabilities are as they should be (Cox, Biometrika 45, 1958, 562-565); a
    slope below 1 says that they are too extreme. bins: a reliability diagram, of about as many studies each.
    """

    brier: Figure
    slope: Figure
    intercept: Figure
    bins: tuple[Bin, ...]


def calibration(truth: Labels, probabilities: Scores) -> Calibration:
    """Judge probabilities by what is so.

    Args:
        truth: 1 for yes and 0 for no, [S]. probabilities: of yes, [S].
    """
    slope, intercept = _recalibration(truth, probabilities)
    return Calibration(_brier(truth, probabilities), slope, intercept, _bins(truth, probabilities))


def _brier(truth: Labels, probabilities: Scores) -> Figure:
    """Mean with its normal interval."""
    if not len(truth):
        return Figure(None, note="no studies")
    squares = (probabilities - truth) ** 2
    value = float(squares.mean())
    if len(truth) < 2:
        return Figure(value, note="too few studies for an interval: 1")
    half = Z * float(squares.std(ddof=1)) / len(truth) ** 0.5
    return Figure(value, max(0.0, value - half), min(1.0, value + half))


def _recalibration(truth: Labels, probabilities: Scores) -> tuple[Figure, Figure]:
    """Slope and intercept by Newton's method, with Wald intervals."""
    logits = logit(probabilities)
    if len(np.unique(truth)) < 2:
        return (Figure(None, note="studies of one label alone"),) * 2
    if np.ptp(logits) == 0:
        return (Figure(None, note="every study has the same probability"),) * 2
    if separated(truth, logits):
        return (Figure(None, note="a threshold separates the labels, so that no slope is steep enough"),) * 2
    design = np.column_stack([np.ones_like(logits), logits])
    weights = np.zeros(2)
    for _ in range(_STEPS):
        said = 1 / (1 + np.exp(-np.clip(design @ weights, -_FARTHEST, _FARTHEST)))
        information = design.T @ (design * (said * (1 - said))[:, np.newaxis])
        step = np.linalg.lstsq(information, design.T @ (truth - said), rcond=None)[0]
        weights = weights + step
        if np.abs(step).max() < 1e-12 * (1 + np.abs(weights).max()):
            break
    errors = Z * np.sqrt(np.diag(np.linalg.pinv(information)))
    intercept, slope = (
        Figure(float(weight), float(weight - half), float(weight + half))
        for weight, half in zip(weights, errors, strict=True)
    )
    return slope, intercept


def separated(truth: Labels, scores: NDArray[np.float64]) -> bool:
    """Whether all of one label lie at or above all of the other, of studies of both."""
    of_yes, of_no = scores[truth == 1], scores[truth == 0]
    return bool(of_yes.min() >= of_no.max() or of_no.min() >= of_yes.max())


def logit(probabilities: Scores) -> NDArray[np.float64]:
    """The logarithm of the odds, within what a double can tell from certainty."""
    with np.errstate(divide="ignore"):
        odds: NDArray[np.float64] = np.log(probabilities) - np.log1p(-probabilities)
    return np.clip(odds, -_FARTHEST, _FARTHEST)


def _bins(truth: Labels, probabilities: Scores) -> tuple[Bin, ...]:
    """At most BINS, of about as many studies; equal probabilities stay together."""
    order = np.argsort(probabilities, kind="stable")
    ordered, known = probabilities[order], truth[order]
    ends = {round(len(order) * at / BINS) for at in range(1, BINS)}
    cuts = sorted({int(np.searchsorted(ordered, ordered[end])) for end in ends if 0 < end < len(order)} - {0})
    groups = zip(np.split(ordered, cuts), np.split(known, cuts), strict=True)
    return tuple(Bin(float(own.mean()), wilson(int(labels.sum()), len(labels))) for own, labels in groups if len(own))
