"""Which series of a study each input of a network is: by the manifest's rules, or as the caller says."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...errors import Remedy, StudyError
from ...manifest.series import SeriesRule, SeriesSpec, Turn
from ..nifti import NIFTI, stem
from .ranking import ambiguous, better_class, counted, named
from .series import Candidate, Catalogue

AS_ASKED = "as asked"
"""Why a series was chosen that the caller named."""
SHOWN_WORDS = 6
"""Words of a rule that a message lists."""

_SPLIT = re.compile(r"[^a-z0-9]+")
_B_WORD = re.compile(r"[a-z]*b([0-9]{1,5})[a-z]?")


@dataclass(frozen=True)
class Match:
    """One input's series. why: how it was told, in words without anything of the patient."""

    input: str
    chosen: Candidate
    why: str


@dataclass(frozen=True)
class Traits:
    """What rules look at. texts: as words; contrast, b_value, acquired: None or empty where not told."""

    texts: tuple[tuple[str, ...], ...]
    image_type: frozenset[str]
    b_value: float | None
    contrast: bool | None
    acquired: str


def match_series(
    study: Catalogue, specs: Sequence[SeriesSpec], name: str, *, modality: str | None, chosen: Mapping[str, str]
) -> tuple[Match, ...]:
    """The series of every input, in the order of `specs`.

    Args:
        study: what was found.
        name: the study's path, for messages.
        modality: the only one that the network takes.
        chosen: input -> SeriesInstanceUID, number or NIfTI file name, in place of the rules.

    Raises:
        StudyError: no series for an input, several, one series for two inputs, or an unreadable one.
    """
    taken = {key: named(study, value, name, f"{key}=") for key, value in chosen.items()}
    pool = [entry for entry in competing(study, modality) if entry not in taken.values()]
    matches = []
    for spec in specs:
        if spec.input in taken:
            matches.append(Match(spec.input, taken[spec.input], AS_ASKED))
        else:
            matches.append(match_input(pool, spec, name, study))
    for at, match in enumerate(matches):
        for other in matches[:at]:
            if other.chosen is match.chosen:
                raise StudyError(
                    f"{name}: {match.chosen.describe()} could be {other.input} ({other.why}) as well as {match.input} "
                    f"({match.why}); a series of its own was expected for each.",
                    *(
                        Remedy(f"Say which series is {key}", option="series", value=f"{key}=NUMBER")
                        for key in (other.input, match.input)
                    ),
                )
        if match.chosen.fault is not None:
            raise StudyError(f"{match.input}: {match.chosen.fault.problem}", *match.chosen.fault.remedies)
    return tuple(matches)


def competing(study: Catalogue, modality: str | None) -> list[Candidate]:
    """The candidates that rules look at: of the network's modality, and each series in one form."""
    return [entry for entry in study.candidates if entry.fits(modality) and not entry.twin]


def match_input(pool: Sequence[Candidate], spec: SeriesSpec, name: str, study: Catalogue) -> Match:
    """The series of one input among `pool`.

    A NIfTI file of the input's own name comes before any rule, unless DICOM series fit one: nothing says that it is of
    their patient. Of several series that fit the deciding rule, those that are axial, no fragment, upright and ORIGINAL
    come before the others, as in `ranking.rank`; slices and spacing decide nothing.

    Raises:
        StudyError: none, or several.
    """
    own = [entry for entry in pool if entry.modality == NIFTI and stem(entry.source).lower() == spec.input.lower()]
    images = [entry for entry in pool if entry.modality != NIFTI]
    found: list[Candidate] = []
    decided = None
    for rule in spec.match:
        found, decided = _fitting(images if own else pool, rule), rule
        if found:
            break
    found = better_class(found)
    if own:
        found, decided = [*own, *found], None
    if len(found) == 1:
        return Match(spec.input, found[0], _why(traits(found[0]), decided))
    shown = f"{spec.input} ({spec.description})"
    if found:
        why = _in_words(decided) if decided else "their name or a rule"
        raise ambiguous(found, f"{name}: {len(found)} series could be {shown}, by {why}:", option=f"{spec.input}=")
    tried = "; or ".join(_in_words(rule) for rule in spec.match)
    problem = f"{name}: no series is {shown}. Looked for: {tried}."
    if not pool:
        left_out = f" Left out: {counted(study.left_out)}." if study.left_out else ""
        raise StudyError(f"{problem} No other series could be read.{left_out}", "Send the complete study.")
    raise ambiguous(pool, f"{problem} These could be read:", option=f"{spec.input}=")


def _fitting(pool: Sequence[Candidate], rule: SeriesRule) -> list[Candidate]:
    found = [(entry, traits(entry)) for entry in pool]
    found = [(entry, facts) for entry, facts in found if _fits(facts, rule)]
    if rule.turn is None:
        return [entry for entry, _ in found]
    return _in_turn(found, rule.turn)


def _fits(facts: Traits, rule: SeriesRule) -> bool:
    if rule.words and not any(_says(facts, pattern) for pattern in rule.words):
        return False
    if any(_says(facts, pattern) for pattern in rule.without):
        return False
    if rule.image_type and not facts.image_type & {value.upper() for value in rule.image_type}:
        return False
    if facts.image_type & {value.upper() for value in rule.without_image_type}:
        return False
    if rule.contrast is not None and facts.contrast is not rule.contrast:
        return False
    if rule.b_value is None:
        return True
    return facts.b_value is not None and rule.b_value.minimum <= facts.b_value <= rule.b_value.maximum


def _in_turn(found: list[tuple[Candidate, Traits]], turn: Turn) -> list[Candidate]:
    """The one whose turn it is; none unless the count is right and all times are known and differ."""
    better = better_class([entry for entry, _ in found])
    times = sorted((facts.acquired, entry.number) for entry, facts in found if entry in better)
    known = {moment for moment, _ in times if moment}
    if len(times) != turn.of or len(known) != turn.of:
        return []
    number = times[turn.position - 1][1]
    return [entry for entry in better if entry.number == number]


def _says(facts: Traits, pattern: str) -> bool:
    wanted = pattern.split(" ")
    for text in facts.texts:
        for start in range(len(text) - len(wanted) + 1):
            if all(map(_word_fits, text[start:], wanted)):
                return True
    return False


def _word_fits(word: str, pattern: str) -> bool:
    core = pattern.strip("*")
    if pattern.startswith("*"):
        return core in word if pattern.endswith("*") else word.endswith(core)
    return word.startswith(core) if pattern.endswith("*") else word == core


def traits(entry: Candidate) -> Traits:
    """What rules look at of one candidate; an unreadable element counts as absent."""
    texts: tuple[tuple[str, ...], ...]
    if not entry.frames:
        texts = (words(stem(entry.source) if entry.modality == NIFTI else entry.description),)
        return Traits(texts, frozenset(), b_in_words(texts), None, "")
    first = entry.frames[0]
    tags = first.instance.tags
    named = ("SeriesDescription", "ProtocolName", "SequenceName")
    texts = tuple(words(tags.text_or(keyword, "")) for keyword in named)
    b_value = first.b_value if first.b_value is not None else b_in_words(texts)
    contrast = bool(tags.text_or("ContrastBolusAgent", "")) or "ContrastBolusAgentSequence" in tags
    image_type = frozenset(value.upper() for value in first.image_type)
    return Traits(texts, image_type, b_value, contrast, min(frame.acquired for frame in entry.frames))


def words(text: str) -> tuple[str, ...]:
    """A text's words: lower case, anything but letters and digits between them."""
    return tuple(word for word in _SPLIT.split(text.lower()) if word)


def b_in_words(texts: Sequence[tuple[str, ...]]) -> float | None:
    """The b-value that words such as b800 name, where they name one only; None else."""
    found = set()
    for text in texts:
        for word, after in zip(text, (*text, "")[1:], strict=True):
            if match := _B_WORD.fullmatch(word):
                found.add(match[1])
                found |= {after} if after.isdigit() else set()
    return float(found.pop()) if len(found) == 1 else None


def _some(patterns: Sequence[str]) -> str:
    return ", ".join(patterns[:SHOWN_WORDS]) + (" ..." if len(patterns) > SHOWN_WORDS else "")


def _why(facts: Traits, rule: SeriesRule | None) -> str:
    """What of a rule a series fits, in the rule's words."""
    if rule is None:
        return "the file of its name"
    said = [pattern for pattern in rule.words if _says(facts, pattern)]
    types = [value for value in rule.image_type if value.upper() in facts.image_type]
    parts = [f'the word "{said[0]}"'] if said else []
    parts += [f"image type {types[0]}"] if types else []
    parts += [f"b-value {facts.b_value:g}"] if rule.b_value else []
    parts += [] if rule.contrast is None else ["with contrast agent" if rule.contrast else "without contrast agent"]
    parts += [f"number {rule.turn.position} of {rule.turn.of} by acquisition time"] if rule.turn else []
    return ", ".join(parts)


def _in_words(rule: SeriesRule) -> str:
    parts = [f"a word of {_some(rule.words)}"] if rule.words else []
    parts += [f"none of {_some(rule.without)}"] if rule.without else []
    parts += [f"image type {' or '.join(rule.image_type)}"] if rule.image_type else []
    parts += [f"not of image type {' or '.join(rule.without_image_type)}"] if rule.without_image_type else []
    parts += [f"b-value {rule.b_value.minimum:g} to {rule.b_value.maximum:g}"] if rule.b_value else []
    parts += [] if rule.contrast is None else ["with contrast agent" if rule.contrast else "without contrast agent"]
    parts += [f"number {rule.turn.position} of {rule.turn.of} by acquisition time"] if rule.turn else []
    return ", ".join(parts)
