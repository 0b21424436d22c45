"""Which level of risk a probability is of, by the manifest's cut points, and what is said of it."""

from collections.abc import Sequence

from ..manifest import Manifest
from .aggregate import in_figures
from .parts import RiskLevel
from .result import Result


def risk_levels(manifest: Manifest, probabilities: Sequence[float]) -> tuple[RiskLevel, ...] | None:
    """The level of each label that the manifest has cut points for, in its order; None where it has none.

    Args:
        probabilities: of every label, in the manifest's order.
    """
    found = []
    for spec in manifest.risk_levels:
        probability = probabilities[manifest.labels.index(spec.label)]
        at, ends = spec.level(probability), (None, *spec.cuts, None)
        place = spec.names[at], at + 1, len(spec.names)
        found.append(RiskLevel(spec.label, *place, probability, ends[at], ends[at + 1], spec.source))
    return tuple(found) or None


def level_figures(level: RiskLevel) -> str:
    """The probability, on its side of the cut points."""
    return in_figures(level.probability, level.from_probability, level.below)


def level_range(level: RiskLevel) -> str:
    """From which probability to which it is this level."""
    ends = [f"from {level.from_probability:g}"] if level.from_probability is not None else []
    return " ".join([*ends, *([f"below {level.below:g}"] if level.below is not None else [])])


def level_rows(result: Result) -> list[tuple[str, str]]:
    """For people: the label, and its level with the probability and the cut points around it."""
    return [
        (level.label, f"{level.level}, {level.rank} of {level.levels} ({level_figures(level)}; {level_range(level)})")
        for level in result.risk_level or ()
    ]


def levels_in_words(result: Result) -> str:
    """As a sentence; empty without any."""
    told = ", ".join(f"{level.label} {level.level}" for level in result.risk_level or ())
    return f" Risk level: {told}." if told else ""
