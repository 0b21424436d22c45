"""What parts of a network say by themselves, read by the same decision as the answer, which they have no part in."""

from ..manifest import Manifest
from ..volume import Arrays
from .decisions.base import Decision
from .parts import BranchScore


def branch_scores(
    manifest: Manifest, decision: Decision, starts: tuple[int, ...], outputs: Arrays
) -> tuple[BranchScore, ...] | None:
    """Of each output of the kind branch_score, every label's probability; None where the bundle has no such output.

    Args:
        decision: the manifest's.
        starts: first slice of each window. outputs: of all windows, with the optional ones.

    Raises:
        BackendError: a score is not finite.
    """
    found = []
    for entry in manifest.branch_scores:
        score = decision.aggregate(starts, outputs[entry.output])
        shares = dict(zip(manifest.labels, score.probabilities, strict=True))
        found.append(BranchScore(entry.output, entry.title, shares, score.logits))
    return tuple(found) or None
