"""Runs a cohort at several precisions and compares each with FP32."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..bundle.accuracy import Accuracy, CohortSummary, Estimate, Flips, PrecisionAccuracy, Reference, Runtime
from ..cancel import Progress
from ..errors import RecordError, StudyError, UsageError
from ..machine.plugins import attributing_errors
from ..manifest import AccuracyBound, Precision
from ..record.tokenizer import open_tokenizer
from ..result.aggregate import StudyScore
from ..result.decisions import Decision, Label, decision_for
from ..session.run import run_windows
from ..session.session import Session
from .cases import Case, Cohort
from .intervals import paired_interval
from .performance import Labels, area_of, performance, why_no_auroc


@dataclass(frozen=True)
class StudyScores:
    """A session's score of every study, float64 [S] or [S, K], as `Decision.arrays` gives them."""

    runtime: Runtime
    probabilities: NDArray[np.float64]
    logits: NDArray[np.float64]


@dataclass(frozen=True)
class Remark:
    """What is to be said of one case."""

    id: str
    text: str


@dataclass(frozen=True)
class CohortScores:
    """The S studies that were answered, and what each session said of them.

    labels: as the cases have them; length S. scores: by precision. others: of the further sessions, in order.
    refused: cases that no session was asked, with the reason. warnings: remarks on cases that were answered.
    """

    ids: tuple[str, ...]
    labels: tuple[Label, ...]
    scores: dict[Precision, StudyScores]
    refused: tuple[Remark, ...]
    warnings: tuple[Remark, ...]
    others: tuple[StudyScores, ...] = ()


def evaluate(
    cohort: Cohort,
    sessions: Mapping[Precision, Session],
    *,
    others: Sequence[Session] = (),
    progress: Progress | None = None,
) -> tuple[Accuracy, CohortScores]:
    """Run a cohort and compare every precision with FP32, by the manifest's threshold and bounds.

    Args:
        sessions: of one network, by precision; fp32 must be among them.
        others: further sessions of it, which are only scored.

    Raises:
        UsageError: no fp32 session.
        StudyError: every case was refused.
        BackendError: a session failed or gave a number that is not finite.
        BundleError: nothing here provides the manifest's output decision.
    """
    if "fp32" not in sessions:
        raise UsageError("No FP32 session to compare with.", 'Open one: open_session(bundle, precision="fp32")')
    manifest = sessions["fp32"].bundle.manifest
    outcome = score_cohort(cohort, sessions, others=others, progress=progress)
    if not outcome.ids:
        raise StudyError(
            f"{cohort.source}: {len(cohort)} of {len(cohort)} studies refused. The first, {outcome.refused[0].id}: "
            f"{outcome.refused[0].text}",
            "Answer one of them alone.",
        )
    reference = outcome.scores["fp32"]
    decision = decision_for(manifest)
    with attributing_errors(type(decision), "while judging a cohort"):
        accuracy = Accuracy(
            cohort=_summary(cohort, outcome, decision),
            threshold=decision.threshold,
            thresholds=decision.thresholds,
            reference=Reference(
                **reference.runtime.model_dump(),
                performance=performance(outcome.labels, reference.probabilities, decision),
            ),
            precisions={
                precision: agreement(
                    reference,
                    scores,
                    outcome.labels,
                    decision,
                    manifest.accuracy_bound(precision),
                    without_labels=cohort.without_labels,
                )
                for precision, scores in outcome.scores.items()
                if precision != "fp32"
            },
        )
    return accuracy, outcome


def score_cohort(
    cases: Iterable[Case],
    sessions: Mapping[Precision, Session],
    *,
    others: Sequence[Session] = (),
    progress: Progress | None = None,
) -> CohortScores:
    """Load every case once and run it on each session in turn; one study is in memory at a time.

    A case that is refused as study or record is left out for all sessions; any other error ends the run.

    Raises:
        UsageError: no session.
        BackendError: a session failed or gave a number that is not finite.
        BundleError: nothing here provides the manifest's output decision.
    """
    if not sessions:
        raise UsageError("No session to score a cohort with.")
    cases = tuple(cases)
    bundle = next(iter(sessions.values())).bundle
    manifest, tokenizer = bundle.manifest, open_tokenizer(bundle)
    decision = decision_for(manifest)
    ids: list[str] = []
    labels: list[Label] = []
    refused: list[Remark] = []
    warnings: list[Remark] = []
    every = [*sessions.values(), *others]
    found: list[list[StudyScore]] = [[] for _ in every]
    for done, case in enumerate(cases, start=1):
        try:
            prepared = case.load(manifest, tokenizer)
        except (StudyError, RecordError) as failure:
            refused.append(Remark(case.id, str(failure)))
        else:
            ids.append(case.id)
            labels.append(case.label)
            warnings += [Remark(case.id, text) for text in (*prepared.study_warnings, *prepared.record_warnings)]
            for session, answers in zip(every, found, strict=True):
                outputs = run_windows(session, prepared)
                answers.append(decision.aggregate(prepared.starts, outputs[manifest.score.name]))
            del prepared  # before the next one is loaded
        if progress is not None:
            progress("studies", done, len(cases))
    scores = [_scores(session, decision, answers) for session, answers in zip(every, found, strict=True)]
    return CohortScores(
        tuple(ids),
        tuple(labels),
        dict(zip(sessions, scores, strict=False)),
        tuple(refused),
        tuple(warnings),
        tuple(scores[len(sessions) :]),
    )


def _scores(session: Session, decision: Decision, answers: list[StudyScore]) -> StudyScores:
    facts = session.describe()
    runtime = Runtime(backend=facts["backend"], version=facts["version"], device=facts["device"])
    return StudyScores(runtime, *_arrays(decision, answers))


def _arrays(decision: Decision, scores: list[StudyScore]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    probabilities, logits = decision.arrays(scores)
    with attributing_errors(type(decision), "in arrays"):
        if not len(probabilities) == len(logits) == len(scores):
            raise ValueError(f"expected {len(scores)} studies, got {len(probabilities)} and {len(logits)}")
    return probabilities, logits


def _summary(cohort: Cohort, outcome: CohortScores, decision: Decision) -> CohortSummary:
    known = [label for label in outcome.labels if label is not None]
    per_label = decision.counted(known)
    return CohortSummary(
        source=cohort.source,
        studies=len(outcome.ids),
        refused=len(outcome.refused),
        labelled=len(known),
        positives=per_label[1] if decision.one_question else None,
        per_label=None if decision.one_question else per_label,
    )


def agreement(
    reference: StudyScores,
    other: StudyScores,
    labels: Labels,
    decision: Decision,
    bound: AccuracyBound,
    *,
    without_labels: str = "the cohort has no labels",
) -> PrecisionAccuracy:
    """Compare a precision's scores with FP32's, study by study, and judge them by a bound.

    A study's difference of several labels is that of the label where it is largest. AUROC and its bound count only
    where studies of two labels exist; `auroc_note` says so where they do not, and `without_labels` where no label is
    known.

    Raises:
        UsageError: no studies, or unequal numbers of them.
    """
    counts = (len(reference.probabilities), len(other.probabilities), len(labels))
    if len(set(counts)) != 1 or not counts[0]:
        raise UsageError(f"Scores of {counts[0]} and {counts[1]} studies with {counts[2]} labels cannot be compared.")
    difference = np.abs(other.probabilities - reference.probabilities)
    difference = difference.max(axis=1) if difference.ndim > 1 else difference
    flips = decision.flips(reference.probabilities, other.probabilities)
    auroc_difference = _auroc_difference(reference, other, labels, decision)
    largest = float(difference.max())
    reasons = _excesses(largest, flips, auroc_difference, bound)
    return PrecisionAccuracy(
        runtime=other.runtime,
        max_probability_difference=largest,
        mean_probability_difference=float(difference.mean()),
        max_logit_difference=float(np.abs(other.logits - reference.logits).max()),
        flips=flips,
        performance=performance(labels, other.probabilities, decision),
        auroc_difference=auroc_difference,
        auroc_note=None if auroc_difference else why_no_auroc(labels, decision, without_labels),
        bound=bound,
        passed=not reasons,
        reasons=reasons,
    )


def _auroc_difference(
    reference: StudyScores, other: StudyScores, labels: Labels, decision: Decision
) -> Estimate | None:
    mine, theirs = area_of(labels, other.probabilities, decision), area_of(labels, reference.probabilities, decision)
    if mine is None or theirs is None:
        return None
    low, high = paired_interval(mine.strata, mine.of_draws, theirs.of_draws)
    return Estimate(value=mine.value - theirs.value, low=low, high=high)


def _excesses(largest: float, flips: Flips, auroc_difference: Estimate | None, bound: AccuracyBound) -> tuple[str, ...]:
    """What exceeds the bound, in words."""
    reasons = []
    if largest > bound.probability_difference:
        reasons.append(f"a probability differs by {largest:.4f}; at most {bound.probability_difference:g} is allowed")
    if flips.fraction > bound.flips:
        reasons.append(f"{flips.count} label(s) change, {flips.fraction:.2%} of the studies; at most {bound.flips:.2%}")
    if auroc_difference is not None and -auroc_difference.value > bound.auroc_loss:
        reasons.append(f"AUROC falls by {-auroc_difference.value:.4f}; at most {bound.auroc_loss:g}")
    return tuple(reasons)
