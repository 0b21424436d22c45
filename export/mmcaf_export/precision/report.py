"""What quantising a bundle came to."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmcaf_engine.bundle.accuracy import Accuracy
from mmcaf_engine.manifest import Precision

from ..report import UNSIGNED, sign_again
from .int8 import Int8Plan
from .spared import SparedPlan

REPORT_VERSION = 1


@dataclass(frozen=True)
class QuantizeReport:
    """What was written and what was refused.

    written: precisions that the bundle now holds besides FP32. refused: precision -> why it was not written. plans:
    precision -> which of its layers are in it; None where all are that can be. signature_dropped: the bundle that this
    one was made from is signed, and this one is not.
    """

    output: Path
    sha256: str
    accuracy: Accuracy
    written: tuple[Precision, ...]
    refused: dict[Precision, tuple[str, ...]]
    plans: dict[Precision, Int8Plan | SparedPlan | None]
    sizes: dict[str, int]
    signature_dropped: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The report as plain dicts, lists and numbers."""
        return {
            "schema_version": REPORT_VERSION,
            "bundle": str(self.output),
            "bundle_sha256": self.sha256,
            "written": list(self.written),
            "refused": {precision: list(reasons) for precision, reasons in self.refused.items()},
            "layers": {
                precision: {"lowered": list(plan.layers), "kept": plan.kept}
                for precision, plan in self.plans.items()
                if plan is not None
            },
            "accuracy": self.accuracy.model_dump(mode="json"),
            "sizes": self.sizes,
            "signature_dropped": self.signature_dropped,
        }

    def summary(self) -> str:
        """A few lines for the terminal."""
        cohort = self.accuracy.cohort
        lines = [f"{self.output}: fp32, {', '.join(self.written)}; {sum(self.sizes.values()) / 1e6:.1f} MB"]
        lines += [_layers(precision, plan) for precision, plan in self.plans.items() if plan is not None]
        lines.append(f"  compared with FP32 on {cohort.source}, {cohort.studies} studies:")
        lines += [f"    {line}" for line in comparisons(self.accuracy)]
        for precision, reasons in self.refused.items():
            lines.append(f"  {precision} was not written: {'; '.join(reasons)}")
        lines += [f"  {UNSIGNED}: {sign_again(self.output)}"] if self.signature_dropped else []
        return "\n".join(lines)


def _layers(precision: Precision, plan: Int8Plan | SparedPlan) -> str:
    if not plan.layers:
        none = f"none of its {len(plan.kept)} layers; all are left in FP32"
        return f"  {precision}: {none}, so that it answers as fp32 does and no sooner"
    counted = f"  {precision}: {len(plan.layers)} layers, {len(plan.kept)} left in FP32"
    if isinstance(plan, SparedPlan):
        return counted
    errors = ", ".join(f"{method} {error:.3f}" for method, error in plan.method_errors.items())
    return f"{counted}; ranges by {plan.method} (the logit's error by method: {errors})"


def comparisons(accuracy: Accuracy) -> list[str]:
    """What each precision cost, a line for each."""
    lines = []
    for precision, facts in accuracy.precisions.items():
        area = facts.auroc_note if facts.auroc_difference is None else f"AUROC {facts.auroc_difference.value:+.4f}"
        lines.append(
            f"{precision}: probability off by at most {facts.max_probability_difference:.4f}, "
            f"{facts.flips.count} labels changed, {area}"
        )
        for backend, reasons in (facts.excluded or {}).items():
            lines.append(f"{precision} is not offered in {backend}: {'; '.join(reasons)}")
    return lines
