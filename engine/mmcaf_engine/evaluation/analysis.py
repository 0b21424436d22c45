"""What a physicist asks of an evaluation beyond one figure: intervals, calibration, operating points, comparisons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..result.decisions import Decision
from .compare import CohortScores
from .intervals import bootstrap_interval
from .metrics import auroc_of_draws
from .performance import Labels, questions_of
from .statistics.calibration import Calibration, calibration
from .statistics.delong import Comparison, auroc_interval, compare_paired, too_few
from .statistics.intervals import Figure
from .statistics.mcnemar import McNemar, mcnemar
from .statistics.net_benefit import Benefit, decision_curve
from .statistics.operating import OperatingPoint, decisions, threshold_by


@dataclass(frozen=True)
class Areas:
    """AUROC with its intervals by two ways; each without one, and a note, where studies are too few to tell."""

    delong: Figure
    bootstrap: Figure


@dataclass(frozen=True)
class ChosenPoint:
    """Decisions at a threshold that a rule chose, on this cohort or on another one, named by `chosen_on`."""

    rule: str
    chosen_on: str
    point: OperatingPoint


@dataclass(frozen=True)
class QuestionAnalysis:
    """One question by yes or no, such as whether a label holds, over the studies whose label is known.

    decided: by the bundle's own rule; its threshold is None where the answer follows from the largest score.
    calibration, decision_curve: of the probability; None and none where the score is no probability.
    """

    label: int
    name: str
    studies: int
    positives: int
    auroc: Areas
    decided: OperatingPoint
    calibration: Calibration | None
    decision_curve: tuple[Benefit, ...]
    operating_points: tuple[ChosenPoint, ...] = ()


@dataclass(frozen=True)
class QuestionComparison:
    """Two sets of answers to the same studies: AUROC by DeLong's test, decisions by McNemar's."""

    label: int
    name: str
    studies: int
    auroc: Comparison
    decisions: McNemar


@dataclass(frozen=True)
class WrongAnswer:
    """A study that is decided otherwise than it is: holds says whether the label holds, score what the network gave."""

    id: str
    label: int
    name: str
    holds: bool
    score: float


@dataclass(frozen=True)
class Chosen:
    """Thresholds by a rule: label -> threshold, where the studies of `source` tell one."""

    rule: str
    source: str
    thresholds: Mapping[int, float]


def analyse(
    labels: Labels, probabilities: NDArray[np.float64], decision: Decision, chosen: Sequence[Chosen] = ()
) -> tuple[QuestionAnalysis, ...]:
    """Every question about the labelled studies; none where no label is known.

    Args:
        labels, probabilities: of S studies, as `CohortScores` and `StudyScores` have them.
        chosen: further operating points to try.
    """
    asked = questions_of(labels, probabilities, decision)
    if asked is None:
        return ()
    found = []
    for question in asked.each:
        probable = bool(((question.score >= 0) & (question.score <= 1)).all())
        found.append(
            QuestionAnalysis(
                label=question.label,
                name=decision.question_title(question.label),
                studies=len(question.truth),
                positives=int(question.truth.sum()),
                auroc=_areas(question.truth, question.score),
                decided=decisions(question.truth, question.said, question.threshold),
                calibration=calibration(question.truth, question.score) if probable else None,
                decision_curve=decision_curve(question.truth, question.score) if probable else (),
                operating_points=tuple(
                    ChosenPoint(one.rule, one.source, decisions(question.truth, question.score >= at, at))
                    for one in chosen
                    if (at := one.thresholds.get(question.label)) is not None
                ),
            )
        )
    return tuple(found)


def choose(rule: str, labels: Labels, probabilities: NDArray[np.float64], decision: Decision, source: str) -> Chosen:
    """The thresholds that a rule chooses on a cohort, one for each question whose studies are of both labels.

    Args:
        rule: as `statistics.operating.threshold_by`. source: what reports call the cohort.

    Raises:
        UsageError: no such rule.
    """
    asked = questions_of(labels, probabilities, decision)
    each = () if asked is None else asked.each
    found = {one.label: threshold_by(rule, one.truth, one.score) for one in each}
    return Chosen(rule, source, {label: at for label, at in found.items() if at is not None})


def compare(
    labels: Labels,
    probabilities: NDArray[np.float64],
    reference: NDArray[np.float64],
    decision: Decision,
    reference_decision: Decision | None = None,
) -> tuple[QuestionComparison, ...]:
    """Two sets of probabilities of the same studies, question by question; none where no label is known.

    Args:
        reference_decision: what the second ones mean, where they are another network's: with thresholds of its own.
    """
    mine = questions_of(labels, probabilities, decision)
    theirs = questions_of(labels, reference, reference_decision or decision)
    if mine is None or theirs is None:
        return ()
    others = {one.label: one for one in theirs.each}
    return tuple(
        QuestionComparison(
            label=own.label,
            name=decision.question_title(own.label),
            studies=len(own.truth),
            auroc=compare_paired(own.truth, own.score, others[own.label].score),
            decisions=mcnemar(own.said == own.truth, others[own.label].said == own.truth),
        )
        for own in mine.each
        if own.label in others
    )


def wrong_answers(outcome: CohortScores, decision: Decision) -> tuple[WrongAnswer, ...]:
    """Every question that FP32 answers wrongly about a labelled study, the farthest from right first."""
    asked = questions_of(outcome.labels, outcome.scores["fp32"].probabilities, decision)
    ids = [name for name, label in zip(outcome.ids, outcome.labels, strict=True) if label is not None]
    found = []
    for question in () if asked is None else asked.each:
        for at in np.flatnonzero(question.said != question.truth):
            score, truth = float(question.score[at]), bool(question.truth[at])
            found.append(WrongAnswer(ids[at], question.label, decision.question_title(question.label), truth, score))
    return tuple(sorted(found, key=lambda one: one.score if one.holds else 1 - one.score))


def _areas(truth: NDArray[np.int64], scores: NDArray[np.float64]) -> Areas:
    found = auroc_interval(truth, scores)
    if found.low is None:
        return Areas(found, found)
    low, high = bootstrap_interval(truth, auroc_of_draws(truth, scores))
    return Areas(found, Figure(found.value, low, high) if low < high else Figure(found.value, note=too_few(truth)))
