"""How well a network tells what its output decision asks about the studies of a cohort."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..bundle.accuracy import DecisionTable, Estimate, LabelTable, MacroTable, Performance
from ..machine.plugins import attributing_errors
from ..result.decisions import Decision, Label
from ..result.decisions.questions import Question, Questions
from .intervals import bootstrap_interval
from .metrics import Statistic, auroc, auroc_of_draws, decision_table, mean_auroc_of_draws, mean_of_tables, told_apart

Labels = Sequence[Label]

_RATIOS = ("f1", "specificity", "sensitivity", "ppv", "npv")


@dataclass(frozen=True)
class Area:
    """AUROC of the labelled studies: its value, it as a function of draws, and which studies are drawn apart, [S]."""

    value: float
    of_draws: Statistic
    strata: NDArray[np.int64]


def performance(labels: Labels, probabilities: NDArray[np.float64], decision: Decision) -> Performance:
    """AUROC with its interval, and the decisions, over the studies whose label is known.

    Args:
        probabilities: as `Decision.arrays` gives them.
    """
    asked = questions_of(labels, probabilities, decision)
    if asked is None or not asked.each:
        return Performance(auroc=None, decisions=None)
    area, estimate = _area(asked), None
    if area is not None:
        low, high = bootstrap_interval(area.strata, area.of_draws)
        estimate = Estimate(value=area.value, low=low, high=high)
    if decision.one_question:
        return Performance(auroc=estimate, decisions=_table(asked.each[0]))
    tables = tuple(_label_table(question, decision.alone) for question in asked.each)
    return Performance(auroc=estimate, decisions=_macro_table(asked, tables), per_label=tables)


def area_of(labels: Labels, probabilities: NDArray[np.float64], decision: Decision) -> Area | None:
    """AUROC over the studies whose label is known, of several questions its mean; None where it is not defined."""
    asked = questions_of(labels, probabilities, decision)
    return None if asked is None else _area(asked)


def questions_of(labels: Labels, probabilities: NDArray[np.float64], decision: Decision) -> Questions | None:
    """What is asked about the studies whose label is known; None where no label is."""
    chosen = [at for at, label in enumerate(labels) if label is not None]
    if not chosen:
        return None
    asked = decision.questions([labels[at] for at in chosen], probabilities[chosen])
    with attributing_errors(type(decision), "in questions"):
        arrays = [array for one in asked.each for array in (one.truth, one.score, one.said)]
        arrays += [asked.strata] if asked.right is None else [asked.strata, asked.right]
        if any(array.shape != (len(chosen),) for array in arrays):
            raise ValueError(f"expected arrays of {len(chosen)} studies, got {sorted({*map(np.shape, arrays)})}")
    return asked


def why_no_auroc(labels: Labels, decision: Decision, without_labels: str) -> str:
    """In words why AUROC is not defined; without_labels: why it is not where no label is known."""
    known = [label for label in labels if label is not None]
    return f"AUROC was not measured: {decision.without_auroc(known) if known else without_labels}."


def _area(asked: Questions) -> Area | None:
    truth = np.array([question.truth for question in asked.each]).T
    if not asked.each or not told_apart(truth):
        return None
    of_draws = mean_auroc_of_draws(truth, np.array([question.score for question in asked.each]).T)
    return Area(float(of_draws(np.ones((1, len(truth)), np.int64))[0]), of_draws, asked.strata)


def _table(question: Question) -> DecisionTable:
    return decision_table(question.truth, question.said.astype(np.float64), 0.5)


def _label_table(question: Question, alone: bool) -> LabelTable:
    area, interval = auroc(question.truth, question.score), None
    if alone and area is not None:
        low, high = bootstrap_interval(question.truth, auroc_of_draws(question.truth, question.score))
        interval = Estimate(value=area, low=low, high=high)
    return LabelTable(
        **_table(question).model_dump(),
        label=question.label,
        studies=int(question.truth.sum()),
        auroc=area,
        interval=interval,
        threshold=question.threshold,
    )


def _macro_table(asked: Questions, tables: tuple[LabelTable, ...]) -> MacroTable:
    """Accuracy, and the means of the other ratios over the questions to which any study's answer is yes."""
    occurring = [table for table in tables if table.studies]
    right = asked.right
    accuracy = mean_of_tables(tables, "accuracy") if right is None else int(right.sum()) / len(right)
    return MacroTable(accuracy=accuracy, **{name: mean_of_tables(occurring, name) for name in _RATIOS})
