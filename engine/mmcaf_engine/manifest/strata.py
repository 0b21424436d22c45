"""What a manifest has beyond the decision: risk levels by declared cut points, and scores of parts of the network."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from pydantic import Field, model_validator

from .base import Line, ManifestModel
from .tensors import TensorSpec

CutPoint = Annotated[float, Field(gt=0, lt=1)]


class RiskSpec(ManifestModel):
    """Levels of risk over the probability of one label, told from cut points that somebody has chosen.

    From a cut point on it is the level above: a probability that equals it is of the upper level, as with thresholds.
    """

    label: Annotated[Line, Field(min_length=1)] = Field(description="Whose probability it is over.")
    cuts: tuple[CutPoint, ...] = Field(min_length=1, max_length=20, description="Ascending probabilities.")
    names: tuple[Annotated[Line, Field(min_length=1, max_length=60)], ...] = Field(
        description="Of the levels, the lowest first: one more than there are cuts."
    )
    source: Annotated[Line, Field(max_length=200)] = Field(default="", description="Where the cut points come from.")

    @model_validator(mode="after")
    def _levels(self) -> "RiskSpec":
        if not all(lower < upper for lower, upper in pairwise(self.cuts)):
            raise ValueError(f"the cuts of {self.label} must ascend, each above the one before")
        if len(self.names) != len(self.cuts) + 1:
            raise ValueError(
                f"{self.label} has {len(self.names)} names of levels for {len(self.cuts)} cuts; expected one more than "
                "cuts"
            )
        if len({name.casefold() for name in self.names}) != len(self.names):
            raise ValueError(f"two levels of {self.label} share a name")
        return self

    def level(self, probability: float) -> int:
        """Position among `names` of the level that a probability is of."""
        return bisect_right(self.cuts, probability)


class BranchSpec(ManifestModel):
    """An output of the kind branch_score: the same labels as scored by a part of the network, for people to compare.

    It has the score's shape, of an ensemble with its members, is read by the same decision, and has no part in the
    answer.
    """

    output: str
    title: Annotated[Line, Field(min_length=1, max_length=40)] = Field(description="Which part of the network it is.")


def check_risk(labels: Sequence[str], levels: Sequence[RiskSpec]) -> None:
    """Risk levels are of labels, each of which has them once.

    Raises:
        ValueError: they are not; so `check_branches`.
    """
    named = [spec.label for spec in levels]
    if unknown := sorted(set(named) - set(labels)):
        raise ValueError(f"risk_levels names {', '.join(unknown)}, which is no label")
    if len(set(named)) != len(named):
        raise ValueError("risk_levels has two entries of one label")


def check_branches(outputs: Sequence[TensorSpec], branches: Sequence[BranchSpec]) -> None:
    """Each branch score is told what it is of, and is of the score's shape."""
    found = [spec for spec in outputs if spec.kind == "branch_score"]
    if [entry.output for entry in branches] != [spec.name for spec in found]:
        raise ValueError("branch_scores must tell what each output of this kind is of, in their order")
    score = outputs[0].shape
    for spec in found:
        if spec.shape != score:
            raise ValueError(f"the output {spec.name} is {spec.shape}; the score beside it is {score}")
