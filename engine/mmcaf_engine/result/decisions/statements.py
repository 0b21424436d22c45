"""What a finished result states, as objects of other systems hold it: coded values, each with its numbers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..aggregate import in_figures
from ..codes import private_code
from ..ensemble import ensemble_in_words
from ..parts import LabelCode
from ..result import Result
from ..risk import levels_in_words

PRESENT, ABSENT = LabelCode("SCT", "52101004", "Present"), LabelCode("SCT", "272519000", "Absent")


@dataclass(frozen=True)
class Statement:
    """One value that an algorithm gave.

    about: what was asked. name: of that, in words. value: the answer. said: the answer in words. numbers: what they
        are -> probabilities and thresholds, from 0 to 1. levels: what they are -> the level of risk, by name.
    spreads: of an ensemble, what they are -> the standard deviation of its members' probabilities, from 0 to 0.5.
    """

    about: LabelCode
    name: str
    value: LabelCode
    said: str
    numbers: Mapping[str, float]
    levels: Mapping[str, str] = field(default_factory=dict)
    spreads: Mapping[str, float] = field(default_factory=dict)


def statements(result: Result) -> tuple[Statement, ...]:
    """One of each independent label, present or absent; else one, whose value is the label."""
    if result.findings:
        return tuple(
            Statement(
                _code(result, finding.label),
                finding.label,
                PRESENT if finding.present else ABSENT,
                "present" if finding.present else "absent",
                {
                    f"Probability of {finding.label}": finding.probability,
                    "Threshold of the probability": finding.threshold,
                },
                _levels(result, finding.label),
                _spreads(result, (finding.label,)),
            )
            for finding in result.findings
        )
    numbers = {f"Probability of {label}": probability for label, probability in result.probabilities.items()}
    name = f"Label by {result.model.name}"
    value = _code(result, result.label)
    spreads = _spreads(result, result.probabilities)
    return (Statement(private_code("Label"), name, value, result.label, numbers, _levels(result), spreads),)


def answered(result: Result) -> tuple[LabelCode, ...]:
    """The labels that are the answer: those that are present, or the one."""
    named = [finding.label for finding in result.findings if finding.present] if result.findings else [result.label]
    return tuple(_code(result, label) for label in named)


@dataclass(frozen=True)
class LabelRow:
    """One label of a result, for people.

    limit: its threshold, in figures; empty where it has none. said: what was answered of it, in a word.
    holds: whether it is the answer, or among it.
    """

    label: str
    probability: float
    limit: str
    said: str
    holds: bool


def label_rows(result: Result) -> tuple[LabelRow, ...]:
    """Every label: those that are the answer first, then the most probable."""
    if result.findings:
        found = [
            LabelRow(
                one.label, one.probability, f"{one.threshold:g}", "present" if one.present else "absent", one.present
            )
            for one in result.findings
        ]
    else:
        own = {} if result.positive is None else {result.positive.label: f"{result.positive.threshold:g}"}
        found = [
            LabelRow(
                label, probability, own.get(label, ""), "answer" if label == result.label else "", label == result.label
            )
            for label, probability in result.probabilities.items()
        ]
    return tuple(sorted(found, key=lambda row: (not row.holds, -row.probability)))


def in_words(result: Result) -> str:
    """The answer as one sentence; as others its levels of risk, how far an ensemble agrees, and of which slices it is,
    where these are not all.
    """
    part = "" if result.scored is None else f" Of {result.study.slices} slices, {scored_in_words(result)}."
    more = levels_in_words(result) + ensemble_in_words(result.ensemble, result.label) + part
    if result.findings:
        present = [finding for finding in result.findings if finding.present]
        said = [f"{one.label} {figures_of(result, one.label, one.probability)}" for one in present]
        return (f"Present: {', '.join(said)}." if said else "No finding reaches its threshold.") + more
    sure = "" if result.probability is None else f", probability {figures_of(result, result.label, result.probability)}"
    return f"{result.label}{sure}.{more}"


def figures_of(result: Result, label: str, probability: float) -> str:
    """Of a label, for people: on its side of its threshold and of the cut points of its risk, where it has some."""
    limits = {one.label: one.threshold for one in result.findings}
    if result.positive is not None:
        limits[result.positive.label] = result.positive.threshold
    cuts = [end for one in result.risk_level or () if one.label == label for end in (one.from_probability, one.below)]
    return in_figures(probability, limits.get(label), *cuts)


def scored_in_words(result: Result) -> str:
    """Which slices were scored, where these are not all of them; else nothing."""
    return "" if result.scored is None else f"only {result.scored[0]} to {result.scored[1]} from the feet were scored"


def _levels(result: Result, label: str | None = None) -> dict[str, str]:
    """What a level of risk is of -> its name; of one label, or of all."""
    found = [one for one in result.risk_level or () if label in (None, one.label)]
    return {f"Risk level of {one.label}": one.level for one in found}


def _spreads(result: Result, labels: Iterable[str]) -> dict[str, float]:
    """What a spread is of -> the standard deviation over an ensemble's members; empty without one."""
    found = {} if result.ensemble is None else result.ensemble.spread
    return {f"Spread of the probability of {label}": found[label] for label in labels if label in found}


def _code(result: Result, label: str) -> LabelCode:
    """Of a label; of a result that does not know it, as of schema version 1, one of the private scheme."""
    return (result.labels or {}).get(label) or private_code(label)
