"""What an evaluation of a bundle on a cohort has to say, as plain values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from ..bundle.accuracy import Accuracy
from ..bundle.bundle import Bundle
from ..machine.cpu import processor
from ..manifest import Precision
from ..result.assemble import SOFTWARE
from ..result.decisions import Decision, decision_for
from ..result.result import NOT_A_MEDICAL_DEVICE
from .analysis import (
    Chosen,
    QuestionAnalysis,
    QuestionComparison,
    WrongAnswer,
    analyse,
    compare,
    wrong_answers,
)
from .cases import Cohort
from .compare import CohortScores
from .subgroups import Subgroups

REPORT_VERSION = 1


@dataclass
class Evaluation:
    """All that the command has to say.

    cohort: its cases, whether or not they were refused. not_run: precision that the bundle holds -> why it was not run.
    fallbacks: precision -> why it ran on another backend. created: when it ended, UTC. options: how it was asked for.
    chosen: operating points to report beside the bundle's own. subgroups: of the studies, by columns of the cohort.
    against: FP32 of another bundle on the same studies. choosing: FP32 on the cohort that chose operating points.
    """

    bundle: Bundle
    cohort: Cohort
    accuracy: Accuracy
    outcome: CohortScores
    not_run: dict[Precision, str]
    fallbacks: dict[Precision, str]
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    options: Mapping[str, str] = field(default_factory=dict)
    chosen: tuple[Chosen, ...] = ()
    subgroups: tuple[Subgroups, ...] = ()
    against: "Evaluation | None" = None
    choosing: "Evaluation | None" = None

    @cached_property
    def decision(self) -> Decision:
        """What the network's scores mean."""
        return decision_for(self.bundle.manifest)

    @cached_property
    def analyses(self) -> dict[Precision, tuple[QuestionAnalysis, ...]]:
        """By precision, every question about the labelled studies."""
        scores = self.outcome.scores
        return {
            name: analyse(self.outcome.labels, one.probabilities, self.decision, self.chosen)
            for name, one in scores.items()
        }

    @cached_property
    def comparisons(self) -> dict[str, tuple[QuestionComparison, ...]]:
        """By precision, what it says beside FP32; and by "against", what FP32 says beside that of the other bundle."""
        labels, fp32 = self.outcome.labels, self.outcome.scores["fp32"].probabilities
        found: dict[str, tuple[QuestionComparison, ...]] = {
            name: compare(labels, one.probabilities, fp32, self.decision)
            for name, one in self.outcome.scores.items()
            if name != "fp32"
        }
        if self.against is not None:
            outcome = self.against.outcome
            places = {name: at for at, name in enumerate(outcome.ids)}
            both = [(at, places[name]) for at, name in enumerate(self.outcome.ids) if name in places]
            mine, theirs = [at for at, _ in both], [at for _, at in both]
            found["against"] = compare(
                [labels[at] for at in mine],
                fp32[mine],
                outcome.scores["fp32"].probabilities[theirs],
                self.decision,
                self.against.decision,
            )
        return found

    @cached_property
    def errors(self) -> tuple[WrongAnswer, ...]:
        """The labelled studies that FP32 decides otherwise than they are, the surest first."""
        return wrong_answers(self.outcome, self.decision)

    @property
    def disclaimer(self) -> str:
        """What the figures are no proof of."""
        return f"{self.bundle.manifest.intended_use} {NOT_A_MEDICAL_DEVICE}".strip()

    def to_dict(self) -> dict[str, Any]:
        """The report as plain dicts, lists and numbers."""
        manifest = self.bundle.manifest
        return {
            "schema_version": REPORT_VERSION,
            "created": self.created.isoformat(timespec="seconds"),
            "software": asdict(SOFTWARE),
            "machine": asdict(processor()),
            "options": dict(self.options),
            "cohort_sha256": self.cohort.sha256,
            "model": self.bundle.summary.to_dict(),
            "labels": list(manifest.labels),
            "accuracy": self.accuracy.model_dump(mode="json"),
            "analysis": {name: [asdict(one) for one in each] for name, each in self.analyses.items()},
            "comparisons": {name: [asdict(one) for one in each] for name, each in self.comparisons.items()},
            "against": None if self.against is None else self.against.in_brief(),
            "chosen_on": None if self.choosing is None else self.choosing.in_brief(),
            "subgroups": [asdict(one) for one in self.subgroups],
            "errors": [asdict(one) for one in self.errors],
            "not_run": self.not_run,
            "fallbacks": self.fallbacks,
            "refused": [asdict(remark) for remark in self.outcome.refused],
            "warnings": [asdict(remark) for remark in self.outcome.warnings],
            "disclaimer": self.disclaimer,
        }

    def in_brief(self) -> dict[str, Any]:
        """What the report of another evaluation says of this one."""
        return {
            "model": self.bundle.summary.to_dict(),
            "cohort": self.accuracy.cohort.model_dump(mode="json"),
            "cohort_sha256": self.cohort.sha256,
            "fallbacks": self.fallbacks,
            "refused": [asdict(remark) for remark in self.outcome.refused],
            "warnings": [asdict(remark) for remark in self.outcome.warnings],
        }

    def failures(self) -> list[str]:
        """What strict does not accept."""
        beside = {"the other bundle": self.against, "the cohort that chose": self.choosing}
        return [
            *self._failures(),
            *(f"{name}: {text}" for name, one in beside.items() if one is not None for text in one._failures()),
        ]

    def _failures(self) -> list[str]:
        failed = [name for name, measured in self.accuracy.precisions.items() if not measured.passed]
        count = len(self.outcome.refused)
        return [
            *(f"{name} exceeds its bound" for name in failed),
            *([f"{count} studies were refused" if count > 1 else "one study was refused"] if count else []),
            *(f"{name} fell back to another backend" for name in self.fallbacks),
        ]
