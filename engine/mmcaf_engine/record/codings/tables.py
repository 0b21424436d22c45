"""The tables of codes beside this file: which questions are one, and what their coded answers mean.

Each file says its source and version. An answer is found by its code, its display, or a text that is its display.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from ...errors import MmcafError
from ...files import read_bounded

UNKNOWN = "unknown"
"""The meaning of an answer that says that nobody knows."""

System = Literal["snomed", "loinc", "ucum", "absent", "", "other"]
"""A terminology; "absent" are the codes for data that are not there, "" is none given, "other" any that we do not
know."""

_TABLES = ("smoking", "tnm", "weight")
_TAG = re.compile(r"\s*\((?:finding|qualifier value|observable entity|disorder|situation)\)$", re.IGNORECASE)
"""The semantic tag of a fully specified name of SNOMED CT."""


@dataclass(frozen=True)
class Question:
    """What an Observation is about: its LOINC code, and codes that ask the same.

    same: of SNOMED CT. also: of LOINC, of the same quantity. letter: of TNM, else empty. narrower: of LOINC, those that
        an observation may have beside it, for how it was measured or told.
    """

    loinc: str
    same: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    letter: str = ""
    narrower: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """The answers to a few questions.

    by_code: (system, code) -> meaning. by_text: folded display -> meaning. codes: meaning -> its codes.
    never_after: meaning -> those that it contradicts where they are older. part_of: category -> what it is part of.
    descriptors: what may stand in brackets behind a category without changing it.
    """

    by_code: Mapping[tuple[str, str], str] = field(default_factory=dict)
    by_text: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    never_after: Mapping[str, Sequence[str]] = field(default_factory=dict)
    part_of: Mapping[str, str] = field(default_factory=dict)
    descriptors: frozenset[str] = frozenset()

    def meaning_of_text(self, text: str) -> str | None:
        """What a display, or a text that is one, means."""
        return self.by_text.get(plain(text))


@dataclass(frozen=True)
class _Known:
    questions: Mapping[str, tuple[Question, Table]]
    systems: Mapping[str, System]
    absent: frozenset[str]
    units: Mapping[str, tuple[str, ...]]
    panels: frozenset[tuple[str, str]]


def question_of(loinc: str) -> tuple[Question, Table]:
    """The question that a LOINC code asks, and the table of its answers; an empty one where there is none."""
    return _known().questions.get(loinc, (Question(loinc), Table()))


def system_of(given: Any) -> System:
    """Which terminology a Coding.system names, with or without a version."""
    if given is None:
        return ""
    address = str(given).partition("|")[0].strip().rstrip("/")
    known = _known().systems
    if address.startswith("http://snomed.info/sct/"):
        return "snomed"
    return known.get(address) or known.get(address.replace("https://", "http://", 1)) or "other"


def is_panel(concept: Any) -> bool:
    """Whether a CodeableConcept is that of a panel, whose components mean what their own codes tell."""
    codings = concept.get("coding") if isinstance(concept, dict) else None
    keys = {
        (system_of(coding.get("system")) or "loinc", str(coding.get("code")))
        for coding in (codings if isinstance(codings, list) else ())
        if isinstance(coding, dict)
    }
    return not keys.isdisjoint(_known().panels)


def is_absent(code: str) -> bool:
    """Whether a code of the system "absent" says that the data are not there."""
    return code in _known().absent


def spellings(unit: str) -> tuple[str, ...]:
    """Every spelling of a unit, given a folded one."""
    return _known().units.get(unit, ())


def plain(text: str) -> str:
    """A display without its semantic tag, letter case and the number of its blanks."""
    return " ".join(_TAG.sub("", text.strip()).casefold().split())


@cache
def _known() -> _Known:
    questions = {}
    for name in _TABLES:
        document = _load(name)
        answers = document["answers"]
        codes: dict[str, tuple[str, ...]] = {}
        for one in answers:
            codes[one["meaning"]] = (*codes.get(one["meaning"], ()), one["code"])
        table = Table(
            {(one["system"], one["code"]): one["meaning"] for one in answers},
            {plain(one["display"]): one["meaning"] for one in answers},
            codes,
            document.get("never_after", {}),
            document.get("part_of", {}),
            frozenset(document.get("descriptors", ())),
        )
        for one in document["questions"]:
            question = Question(
                one["loinc"],
                tuple(one.get("snomed", ())),
                tuple(one.get("also", ())),
                one.get("letter", ""),
                tuple(one.get("narrower", ())),
            )
            questions[question.loinc] = question, table
    document = _load("systems")
    systems = {address: name for name, addresses in document["systems"].items() for address in addresses}
    units = {spelling.casefold().replace(" ", "_"): tuple(group) for group in document["units"] for spelling in group}
    panels = frozenset((one["system"], one["code"]) for one in _load("panels")["panels"])
    return _Known(questions, systems, frozenset(document["absent"]), units, panels)


def _load(name: str) -> Any:
    return json.loads(read_bounded(Path(__file__).with_name(f"{name}.json"), error=MmcafError, max_bytes=1 << 20))
