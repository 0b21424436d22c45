"""The manifest's ensemble: several checkpoints of one network, which answer together."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from .base import ManifestModel
from .provenance import WeightsEntry
from .tensors import Axis

FEWEST_MEMBERS, MOST_MEMBERS = 2, 32
LARGEST_SPREAD = 0.5
"""Of probabilities: half of them 0, the others 1."""


class EnsembleMember(ManifestModel):
    """One of the checkpoints."""

    checkpoint_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    checkpoint_format: str
    weights: WeightsEntry | None = Field(default=None, description="As of `provenance`.")

    sparse: ClassVar[frozenset[str]] = frozenset({"weights"})


class EnsembleSpec(ManifestModel):
    """Members that lie side by side in one graph: its score has an axis for them, [N, members, scores].

    Each member answers a study by itself, from all windows; the answer is that of the mean of the members'
    probabilities.
    """

    members: tuple[EnsembleMember, ...] = Field(
        min_length=FEWEST_MEMBERS, max_length=MOST_MEMBERS, description="In the order of the score's second axis."
    )
    method: Literal["mean_probability"] = "mean_probability"
    spread_bound: Annotated[float, Field(gt=0, le=LARGEST_SPREAD)] | None = Field(
        default=None,
        description="Standard deviation of the members' probabilities of a label above which an answer warns; never "
        "without.",
    )

    @model_validator(mode="after")
    def _different(self) -> "EnsembleSpec":
        sums = [member.checkpoint_sha256 for member in self.members]
        if repeated := next((one for one in sums if sums.count(one) > 1), None):
            raise ValueError(f"two members are of the same checkpoint, SHA-256 {repeated[:16]}")
        return self


def score_shape(ensemble: EnsembleSpec | None, scores: Sequence[Axis]) -> tuple[Axis, ...]:
    """The shape of the output that the answer is made from: of an ensemble with an axis for its members.

    Args:
        scores: a member's, without the batch.
    """
    return ("N", *scores) if ensemble is None else ("N", len(ensemble.members), *scores)
