"""A record that a person types: the fields that the networks of its study read, and what the engine says of it."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..errors import MmcafError, RecordError
from ..manifest import CategoryField, Impute, Manifest, NumberField, TableField
from ..record.encode import PATIENT_ID_KEY, fold
from ..record.identity import compare_identity
from ..record.record import contradictions, read_record
from ..volume import PatientHeader

_NUMBER = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)
MOST_CHARACTERS = 200_000
"""Of one field; a report is the longest."""


@dataclass(frozen=True)
class Entry:
    """One field of the form. choices: of a category; units: of a number, its own first."""

    name: str
    kind: Literal["category", "number", "text", "line"]
    label: str
    hint: str = ""
    choices: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    required: bool = True


@dataclass(frozen=True)
class Checked:
    """What there is to say of a record.

    fields: field -> what is wrong with it. problems: with the whole. warnings: what contradicts the study's header.
    """

    fields: dict[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def is_refused(self) -> bool:
        """Whether no answer would be made with it."""
        return bool(self.fields or self.problems)


def entries_of(manifests: Iterable[Manifest]) -> list[Entry]:
    """The fields that these networks read, each once, as their manifests have them."""
    found: dict[str, Entry] = {}
    for manifest in manifests:
        table, text = manifest.table, manifest.text
        for one in () if table is None else table.fields:
            found.setdefault(fold(one.name), _entry(one))
        for name in () if text is None else text.fields:
            needed = text is not None and text.missing == "refuse" and len(text.fields) == 1
            found.setdefault(fold(name), Entry(name, "text", name, "Text of the report.", required=needed))
        if manifest.lesion_field is not None:
            hint = "First and last slice of the lesion, counted from 1 at the feet, such as 40-52."
            found.setdefault(
                fold(manifest.lesion_field),
                Entry(manifest.lesion_field, "line", manifest.lesion_field, hint, required=False),
            )
    return list(found.values())


def document_of(entries: Sequence[Entry], typed: Mapping[str, str], units: Mapping[str, str]) -> dict[str, Any]:
    """The flat record that was typed: without what is empty; what is no number stays text, for the engine to refuse.

    Args:
        typed: by name of the field, and the patient's ID. units: in which a number was typed, where one was chosen.
    """
    document: dict[str, Any] = {}
    if typed.get(PATIENT_ID_KEY, "").strip():
        document[PATIENT_ID_KEY] = typed[PATIENT_ID_KEY].strip()
    for one in entries:
        given = typed.get(one.name, "").strip()[:MOST_CHARACTERS]
        if not given:
            continue
        value: Any = given
        if one.kind == "number" and _NUMBER.fullmatch(given):
            value = float(given) if "." in given else int(given)
            unit = units.get(one.name, "")
            if unit and one.units and unit != one.units[0]:
                value = {"value": value, "unit": unit}
        document[one.name] = value
    return document


def encoded(document: Mapping[str, Any]) -> bytes:
    """As it is kept."""
    return json.dumps(document, ensure_ascii=False, indent=2).encode()


def check_record(document: Mapping[str, Any], manifests: Iterable[Manifest], patient: PatientHeader) -> Checked:
    """What each of these networks says of it, with the words of the engine.

    Args:
        patient: of the study, as its header has it.
    """
    fields: dict[str, str] = {}
    problems: list[str] = []
    warnings: list[str] = []
    for manifest in manifests:
        try:
            found = read_record(
                encoded(document),
                manifest.table,
                text=manifest.text,
                lesion=manifest.lesion_field,
                study_date=patient.study_date,
            )
        except RecordError as refusal:
            fields = {**refusal.fields, **fields}
            problems += [] if refusal.fields else [refusal.problem]
            continue
        text = manifest.text
        if text is not None and text.missing == "refuse" and not (found.report or "").strip():
            fields.setdefault(text.fields[0], "missing, and this network does not answer without it")
        try:
            compare_identity(found.patient_ids, manifest, patient)
        except RecordError as refusal:
            fields.setdefault(PATIENT_ID_KEY, refusal.problem)
        except MmcafError as refusal:
            problems.append(refusal.problem)
        warnings += contradictions(found, manifest.table, replace(patient, contradicting=()))  # What nobody can type.
    return Checked(fields, tuple(dict.fromkeys(problems)), tuple(dict.fromkeys(warnings)))


def _entry(one: TableField) -> Entry:
    imputed = one.missing.value if isinstance(one.missing, Impute) else None
    empty = "" if imputed is None else f" If it is left empty, {imputed} is used."
    if isinstance(one, CategoryField):
        hint = f"One of {', '.join(one.categories)}.{empty}"
        return Entry(one.name, "category", one.description, hint, tuple(one.categories), required=imputed is None)
    return _number_entry(one, empty, imputed is None)


def _number_entry(one: NumberField, empty: str, required: bool) -> Entry:
    hint = f"A number from {one.minimum:g} to {one.maximum:g} {one.unit}.{empty}"
    return Entry(one.name, "number", one.description, hint, units=(one.unit, *one.units), required=required)
