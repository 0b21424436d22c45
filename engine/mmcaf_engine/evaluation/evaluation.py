"""What an evaluation of a bundle on a cohort has to say, as plain values."""

from dataclasses import asdict, dataclass
from typing import Any

from ..bundle.accuracy import Accuracy
from ..bundle.bundle import Bundle
from ..manifest import Precision
from ..result.result import NOT_A_MEDICAL_DEVICE
from .compare import CohortScores

REPORT_VERSION = 1


@dataclass(frozen=True)
class Evaluation:
    """All that the command has to say; not_run: precision that the bundle holds -> why it was not run."""

    bundle: Bundle
    accuracy: Accuracy
    outcome: CohortScores
    not_run: dict[Precision, str]
    fallbacks: dict[Precision, str]

    @property
    def disclaimer(self) -> str:
        """What the figures are no proof of."""
        return f"{self.bundle.manifest.intended_use} {NOT_A_MEDICAL_DEVICE}".strip()

    def to_dict(self) -> dict[str, Any]:
        """The report as plain dicts, lists and numbers."""
        manifest = self.bundle.manifest
        return {
            "schema_version": REPORT_VERSION,
            "model": self.bundle.summary.to_dict(),
            "labels": list(manifest.labels),
            "accuracy": self.accuracy.model_dump(mode="json"),
            "not_run": self.not_run,
            "fallbacks": self.fallbacks,
            "refused": [asdict(remark) for remark in self.outcome.refused],
            "warnings": [asdict(remark) for remark in self.outcome.warnings],
            "disclaimer": self.disclaimer,
        }

    def failures(self) -> list[str]:
        """What strict does not accept."""
        failed = [name for name, measured in self.accuracy.precisions.items() if not measured.passed]
        count = len(self.outcome.refused)
        return [
            *(f"{name} exceeds its bound" for name in failed),
            *([f"{count} studies were refused" if count > 1 else "one study was refused"] if count else []),
            *(f"{name} fell back to another backend" for name in self.fallbacks),
        ]
