"""HL7 FHIR R4: the value of an Observation as a flat record would hold it, or why it is not taken.

FHIR R4 2.24.0.7 (Quantity), 2.24.0.5 (CodeableConcept), 10.1.4 (values that are absent).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import printable
from ..manifest import CategoryField, FhirObservation, NumberField, TableField
from .codings.tables import UNKNOWN, Question, Table, is_absent, system_of
from .encode import UnusableValueError, encode, find_category, unit_factor
from .fhir_bundle import Resource, listed

SAME_NUMBER = 0.1
"""Numbers that differ by no more than this share do not contradict each other."""

_NOTHING = "have no value"
_COMPARATORS = ("<", "<=", ">", ">=", "ad")
_SNOMED_CODE = re.compile(r"\d{6,18}")
_LOINC_CODE = re.compile(r"(?:LA)?\d+-\d")
_TNM = re.compile(r"(?:r?y?[acp]|y|r)?([TNM])\s*(X|is|[0-4][a-d]?(?:mi)?[1-3]?)\s*(?:\(([a-z]+)\))?", re.IGNORECASE)
"""Prefixes, letter, category and descriptor of TNM, as in ycT2a(m)."""
_TNM_WORDS = re.compile(
    r"^(?:American Joint Committee on Cancer|AJCC|UICC|(?:(?:clinical|pathologic|tumou?r|node|metastasis) )?stage)\s+"
    r"|\s+(?:category|stage|(?:stage |TNM )finding)$",
    re.IGNORECASE,
)
"""What displays of SNOMED CT and the NCI Thesaurus write around the category."""
MAX_CODINGS = 100
"""Codes of one concept; a usual one has a few."""


@dataclass(frozen=True)
class Reading:
    """What an Observation says of a field.

    value: as the flat record would hold it; None where there is none. meaning: of a coded one, by its table.
    refused: why a value that is there is not taken. absent: what it has in place of one. note: on how it was read.
    doubt: what may make it another value; a warning where it is taken.
    """

    value: Any = None
    meaning: str = ""
    refused: str = ""
    absent: str = ""
    note: str = ""
    doubt: str = ""


def read_value(
    entry: TableField, source: FhirObservation, asked: tuple[Question, Table], observation: Resource
) -> Reading:
    """Read value[x] for a field.

    Args:
        asked: the question that the Observation answers, and the table of its answers.
    """
    given = [key for key in observation if key.startswith("value") and observation[key] is not None]
    if observation.get("dataAbsentReason") is not None:
        return Reading(refused="has a value and says that there is none") if given else Reading(absent=_NOTHING)
    if len(given) > 1:
        return Reading(refused=f"has {len(given)} values, of which FHIR R4 has one")
    quantity, concept = observation.get("valueQuantity"), observation.get("valueCodeableConcept")
    if isinstance(quantity, dict):
        return _quantity(entry, quantity)
    if isinstance(concept, dict):
        return _concept(entry, source, asked, concept)
    text, whole = observation.get("valueString"), observation.get("valueInteger")
    if isinstance(text, str) and text.strip():
        return _concept(entry, source, asked, {"text": text}) if isinstance(entry, CategoryField) else Reading(text)
    if whole is not None:
        return _without_unit(entry, whole)
    if given:
        return Reading(refused=f"has its value in a form that is not read ({printable(given[0], 20)})")
    return Reading(absent=_NOTHING)


def contradict(entry: TableField, one: Any, other: Any) -> bool:
    """Whether two values of a field cannot both be right; what cannot be read contradicts nothing."""
    try:
        first, second = encode(entry, one)[2], encode(entry, other)[2]
    except UnusableValueError:
        return False
    if isinstance(entry, CategoryField):
        return first != second
    return abs(first - second) > SAME_NUMBER * max(abs(first), abs(second))


def _quantity(entry: TableField, quantity: Resource) -> Reading:
    number = quantity.get("value")
    if number is None:
        return Reading(absent=_NOTHING)
    comparator = quantity.get("comparator")
    if comparator is not None:
        shown = comparator if comparator in _COMPARATORS else "a comparator"
        return Reading(refused=f"gives a bound ({shown}), not a value")
    coded = system_of(quantity.get("system")) in ("ucum", "")
    code, unit = (_given(quantity.get("code")) if coded else None), _given(quantity.get("unit"))
    named = code or unit
    if named is None:
        return _without_unit(entry, number)
    if isinstance(entry, NumberField) and code is not None and unit is not None:
        factors = unit_factor(entry, code), unit_factor(entry, unit)
        if factors[1] is not None and factors[0] != factors[1]:
            return Reading(
                refused=f"has the unit {printable(unit, 20)}, and the code {printable(code, 20)}, which is another"
            )
        if factors[0] is not None and factors[1] is None:
            doubt = f"its unit is not known here, and its code {printable(code, 20)} was taken"
            return Reading({"value": number, "unit": code}, doubt=doubt)
    return Reading({"value": number, "unit": printable(named, 20)})


def _given(text: Any) -> str | None:
    return text if isinstance(text, str) and text.strip() else None


def _without_unit(entry: TableField, number: Any) -> Reading:
    """A number alone, which is a value only where there is no unit to write, as of a count or a score."""
    if isinstance(entry, NumberField) and entry.unit not in ("", "1") and not entry.unit.startswith("{"):
        return Reading(refused=f"has no unit; {entry.unit} or another was expected")
    return Reading(number)


def _concept(entry: TableField, source: FhirObservation, asked: tuple[Question, Table], concept: Resource) -> Reading:
    codings, text = listed(concept, "coding"), concept.get("text")
    if isinstance(entry, NumberField):
        return _number_of_codes(source, codings, text)
    if len(codings) > MAX_CODINGS:
        return Reading(refused=f"has {len(codings)} codes; at most {MAX_CODINGS} are read")
    reader = _Concept(entry, source, *asked)
    found: list[Reading] = []
    for coding in codings:
        found += reader.of_code(coding)
        found += reader.of_text(coding.get("display"))
    found += reader.of_text(text)
    values = [one for one in found if one.value is not None]
    absent = [one for one in found if one.absent]
    if values:
        best = max(values, key=lambda one: len(str(one.value)) if _is_part(one, values[0]) else 0)
        others = [one for one in values if contradict(entry, one.value, best.value) and not _is_part(best, one)]
        if others or absent:
            return Reading(refused="has codes or texts that contradict each other")
        return best
    if absent:
        return absent[0]
    spelled = [text, *(coding.get(key) for coding in codings for key in ("display", "code"))]
    raw = next((one for one in spelled if isinstance(one, str) and one.strip()), None)
    if raw is None:
        return Reading(absent=_NOTHING)
    # It is to be refused by name, also where the code of another system looks like a category.
    return Reading(printable(raw if find_category(entry, raw) is None else f"code {raw}", 40))


def _is_part(one: Reading, other: Reading) -> bool:
    """Whether a category is the other, or one of its parts, as 2a is of 2."""
    return str(one.value).startswith(str(other.value))


def _number_of_codes(source: FhirObservation, codings: list[Resource], text: Any) -> Reading:
    for coding in codings:
        if coding.get("code") in source.answers:
            return Reading(source.answers[coding["code"]])
    spelled = [text, *(coding.get(key) for coding in codings for key in ("display", "code"))]
    raw = next((one for one in spelled if isinstance(one, str) and one), None)
    return Reading(absent=_NOTHING) if raw is None else Reading(raw)


@dataclass(frozen=True)
class _Concept:
    """Reads codes and texts as categories of one field."""

    entry: CategoryField
    source: FhirObservation
    question: Question
    table: Table

    def of_code(self, coding: Resource) -> Iterator[Reading]:
        """By the manifest's answers, the table of the question, or a code that spells the category."""
        code, system = coding.get("code"), system_of(coding.get("system"))
        if not isinstance(code, str) or not code.strip():
            return
        if system == "absent" and is_absent(code):
            yield Reading(absent=f"say {printable(code, 20)}, which means unknown")
        elif code in self.source.answers and _may_be_of(code, system):
            known = next((meaning for (_, one), meaning in self.table.by_code.items() if one == code), "")
            yield Reading(self.source.answers[code], known)
        elif (meaning := self._in_table(code, system)) is not None:
            yield from self._meant(meaning, code)
        elif system not in ("snomed", "loinc", "ucum") and (system == "" or code[:1].isalpha()):
            # The number of a code says nothing where its system is not known; letters spell the category.
            yield from self.of_text(code)

    def _in_table(self, code: str, system: str) -> str | None:
        systems = (system,) if system else ("snomed", "loinc")
        return next((self.table.by_code[key] for one in systems if (key := (one, code)) in self.table.by_code), None)

    def of_text(self, text: Any) -> Iterator[Reading]:
        """By the displays of the table, the grammar of TNM, or the manifest's categories and synonyms."""
        if not isinstance(text, str) or not text.strip():
            return
        meaning = self.table.meaning_of_text(text)
        if meaning is not None:
            yield from self._meant(meaning, text)
            return
        category = find_category(self.entry, text)
        if category is not None:
            yield Reading(category)
        elif self.question.letter:
            yield from self._tnm(text)

    def _meant(self, meaning: str, said: str) -> Iterator[Reading]:
        """A meaning of the table as a category of the manifest."""
        if meaning == UNKNOWN:
            yield Reading(absent=f"say {printable(said, 40)}, which means unknown")
            return
        if self.question.letter:
            yield from self._tnm(meaning)
            return
        answers = {self.source.answers[code] for code in self.table.codes[meaning] if code in self.source.answers}
        category = find_category(self.entry, meaning) if len(answers) != 1 else answers.pop()
        if category is not None:
            yield Reading(category, meaning)

    def _tnm(self, text: str) -> Iterator[Reading]:
        """The category that a text of TNM spells, or one that it is part of."""
        found = _TNM.fullmatch(_TNM_WORDS.sub("", " ".join(text.split())).strip())
        if found is None or found[1].upper() != self.question.letter:
            return
        letter, category, descriptor = found[1].upper(), found[2], found[3]
        if category.upper() == "X":
            yield Reading(absent=f"say {letter}X, which means that it could not be assessed")
            return
        if descriptor is not None and descriptor.lower() not in self.table.descriptors:
            return
        whole = self.table.part_of.get(f"{letter}{category.lower()}")
        for spelled in (f"{letter}{category}", category):
            if (value := find_category(self.entry, spelled)) is not None:
                yield Reading(value)
                return
        if whole is not None and (value := find_category(self.entry, whole)) is not None:
            yield Reading(value, note=f"{letter}{category} was read as {whole}, of which it is part")


def _may_be_of(code: str, system: str) -> bool:
    """Whether a code of the manifest's answers, which name no system, is one of this system's."""
    if system == "":
        return True
    if _SNOMED_CODE.fullmatch(code):
        return system == "snomed"
    if _LOINC_CODE.fullmatch(code):
        return system == "loinc"
    return True
