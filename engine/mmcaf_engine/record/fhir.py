"""HL7 FHIR R4: a Bundle with one Patient, Observations and a DiagnosticReport becomes a flat record.

Which resource holds which field is declared in the manifest; see FHIR R4 sections 2.36 (Bundle), 8.1 (Patient) and
10.1 (Observation). Observations within others are found by `fhir_within`; the report, if the network reads one, by
`fhir_report`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from ..cancel import check
from ..errors import RecordError, printable
from ..manifest import FhirObservation, TableField
from .codings.tables import Question, Table, question_of, system_of
from .fhir_about import focus_of, other_question, several_tumours, site_of
from .fhir_bundle import Entry, Resource, listed, read_bundle
from .fhir_latest import Value, latest_value
from .fhir_report import USABLE_REPORTS, find_report
from .fhir_shape import fit
from .fhir_subject import Subject
from .fhir_values import contradict, read_value
from .fhir_within import Observed, contained_observations, with_components
from .notes import Notes

USABLE_STATUS = ("final", "amended", "corrected", "registered", "preliminary")
"""Observation.status; entered-in-error, cancelled and unknown are left out."""


_BIRTH = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?", re.ASCII)


@dataclass(frozen=True)
class FlatRecord:
    """What the flat record would hold.

    values: by field name. patient_ids: every Patient.identifier value that the patient has; former_ids: those that it
    had before. notes: what there is to say of it. report: the report's text, if it was asked for.
    """

    values: dict[str, Any] = field(repr=False)
    patient_ids: tuple[str, ...] = field(repr=False)
    former_ids: tuple[str, ...] = field(default=(), repr=False)
    notes: Notes = field(default_factory=Notes)
    report: str | None = field(default=None, repr=False)


def flatten_fhir(
    document: Resource, fields: Sequence[TableField], *, name: str, study_date: date | None, with_report: bool = False
) -> FlatRecord:
    """Find the table's fields, and the report, in a FHIR R4 Bundle.

    Args:
        document: the parsed Bundle.
        fields: of the manifest's table; one without `fhir` is missing from the outcome.
        name: how messages call the record.
        study_date: the day at which the age is reckoned, and after which nothing that was observed counts.
        with_report: whether the network reads a report.

    Raises:
        RecordError: not a Bundle, no or several Patients, an age without a study date, or a report that is no text.
    """
    notes = Notes()
    entries = read_bundle(document, name, notes)
    subject = Subject(entries, name)
    if found := fit(subject.resource).wrong:
        notes.warnings.append(f"the record's Patient: {found} is not of the type that FHIR R4 gives it.")
    notes.warnings += subject.doubts(study_date)
    observed = [*entries, *contained_observations(entries, notes)]
    own = _own(observed, "Observation", subject, notes)
    observations = _by_code(with_components(own, notes), notes)
    report = None
    if with_report:
        reports = [entry.resource for entry in _own(entries, "DiagnosticReport", subject, notes)]
        report = find_report(reports, name, study_date, notes)
    values: dict[str, Any] = {}
    stages: list[Value] = []
    for entry in fields:
        value = _find(entry, subject.resource, observations, name, study_date, notes, stages)
        if value is not None:
            values[entry.name] = value
    if told := several_tumours(stages):
        notes.warnings.append(told)
    current, former = subject.identifiers(study_date)
    return FlatRecord(values, current, former, notes, report)


_ByCode = dict[tuple[str, str], list[Observed]]


def _by_code(observations: Iterable[Observed], notes: Notes) -> _ByCode:
    """(terminology, code) -> the observations with this code, in their order; a code without a system is of LOINC."""
    found: _ByCode = {}
    nameless = 0
    for one in observations:
        concept = one.resource.get("code")
        codings = listed(concept, "coding") if isinstance(concept, dict) else []
        nameless += not any(coding.get("code") for coding in codings)
        for key in {(system_of(coding.get("system")) or "loinc", str(coding.get("code"))) for coding in codings}:
            found.setdefault(key, []).append(one)
    if nameless:
        notes.remarks.append(f"{nameless} observation(s) in the record have no code, and were passed over.")
    return found


def _own(entries: Sequence[Entry], kind: str, subject: Subject, notes: Notes) -> list[Entry]:
    """The usable resources of a kind that are the patient's."""
    what = "observation" if kind == "Observation" else "report"
    formed = _of_shape([entry for entry in entries if entry.kind == kind], what, notes)
    every = [entry for entry in formed if all(map(_is_usable, _around(entry)))]
    given = [entry for entry in every if not any(one.resource.get("modifierExtension") for one in _around(entry))]
    if len(given) < len(every):
        notes.warnings.append(
            f"{len(every) - len(given)} {what}(s) in the record were left out: each has a modifierExtension, which may "
            "turn it into its opposite."
        )
    own = [entry for entry in given if subject.owns(entry)]
    if len(own) < len(given):
        notes.warnings.append(
            f"{len(given) - len(own)} {what}(s) in the record refer to another patient and were left out."
        )
    return own


def _of_shape(entries: Sequence[Entry], what: str, notes: Notes) -> list[Entry]:
    """Those whose elements are of the types that FHIR gives them."""
    fits = [fit(entry.resource) for entry in entries]
    if wrong := [one.wrong for one in fits if one.wrong]:
        notes.warnings.append(
            f"{len(wrong)} {what}(s) in the record were left out: {wrong[0]} is not of the type that FHIR R4 gives it."
        )
    if strange := [one.strange for one in fits if one.strange and not one.wrong]:
        notes.remarks.append(
            f"{len(strange)} {what}(s) in the record hold an element that FHIR R4 does not have, first {strange[0]}."
        )
    return [entry for entry, one in zip(entries, fits, strict=True) if not one.wrong]


def _around(entry: Entry) -> tuple[Entry, ...]:
    """A resource and what contains it."""
    return (entry,) if entry.holder is None else (entry, entry.holder)


def _is_usable(entry: Entry) -> bool:
    """Whether its status is usable, or not said."""
    usable = USABLE_REPORTS if entry.kind == "DiagnosticReport" else USABLE_STATUS
    return entry.resource.get("status", "final") in usable


def _find(
    entry: TableField,
    patient: Resource,
    observations: _ByCode,
    name: str,
    study_date: date | None,
    notes: Notes,
    stages: list[Value],
) -> Any:
    """A field's value; what there is of T, N and M is added to `stages`."""
    source = entry.fhir
    if source is None:
        return None
    if isinstance(source, FhirObservation):
        return _observed(entry, source, observations, study_date, notes, stages)
    if source.element == "gender":
        gender = patient.get("gender")
        if gender in ("other", "unknown"):
            notes.remarks.append(f"the record's Patient.gender is {gender}, which counts as missing.")
            return None
        return gender
    return _age(patient.get("birthDate"), name, study_date, notes)


def _observed(
    entry: TableField,
    source: FhirObservation,
    observations: _ByCode,
    study_date: date | None,
    notes: Notes,
    stages: list[Value],
) -> Any:
    """The latest value under the first of the codes that has one."""
    found: list[Value] = []
    for code in source.codes:
        asked = question_of(code)
        values = _values(entry, source, asked, observations, notes, told=not found)
        stages += values if asked[0].letter else []
        taken = latest_value(entry, code, asked[1], values, study_date, notes, told=not found)
        found += [] if taken is None else [taken]
    if not found:
        return None
    first = found[0]
    differing = [other.code for other in found[1:] if contradict(entry, other.reading.value, first.reading.value)]
    if differing:
        notes.warnings.append(
            f"{entry.name} was taken from LOINC {first.code}; the record has another value under "
            f"{', '.join(differing)}."
        )
    if first.reading.doubt:
        notes.warnings.append(f"{entry.name}: {first.reading.doubt}.")
    if first.reading.note:
        notes.remarks.append(f"{entry.name}: {first.reading.note}.")
    return first.reading.value


def _values(
    entry: TableField,
    source: FhirObservation,
    asked: tuple[Question, Table],
    observations: _ByCode,
    notes: Notes,
    *,
    told: bool,
) -> list[Value]:
    """Every value that answers a question, in the order of the Bundle.

    What is not taken is told: as a warning, or where a preferred question has an answer already, as a remark.
    """
    question = asked[0]
    keys = [("loinc", question.loinc), *(("snomed", code) for code in question.same)]
    keys += [("loinc", code) for code in question.also if code not in source.codes]
    answering = {id(one): one for key in keys for one in observations.get(key, ())}
    refused: Counter[str] = Counter()
    absent: Counter[str] = Counter()
    values = []
    for one in answering.values():
        check()
        reading = read_value(entry, source, asked, one.resource)
        if reading.value is not None and one.refused:
            refused[one.refused] += 1
        elif reading.value is not None:
            if other := other_question(one.resource, question):
                doubt = f"its observation also has the LOINC code {printable(other, 20)}, which asks another question"
                reading = replace(reading, doubt=reading.doubt or doubt)
            about = focus_of(one.entry.resource), site_of(one.entry.resource)
            values.append(Value(question.loinc, reading, one.entry.dated, *about))
        elif reading.refused:
            refused[reading.refused] += 1
        else:
            absent[reading.absent] += 1
    left_out = notes.warnings if told else notes.remarks
    left_out += [f"{count} observation(s) of {entry.name} were left out: each {why}." for why, count in refused.items()]
    notes.remarks += [
        f"{count} observation(s) of {entry.name} {what}, and were passed over." for what, count in absent.items()
    ]
    return values


def _age(birth: Any, name: str, study_date: date | None, notes: Notes) -> float | None:
    """Completed years on the day of the study. FHIR dates may lack the day or the month."""
    if birth is None:
        return None
    if study_date is None:
        raise RecordError(
            f"{name}: the age is to be reckoned from the birth date, but the study has no StudyDate (0008,0020).",
            "Pass a flat JSON record with the age.",
        )
    found = _BIRTH.fullmatch(str(birth))
    given = [int(part) for part in found.groups() if part is not None] if found else []
    try:
        born = date(given[0], given[1] if len(given) > 1 else 7, given[2] if len(given) > 2 else 1)
    except (ValueError, IndexError):
        raise RecordError(f"{name}: Patient.birthDate is no FHIR date (YYYY, YYYY-MM or YYYY-MM-DD).") from None
    if len(given) < 3:
        notes.warnings.append("the record's birth date is incomplete; the age may be off by a year.")
    before_birthday = (study_date.month, study_date.day) < (born.month, born.day)
    return float(study_date.year - born.year - before_birthday)
