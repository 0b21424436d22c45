"""Where to draw the line: thresholds by a rule, and what decisions at a threshold come to."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError
from .delong import Labels, Scores
from .intervals import Proportion, wilson

YOUDEN = "youden"


@dataclass(frozen=True)
class OperatingPoint:
    """What decisions come to, each ratio with Wilson's interval.

    threshold: yes is said from it on; None where the answer follows from none.
    """

    threshold: float | None
    accuracy: Proportion
    sensitivity: Proportion
    specificity: Proportion
    ppv: Proportion
    npv: Proportion


def decisions(truth: Labels, said: NDArray[np.bool_], threshold: float | None) -> OperatingPoint:
    """What these decisions, [S] of bool, come to.

    Args:
        truth: 1 for yes and 0 for no, [S].
    """
    yes, so = said, truth == 1
    tp, fp, tn, fn = (int(one.sum()) for one in (yes & so, yes & ~so, ~yes & ~so, ~yes & so))
    return OperatingPoint(
        threshold=threshold,
        accuracy=wilson(tp + tn, len(truth)),
        sensitivity=wilson(tp, tp + fn),
        specificity=wilson(tn, tn + fp),
        ppv=wilson(tp, tp + fp),
        npv=wilson(tn, tn + fn),
    )


def threshold_by(rule: str, truth: Labels, scores: Scores) -> float | None:
    """The threshold that a rule chooses; None without studies of both labels.

    "youden" is the largest sum of sensitivity and specificity (Youden, Cancer 3, 1950, 32-35); "sensitivity=0.95" the
    highest threshold that keeps at least that sensitivity, "specificity=0.9" the lowest that keeps at least that
    specificity. Of equal ones, Youden's is the higher. It lies in the middle between two scores that occur, so that
    rounding does not decide.

    Args:
        truth: 1 for yes and 0 for no, [S]. scores: probabilities of yes, [S].

    Raises:
        UsageError: no such rule.
    """
    name, share = _parsed(rule)
    values = np.unique(scores)
    positives = np.sort(scores[truth == 1])
    negatives = np.sort(scores[truth == 0])
    if not len(positives) or not len(negatives):
        return None
    lowest = values[0] / 2 if values[0] > 0 else np.nextafter(values[0], -np.inf)
    highest = (1 + values[-1]) / 2 if values[-1] < 1 else np.nextafter(values[-1], np.inf)
    candidates = np.concatenate([[lowest], (values[1:] + values[:-1]) / 2, [highest]])
    sensitivity = 1 - np.searchsorted(positives, candidates, side="left") / len(positives)
    specificity = np.searchsorted(negatives, candidates, side="left") / len(negatives)
    if name == YOUDEN:
        index = sensitivity + specificity
        return float(candidates[np.flatnonzero(index >= index.max() - 1e-12)[-1]])
    if name == "sensitivity":
        return float(candidates[np.flatnonzero(sensitivity >= share - 1e-12)[-1]])
    return float(candidates[np.flatnonzero(specificity >= share - 1e-12)[0]])


def check_rule(rule: str) -> None:
    """Refuse a rule that there is not.

    Raises:
        UsageError: as `threshold_by`.
    """
    _parsed(rule)


def _parsed(rule: str) -> tuple[str, float]:
    name, _, given = rule.partition("=")
    if rule == YOUDEN:
        return name, 0.0
    try:
        share = float(given)
    except ValueError:
        share = -1.0
    if name not in ("sensitivity", "specificity") or not 0 < share <= 1:
        raise UsageError(
            f"Unknown rule for an operating point: {rule!r}.",
            "Choose youden, sensitivity=SHARE or specificity=SHARE, with a share above 0 and up to 1.",
        )
    return name, share
