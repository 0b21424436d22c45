"""How well a network tells its labels, by whichever rule its answer is said."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..bundle.accuracy import Estimate, Performance
from ..manifest import Manifest
from . import independent
from .cases import Label
from .intervals import bootstrap_interval
from .metrics import (
    Statistic,
    auroc_of_draws,
    both_labels,
    decision_table,
    label_tables,
    macro_auroc_of_draws,
    macro_table,
    occurring,
)

Labels = Sequence[Label]

Rule = float | tuple[float, ...] | None
"""How labels follow from probabilities: the threshold of label 1 of two; of independent labels, each one's threshold;
None where the most probable of several is said."""


@dataclass(frozen=True)
class Area:
    """AUROC of the labelled studies: its value, it as a function of draws, and which studies are drawn apart, [S]."""

    value: float
    of_draws: Statistic
    strata: NDArray[np.int64]


def rule_of(manifest: Manifest) -> Rule:
    """The manifest's rule."""
    return manifest.thresholds if manifest.activation == "independent" else manifest.threshold


def decided(probabilities: NDArray[np.float64], rule: Rule) -> NDArray[np.int64]:
    """What is said of each study: its label, [S]; of independent labels, 1 where each is present, [S, K].

    Args:
        probabilities: [S] of label 1 where two labels are told apart by a threshold, else [S, K].
    """
    said: NDArray[np.int64]
    if rule is None:
        said = probabilities.argmax(axis=1).astype(np.int64)
    else:
        said = (probabilities >= np.asarray(rule)).astype(np.int64)
    return said


def performance(labels: Labels, probabilities: NDArray[np.float64], rule: Rule) -> Performance:
    """AUROC with its interval, and the decisions, over the studies whose label is known; scores as for `decided`."""
    known, chosen = labelled(labels)
    scores = probabilities[chosen]
    if not len(chosen):
        return Performance(auroc=None, decisions=None)
    found = area_of(labels, probabilities, rule)
    estimate = None
    if found is not None:
        low, high = bootstrap_interval(found.strata, found.of_draws)
        estimate = Estimate(value=found.value, low=low, high=high)
    if isinstance(rule, float):
        return Performance(auroc=estimate, decisions=decision_table(known, scores, rule))
    if rule is None:
        tables = label_tables(known, scores)
        return Performance(auroc=estimate, decisions=macro_table(known, scores, tables), per_label=tables)
    tables = independent.label_tables(_truth(labels, rule), scores, rule)
    return Performance(auroc=estimate, decisions=independent.macro_table(tables), per_label=tables)


def area_of(labels: Labels, probabilities: NDArray[np.float64], rule: Rule) -> Area | None:
    """AUROC over the studies whose label is known; None where it is not defined.

    Studies are drawn each label apart; of independent labels, which overlap, all together.
    """
    known, chosen = labelled(labels)
    scores = probabilities[chosen]
    if isinstance(rule, float):
        if not both_labels(known):
            return None
        of_draws = auroc_of_draws(known, scores)
    elif rule is None:
        if not occurring(known):
            return None
        of_draws = macro_auroc_of_draws(known, scores)
    else:
        present = _truth(labels, rule)
        if not independent.told_apart(present):
            return None
        of_draws = independent.mean_auroc_of_draws(present, scores)
        known = np.zeros(len(present), np.int64)
    return Area(float(of_draws(np.ones((1, len(chosen)), np.int64))[0]), of_draws, known)


def labelled(labels: Labels) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The known labels, none where they are independent; and the positions of the studies with a known label."""
    chosen = np.array([at for at, label in enumerate(labels) if label is not None], np.int64)
    return np.array([label for label in labels if isinstance(label, int)], np.int64), chosen


def why_no_auroc(labels: Labels, rule: Rule) -> str:
    """In words why AUROC is not defined."""
    known, chosen = labelled(labels)
    if not len(chosen):
        return "AUROC was not measured: the cohort has no labels."
    if isinstance(rule, tuple):
        return f"AUROC was not measured: each label is in all or none of the {len(chosen)} labelled studies."
    return f"AUROC was not measured: all {len(known)} labelled studies are of label {known[0]}."


def _truth(labels: Labels, rule: tuple[float, ...]) -> independent.Truth:
    return independent.truth([label for label in labels if isinstance(label, tuple)], len(rule))
