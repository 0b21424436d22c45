"""What quantising a bundle came to."""

from dataclasses import dataclass
from pathlib import Path

from mmcaf_engine.evaluation.accuracy import Accuracy
from mmcaf_engine.manifest import Precision

from .int8 import Int8Plan


@dataclass(frozen=True)
class QuantizeReport:
    """What was written and what was refused.

    written: precisions that the bundle now holds besides FP32. refused: precision -> why it was not written.
    """

    output: Path
    sha256: str
    accuracy: Accuracy
    written: tuple[Precision, ...]
    refused: dict[Precision, tuple[str, ...]]
    int8: Int8Plan | None
    sizes: dict[str, int]

    def summary(self) -> str:
        """A few lines for the terminal."""
        cohort = self.accuracy.cohort
        lines = [f"{self.output}: fp32, {', '.join(self.written)}; {sum(self.sizes.values()) / 1e6:.1f} MB"]
        if self.int8 is not None:
            errors = ", ".join(f"{method} {error:.3f}" for method, error in self.int8.method_errors.items())
            lines.append(
                f"  int8: {len(self.int8.layers)} layers, {len(self.int8.kept)} left in FP32; ranges by "
                f"{self.int8.method} (the logit's error by method: {errors})"
            )
        lines.append(f"  compared with FP32 on {cohort.source}, {cohort.studies} studies:")
        lines += [f"    {line}" for line in comparisons(self.accuracy)]
        for precision, reasons in self.refused.items():
            lines.append(f"  {precision} was not written: {'; '.join(reasons)}")
        return "\n".join(lines)


def comparisons(accuracy: Accuracy) -> list[str]:
    """What each precision cost, a line for each."""
    lines = []
    for precision, facts in accuracy.precisions.items():
        area = facts.auroc_note if facts.auroc_difference is None else f"AUROC {facts.auroc_difference.value:+.4f}"
        lines.append(
            f"{precision}: probability off by at most {facts.max_probability_difference:.4f}, "
            f"{facts.flips.count} labels changed, {area}"
        )
    return lines
