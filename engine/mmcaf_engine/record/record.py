"""The clinical record: JSON or a report in, validated and scaled features and the report's text out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RecordError, Remedy
from ..manifest import Impute, TableField, TableSpec, TextSpec
from ..volume import PatientHeader
from .csv_rows import Choice, Columns
from .document import RecordSource, Seen, read_document
from .encode import PATIENT_ID_KEY, UnusableValueError, encode, field_key, fold, json_type
from .fhir import flatten_fhir
from .notes import Notes
from .report import read_report
from .slices import NamedSlices, read_named

AGE_TOLERANCE_YEARS = 1.0
"""A birthday between the record and the study is no contradiction."""
WEIGHT_TOLERANCE = 0.1
"""Record and header weight may differ by this share before it is remarked on."""

MAX_SHOWN_KEYS, MAX_SHOWN_KEY = 5, 40
"""Unknown keys that a warning names, and characters of each."""


@dataclass(frozen=True)
class Record:
    """A validated record.

    values: field name -> category or number, in the record's own terms, after synonyms and imputation.
    features: field name -> the scaled number that the network sees, in the manifest's order.
    missing: fields that were absent and imputed.
    cuts: a cut's condition -> 1.0 where it holds, else 0.0; in the manifest's order.
    report: the report's text, None if the record holds none.
    lesion: the slices of the lesion; None if the record names none.
    former_ids: identifiers that its patient no longer has. warnings: on what contradicts or was imputed; remarks: on
        what is absent or was passed over.
    """

    values: dict[str, float | str] = field(repr=False)
    features: dict[str, float] = field(repr=False)
    missing: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    patient_ids: tuple[str, ...] = field(default=(), repr=False)
    cuts: dict[str, float] = field(default_factory=dict, repr=False)
    report: str | None = field(default=None, repr=False)
    former_ids: tuple[str, ...] = field(default=(), repr=False)
    remarks: tuple[str, ...] = ()
    lesion: NamedSlices | None = None

    def table(self) -> NDArray[np.float32]:
        """The network's table input, float32 [1, F + cuts]."""
        return np.array([[*self.features.values(), *self.cuts.values()]], dtype=np.float32)


def read_record(
    source: RecordSource,
    spec: TableSpec | None,
    *,
    text: TextSpec | None = None,
    lesion: str | None = None,
    study_date: date | None = None,
    choice: Choice | None = None,
    seen: Seen | None = None,
) -> Record:
    """Validate a flat record, of JSON or of a row of CSV, an HL7 FHIR R4 Bundle, or a report where it is all.

    Args:
        source: path of a JSON file, of a CSV table, or of a text file whose name ends in .txt; or what such a file of
            JSON or CSV holds, or the parsed object.
        spec: the manifest's `table`.
        text: the manifest's `text`.
        lesion: the manifest's `lesion_field`.
        study_date: when the study was made; the age of a FHIR Patient is that of this day.
        choice: which row of a table.
        seen: given the bytes of what was read; see `document.read_document`.

    Raises:
        RecordError: not JSON, not an object, or any field missing, unknown in its category, not a
            finite number, or outside its plausible range; one error names every such field. A report that is no text,
            or comes alone where a table is needed.
    """
    fields = () if spec is None else spec.fields
    if text is not None and isinstance(source, str | Path) and Path(source).suffix.lower() == ".txt":
        if spec is not None:
            raise RecordError(
                f"{source}: a report alone; this network also needs {', '.join(entry.name for entry in fields)}.",
                Remedy("Pass these in a JSON record, and this file beside it", option="report", value=str(source)),
            )
        return Record({}, {}, report=read_report(Path(source), seen))
    name = str(source) if isinstance(source, str | Path) else "record"
    document, remarks = read_document(source, _columns(fields, spec, text, lesion), choice or Choice(), seen)
    if not isinstance(document, dict):
        raise RecordError(
            f"{name}: a {json_type(document)} at the top; one JSON object with the fields "
            f"{', '.join([*(entry.name for entry in fields), *(text.fields if text else ())])} was expected."
        )
    if "resourceType" in document:
        found = flatten_fhir(document, fields, name=name, study_date=study_date, with_report=text is not None)
        record = _validate(found.values, fields, name, found.patient_ids, found.notes)
        return replace(record, report=found.report, former_ids=found.former_ids)
    given = _by_folded_key({key: value for key, value in document.items() if key != "$schema"}, name)
    patient_ids = _patient_id(given.pop(PATIENT_ID_KEY, None), name)
    for ignored in () if spec is None else spec.ignored:
        given.pop(fold(ignored), None)
    report, lacking = _report(given, text, name)
    slices, problems = _lesion(given, lesion)
    notes = Notes(list(lacking), list(remarks))
    return replace(_validate(given, fields, name, patient_ids, notes, problems), report=report, lesion=slices)


def _lesion(given: dict[str, Any], field: str | None) -> tuple[NamedSlices | None, dict[str, UnusableValueError]]:
    """The slices of the lesion, taken out of the record, and why they cannot be used."""
    raw = None if field is None else given.pop(fold(field), None)
    if field is None or raw is None:
        return None, {}
    try:
        return read_named(raw), {}
    except UnusableValueError as reason:
        return None, {field: reason}


def _columns(
    fields: Sequence[TableField], spec: TableSpec | None, text: TextSpec | None, lesion: str | None
) -> Columns:
    """What a table of records may hold."""
    numbers = {fold(entry.name) for entry in fields if entry.kind == "number"}
    others = [*(entry.name for entry in fields), *(text.fields if text else ()), *(spec.ignored if spec else ())]
    others += [] if lesion is None else [lesion]
    return Columns(frozenset(numbers), frozenset(map(fold, others)) - numbers)


def _report(given: dict[str, Any], text: TextSpec | None, name: str) -> tuple[str | None, tuple[str, ...]]:
    """The text fields, taken out of the record and joined, and which of several are not there."""
    fields = () if text is None else text.fields
    found = {entry: given.pop(fold(entry), None) for entry in fields}
    for entry, value in found.items():
        if value is not None and not isinstance(value, str):
            raise RecordError(f"{name}: {entry} is a {json_type(value)}; a string was expected.")
    held = {entry: value for entry, value in found.items() if value is not None}
    lacking = [entry for entry in found if entry not in held]
    if not held:
        return None, ()
    remark = f"{' and '.join(lacking)} not in the record; the report was read without."
    return " ".join(held.values()), (remark,) if lacking else ()


def _validate(
    given: dict[str, Any],
    fields: Sequence[TableField],
    name: str,
    patient_ids: tuple[str, ...],
    notes: Notes,
    unusable: Mapping[str, UnusableValueError] = MappingProxyType({}),
) -> Record:
    values: dict[str, float | str] = {}
    features: dict[str, float] = {}
    cuts: dict[str, float] = {}
    missing: list[str] = []
    warnings = list(notes.warnings)
    problems = dict(unusable)
    for entry in fields:
        raw = given.pop(fold(entry.name), None)
        try:
            if raw is None:
                raw = _imputed(entry)
                missing.append(entry.name)
                warnings.append(f"{entry.name} is not in the record; {raw} was used instead.")
            values[entry.name], features[entry.name], own = encode(entry, raw)
            if entry.cut is not None:
                cuts[entry.cut.condition(entry.name)] = entry.cut.indicator(own)
        except UnusableValueError as reason:
            problems[entry.name] = reason
    strange = _strange(given)
    warnings += strange
    if problems:
        count = "one field is" if len(problems) == 1 else f"{len(problems)} fields are"
        why = Notes([*strange, *notes.warnings], notes.remarks).explain()
        said = "; ".join(f"{field}: {reason}" for field, reason in problems.items())
        discreet = "; ".join(f"{field}: {reason.discreet}" for field, reason in problems.items())
        raise RecordError(
            f"{name}: {count} not usable. {said}. {why}",
            "Correct the record and run again.",
            discreet=f"{name}: {count} not usable. {discreet}.",
            fields={field: str(reason) for field, reason in problems.items()},
        )
    return Record(values, features, tuple(missing), tuple(warnings), patient_ids, cuts, remarks=tuple(notes.remarks))


def _strange(given: dict[str, Any]) -> list[str]:
    """A warning that names the keys of a record that mean nothing to the network."""
    if not given:
        return []
    named = ", ".join(repr(key[:MAX_SHOWN_KEY]) for key in sorted(given)[:MAX_SHOWN_KEYS])
    more = f" and {len(given) - MAX_SHOWN_KEYS} more" if len(given) > MAX_SHOWN_KEYS else ""
    return [f"the record's {named}{more} mean nothing to this network; ignored."]


def contradictions(record: Record, spec: TableSpec | None, header: PatientHeader) -> tuple[str, ...]:
    """Compare the record with the study's header: PatientSex (0010,0040), PatientAge (0010,1010) and
    PatientWeight (0010,1030).

    Returns:
        Warnings, which name no value.
    """
    warnings: list[str] = []
    if header.contradicting and spec is not None:
        warnings.append(f"the study's {' and '.join(header.contradicting)} contradict each other.")
    for entry in () if spec is None else spec.fields:
        if entry.dicom is None or entry.name in record.missing:
            continue
        value = record.values[entry.name]
        if _contradicts(entry, value, header):
            warnings.append(f"the record's {entry.name} contradicts the study's {entry.dicom}.")
    return tuple(warnings)


def not_compared(header: PatientHeader) -> tuple[str, ...]:
    """A remark on what the study's header says and nobody can read."""
    if not header.unread:
        return ()
    return (f"values of the study that cannot be read were not compared with the record: {', '.join(header.unread)}.",)


def _contradicts(entry: TableField, value: float | str, header: PatientHeader) -> bool:
    if entry.dicom == "PatientSex":
        return header.sex is not None and value != header.sex
    if isinstance(value, str):
        return False
    if entry.dicom == "PatientAge":
        return header.age is not None and abs(value - header.age) > AGE_TOLERANCE_YEARS
    return header.weight is not None and abs(value - header.weight) > WEIGHT_TOLERANCE * header.weight


def _imputed(entry: TableField) -> float | str:
    if isinstance(entry.missing, Impute):
        return entry.missing.value
    raise UnusableValueError("missing, and this network does not answer without it")


def _patient_id(raw: Any, name: str) -> tuple[str, ...]:
    if raw is None:
        return ()
    if isinstance(raw, bool) or not isinstance(raw, str | int):
        raise RecordError(f"{name}: patient_id is a {json_type(raw)}; a string was expected.")
    identifier = str(raw).strip()
    return (identifier,) if identifier else ()


def _by_folded_key(document: dict[str, Any], name: str) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for key, value in document.items():
        folded = field_key(key)
        if folded in given:
            raise RecordError(
                f"{name}: two keys spell the same field: {key!r}.",
                "Keep one of them.",
                discreet=f"{name}: two keys spell the same field.",
            )
        given[folded] = value
    return given
