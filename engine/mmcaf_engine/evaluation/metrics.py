"""How well scores tell two labels apart: AUROC, ROC curve, and the table of decisions at a threshold.

AUROC is the Mann-Whitney rank statistic (Hanley and McNeil, Radiology 143, 1982, 29-36). What is not
defined, such as a ratio over nothing, is None; never 0 and never NaN. Of several questions, such as one label against
all others, the plain mean over the questions is taken (macro average).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..bundle.accuracy import DecisionTable, LabelTable
from ..errors import UsageError

Statistic = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""From how often each study was drawn, int64 [B, S], to the statistic of each of the B draws, float64 [B]."""


@dataclass(frozen=True)
class RocCurve:
    """One point per distinct score, float64 [P], from (0, 0) to (1, 1); label 1 is said from `thresholds` on."""

    false_positive_rate: NDArray[np.float64]
    sensitivity: NDArray[np.float64]
    thresholds: NDArray[np.float64]


def both_labels(labels: ArrayLike) -> bool:
    """Whether there are studies of either label, without which no ROC curve exists."""
    return set(np.unique(np.asarray(labels)).tolist()) == {0, 1}


def auroc(labels: ArrayLike, scores: ArrayLike) -> float | None:
    """Area under the ROC curve; ties count half.

    Args:
        labels: 0 or 1, [S].
        scores: higher for label 1, [S].

    Returns:
        None when only one label occurs.

    Raises:
        UsageError: lengths differ, a label is neither 0 nor 1, or a score is not finite.
    """
    known, values = _checked(labels, scores)
    if not both_labels(known):
        return None
    return float(auroc_of_draws(known, values)(np.ones((1, len(known)), np.int64))[0])


def auroc_of_draws(labels: ArrayLike, scores: ArrayLike) -> Statistic:
    """AUROC as a function of resampled studies; every draw must hold both labels. Arguments as for `auroc`."""
    known, values = _checked(labels, scores)
    order = np.argsort(values, kind="stable")
    ties = np.flatnonzero(np.diff(values[order], prepend=-np.inf) > 0)  # where each distinct score begins
    positive = known[order] == 1

    def statistic(counts: NDArray[np.int64]) -> NDArray[np.float64]:
        drawn = counts[:, order]
        positives = np.add.reduceat(drawn * positive, ties, axis=1)
        negatives = np.add.reduceat(drawn * ~positive, ties, axis=1)
        beaten = negatives.cumsum(axis=1) - 0.5 * negatives
        pairs = positives.sum(axis=1) * negatives.sum(axis=1)
        result: NDArray[np.float64] = (positives * beaten).sum(axis=1) / pairs
        return result

    return statistic


def roc_curve(labels: ArrayLike, scores: ArrayLike) -> RocCurve | None:
    """The ROC curve, or None when only one label occurs. Arguments and errors as for `auroc`."""
    known, values = _checked(labels, scores)
    if not both_labels(known):
        return None
    order = np.argsort(-values, kind="stable")
    falling = values[order]
    last_of_tie = np.flatnonzero(np.diff(falling, append=-np.inf) < 0)
    found = np.cumsum(known[order])[last_of_tie]
    false = last_of_tie + 1 - found
    return RocCurve(
        np.concatenate([[0.0], false / false[-1]]),
        np.concatenate([[0.0], found / found[-1]]),
        np.concatenate([[np.inf], falling[last_of_tie]]),
    )


def decision_table(labels: ArrayLike, scores: ArrayLike, threshold: float) -> DecisionTable:
    """Count and rate the decisions; label 1 is said from `threshold` on. Arguments and errors as for `auroc`."""
    known, values = _checked(labels, scores)
    said = values >= threshold
    tp, fp = int((said & (known == 1)).sum()), int((said & (known == 0)).sum())
    tn, fn = int((~said & (known == 0)).sum()), int((~said & (known == 1)).sum())
    return DecisionTable(
        true_positives=tp,
        false_positives=fp,
        true_negatives=tn,
        false_negatives=fn,
        accuracy=_ratio(tp + tn, len(known)),
        f1=_ratio(2 * tp, 2 * tp + fp + fn),
        specificity=_ratio(tn, tn + fp),
        sensitivity=_ratio(tp, tp + fn),
        ppv=_ratio(tp, tp + fp),
        npv=_ratio(tn, tn + fn),
    )


def told_apart(known: NDArray[np.int64]) -> tuple[int, ...]:
    """The questions, of [S, Q], that are answered by yes for some studies and by no for others."""
    return tuple(at for at in range(known.shape[1]) if both_labels(known[:, at]))


def mean_auroc_of_draws(known: NDArray[np.int64], scores: NDArray[np.float64]) -> Statistic:
    """Macro average AUROC as a function of resampled studies; at least one question must tell studies apart.

    A question that all of a draw's studies answer alike is left out of that draw's mean; a draw with no other is NaN.

    Args:
        known: 1 for yes and 0 for no, [S, Q].
        scores: higher for yes, [S, Q].
    """
    each = [auroc_of_draws(known[:, at], scores[:, at]) for at in told_apart(known)]

    def statistic(counts: NDArray[np.int64]) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore"):
            areas = np.array([one(counts) for one in each])
            defined = np.isfinite(areas)
            result: NDArray[np.float64] = np.where(defined, areas, 0.0).sum(axis=0) / defined.sum(axis=0)
        return result

    return statistic


def mean_of_tables(tables: Iterable[LabelTable], name: str) -> float | None:
    """Plain mean of a ratio over the labels for which it is defined; None if it is for none."""
    found = [value for table in tables if (value := getattr(table, name)) is not None]
    return sum(found) / len(found) if found else None


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _checked(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    known, values = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if known.ndim != 1 or known.shape != values.shape:
        raise UsageError(f"Labels of shape {list(known.shape)} and scores of {list(values.shape)}; [S] is expected.")
    if not np.isin(known, (0, 1)).all():
        raise UsageError("A label is neither 0 nor 1.", "Leave studies without a label out.")
    if not np.isfinite(values).all():
        raise UsageError(f"{int((~np.isfinite(values)).sum())} of {len(values)} scores are NaN or infinite.")
    return known.astype(np.int64), values
