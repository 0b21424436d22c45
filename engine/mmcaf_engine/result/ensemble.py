"""How far the members of an ensemble agree: of a result, in words, and as a warning."""

import math
from collections.abc import Sequence

from ..manifest import Manifest
from .aggregate import StudyScore, mean
from .parts import Ensemble

ROW = "ensemble"


def ensemble_of(manifest: Manifest, score: StudyScore) -> Ensemble | None:
    """What each member gave; None where there is one network."""
    if manifest.ensemble is None:
        return None
    of_labels = dict(zip(manifest.labels, zip(*score.members, strict=True), strict=True))
    return Ensemble(
        members=len(score.members),
        probabilities=of_labels,
        spread={label: _spread(each) for label, each in of_labels.items()},
        bound=manifest.ensemble.spread_bound,
    )


def _spread(probabilities: Sequence[float]) -> float:
    """The standard deviation about their mean: of all members that there are, not of a sample of more."""
    middle = mean(probabilities)
    return math.sqrt(mean([(one - middle) * (one - middle) for one in probabilities]))


def ensemble_rows(ensemble: Ensemble | None, label: str) -> tuple[tuple[str, str], ...]:
    """The row of a text answer, where there is an ensemble: the spread of the label or, where the answer is no single
    one, the largest and whose.
    """
    if ensemble is None:
        return ()
    if label in ensemble.spread:
        return ((ROW, f"{ensemble.members} members, spread {_figure(ensemble.spread[label])}"),)
    widest = max(ensemble.spread, key=lambda one: ensemble.spread[one])
    return ((ROW, f"{ensemble.members} members, largest spread {_figure(ensemble.spread[widest])} of {widest}"),)


def ensemble_in_words(ensemble: Ensemble | None, label: str) -> str:
    """The row as a sentence; empty without an ensemble."""
    return "".join(f" Ensemble of {told}." for _, told in ensemble_rows(ensemble, label))


def ensemble_warnings(ensemble: Ensemble | None) -> tuple[str, ...]:
    """That members disagree by more than the manifest says, and on which labels."""
    if ensemble is None or ensemble.bound is None:
        return ()
    bound = ensemble.bound
    wide = [f"{label} {_above(spread, bound)}" for label, spread in ensemble.spread.items() if spread > bound]
    if not wide:
        return ()
    return (
        f"The {ensemble.members} networks of the ensemble disagree: the standard deviation of their probabilities is "
        f"above {bound:g}: {', '.join(wide)}.",
    )


def _figure(spread: float) -> str:
    return f"{spread:.2f}" if spread >= 0.005 or spread == 0 else "below 0.01"


def _above(spread: float, bound: float) -> str:
    """In as many decimals as it takes to be above the bound."""
    texts = (f"{spread:.{decimals}f}" for decimals in range(3, 17))
    return next((text for text in texts if float(text) > bound), repr(spread))
