"""How well independent labels are told: each present or absent by itself, at its own threshold.

A study has any number of labels. AUROC is each label's own; their plain mean over those that are present in some
studies and absent in others is the macro average.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..bundle.accuracy import Estimate, LabelTable, MacroTable
from .intervals import bootstrap_interval
from .metrics import Statistic, auroc, auroc_of_draws, both_labels, decision_table, mean_of_tables

Truth = NDArray[np.int64]
"""1 where a label is present in a study and 0 where it is absent, [S, K]."""


def truth(labels: Sequence[tuple[int, ...]], count: int) -> Truth:
    """From the positions of the labels that are present in each study, of `count` labels in all."""
    known = np.zeros((len(labels), count), np.int64)
    for study, present in enumerate(labels):
        known[study, list(present)] = 1
    return known


def told_apart(known: Truth) -> tuple[int, ...]:
    """The labels that are present in some studies and absent in others."""
    return tuple(label for label in range(known.shape[1]) if both_labels(known[:, label]))


def mean_auroc_of_draws(known: Truth, scores: NDArray[np.float64]) -> Statistic:
    """Macro average AUROC as a function of resampled studies; at least one label must be told apart.

    A label that all or none of a draw's studies have is left out of that draw's mean; a draw with no other is NaN.

    Args:
        scores: higher where a label is present, [S, K].
    """
    each = [auroc_of_draws(known[:, label], scores[:, label]) for label in told_apart(known)]

    def statistic(counts: NDArray[np.int64]) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore"):
            areas = np.array([one(counts) for one in each])
        defined = np.isfinite(areas)
        with np.errstate(invalid="ignore"):
            result: NDArray[np.float64] = np.where(defined, areas, 0.0).sum(axis=0) / defined.sum(axis=0)
        return result

    return statistic


def label_tables(known: Truth, scores: NDArray[np.float64], thresholds: ArrayLike) -> tuple[LabelTable, ...]:
    """Each label by itself: AUROC with its interval, and the decisions at its threshold."""
    tables = []
    for label, threshold in enumerate(np.asarray(thresholds, np.float64).tolist()):
        own, values = known[:, label], scores[:, label]
        area, interval = auroc(own, values), None
        if area is not None:
            low, high = bootstrap_interval(own, auroc_of_draws(own, values))
            interval = Estimate(value=area, low=low, high=high)
        decisions = decision_table(own, values, threshold).model_dump()
        tables.append(
            LabelTable(
                **decisions, label=label, studies=int(own.sum()), auroc=area, interval=interval, threshold=threshold
            )
        )
    return tuple(tables)


def macro_table(tables: tuple[LabelTable, ...]) -> MacroTable:
    """Accuracy over all labels, and the means of the occurring labels' other ratios."""
    return MacroTable(
        accuracy=mean_of_tables(tables, "accuracy"),
        **{
            name: mean_of_tables([table for table in tables if table.studies], name)
            for name in ("f1", "specificity", "sensitivity", "ppv", "npv")
        },
    )
