"""HL7 FHIR R4: a Bundle with one Patient, Observations and a DiagnosticReport becomes a flat record.

Which resource holds which field is declared in the manifest; see FHIR R4 sections 2.36 (Bundle), 8.1 (Patient) and
10.1 (Observation). The report, if the network reads one, is `fhir_report`'s.
"""

import re
from calendar import monthrange
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from ..errors import RecordError
from ..manifest import FhirObservation, TableField
from .fhir_report import USABLE_REPORTS, Resource, find_report

LOINC = "http://loinc.org"
USABLE_STATUS = ("final", "amended", "corrected", "registered", "preliminary")
"""Observation.status; entered-in-error, cancelled and unknown are left out."""

_DATE = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2})(?:T.*)?)?)?")
"""Year, month and day of a FHIR date or dateTime, of which the last may be absent."""


@dataclass(frozen=True)
class FlatRecord:
    """What the flat record would hold.

    values: by field name. patient_ids: every Patient.identifier value. report: the report's text, if it was asked for.
    """

    values: dict[str, Any] = field(repr=False)
    patient_ids: tuple[str, ...] = field(repr=False)
    warnings: tuple[str, ...] = ()
    report: str | None = field(default=None, repr=False)


def flatten_fhir(
    document: Resource, fields: Sequence[TableField], *, name: str, study_date: date | None, with_report: bool = False
) -> FlatRecord:
    """Find the table's fields, and the report, in a FHIR R4 Bundle.

    Args:
        document: the parsed Bundle.
        fields: of the manifest's table; one without `fhir` is missing from the outcome.
        name: how messages call the record.
        study_date: the day at which the age is reckoned.
        with_report: whether the network reads a report.

    Raises:
        RecordError: not a Bundle, no or several Patients, an age without a study date, or a report that is no text.
    """
    if document.get("resourceType") != "Bundle":
        kind = str(document.get("resourceType"))[:40]
        raise RecordError(f"{name}: a FHIR {kind}; a FHIR R4 Bundle with a Patient and Observations was expected.")
    entries = document.get("entry")
    pairs = [
        (str(entry.get("fullUrl", "")), entry["resource"])
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict) and isinstance(entry.get("resource"), dict)
    ]
    patients = [(url, resource) for url, resource in pairs if resource.get("resourceType") == "Patient"]
    if len(patients) != 1:
        raise RecordError(
            f"{name}: the FHIR Bundle holds {len(patients)} Patient resources; exactly one was expected.",
            "Export the record of one patient.",
        )
    url, patient = patients[0]
    warnings: list[str] = []
    observations = list(_own(pairs, "Observation", USABLE_STATUS, url, patient, warnings))
    report = None
    if with_report:
        reports = list(_own(pairs, "DiagnosticReport", USABLE_REPORTS, url, patient, warnings))
        report = find_report(reports, name, warnings)
    values: dict[str, Any] = {}
    for entry in fields:
        value = _find(entry, patient, observations, name, study_date, warnings)
        if value is not None:
            values[entry.name] = value
    identifiers = tuple(
        str(identifier["value"]).strip() for identifier in _list(patient, "identifier") if "value" in identifier
    )
    return FlatRecord(values, identifiers, tuple(warnings), report)


def _find(
    entry: TableField,
    patient: Resource,
    observations: list[Resource],
    name: str,
    study_date: date | None,
    warnings: list[str],
) -> Any:
    source = entry.fhir
    if source is None:
        return None
    if isinstance(source, FhirObservation):
        return _observed(entry, source, observations, study_date, warnings)
    if source.element == "gender":
        gender = patient.get("gender")
        return None if gender in ("other", "unknown") else gender
    return _age(patient.get("birthDate"), name, study_date, warnings)


def _observed(
    entry: TableField,
    source: FhirObservation,
    observations: list[Resource],
    study_date: date | None,
    warnings: list[str],
) -> Any:
    """The latest value under the first of the codes that has one."""
    found = [(code, observation) for code in source.codes if (observation := _latest(code, observations)) is not None]
    held = [
        (code, observation, value) for code, observation in found if (value := _value(observation, source)) is not None
    ]
    if not held:
        return None
    code, observation, taken = held[0]
    if any(value != taken for _, _, value in held[1:]):
        others = ", ".join(code for code, _, _ in held[1:])
        warnings.append(f"{entry.name} was taken from LOINC {code}; the record has another value under {others}.")
    days = _days_before(observation.get("effectiveDateTime"), study_date)
    if entry.max_age_days is not None and days is not None and days > entry.max_age_days:
        warnings.append(
            f"{entry.name} was observed {days} days before the study (LOINC {code}); at most {entry.max_age_days} are "
            "expected."
        )
    return taken


def _days_before(observed: Any, study_date: date | None) -> int | None:
    """Days from an observation to the study, the fewest that its date allows; None where either is not known.

    FHIR dates may lack the day or the month, and may have a time (R4 2.24.0.1).
    """
    given = _DATE.fullmatch(str(observed))
    if study_date is None or given is None:
        return None
    year, month = int(given[1]), int(given[2] or 12)
    try:
        latest = date(year, month, int(given[3] or monthrange(year, month)[1]))
    except ValueError:
        return None
    return (study_date - latest).days


def _latest(code: str, observations: list[Resource]) -> Resource | None:
    """Of the observations with this LOINC code, the last by effective date, then by place in the Bundle."""
    wanted = (code, LOINC)
    matching = [
        observation
        for observation in observations
        if any((coding.get("code"), coding.get("system", LOINC)) == wanted for coding in _codings(observation, "code"))
    ]
    return max(reversed(matching), key=lambda each: str(each.get("effectiveDateTime", "")), default=None)


def _value(observation: Resource, source: FhirObservation) -> Any:
    quantity = observation.get("valueQuantity")
    if isinstance(quantity, dict) and "value" in quantity:
        unit = quantity.get("code") or quantity.get("unit")
        return quantity["value"] if unit is None else {"value": quantity["value"], "unit": unit}
    concept = observation.get("valueCodeableConcept")
    if isinstance(concept, dict):
        codings = _codings(observation, "valueCodeableConcept")
        for coding in codings:
            if coding.get("code") in source.answers:
                return source.answers[coding["code"]]
        spelled = [concept.get("text"), *(coding.get(key) for coding in codings for key in ("display", "code"))]
        return next((text for text in spelled if isinstance(text, str) and text), None)
    for key in ("valueString", "valueInteger"):
        if key in observation:
            return observation[key]
    return None


def _own(
    pairs: list[tuple[str, Resource]],
    kind: str,
    usable: tuple[str, ...],
    url: str,
    patient: Resource,
    warnings: list[str],
) -> Iterator[Resource]:
    """The usable resources of a kind whose subject is the patient, or nobody."""
    own = {url, f"Patient/{patient.get('id')}", f"#{patient.get('id')}"} - {""}
    foreign = 0
    for _, resource in pairs:
        if resource.get("resourceType") != kind or resource.get("status", "final") not in usable:
            continue
        subject = resource.get("subject")
        reference = subject.get("reference") if isinstance(subject, dict) else None
        if reference is None or reference in own or str(reference).endswith(f"/Patient/{patient.get('id')}"):
            yield resource
        else:
            foreign += 1
    if foreign:
        what = "observation" if kind == "Observation" else "report"
        warnings.append(f"{foreign} {what}(s) in the record refer to another patient and were left out.")


def _age(birth: Any, name: str, study_date: date | None, warnings: list[str]) -> float | None:
    """Completed years on the day of the study. FHIR dates may lack the day or the month."""
    if birth is None:
        return None
    if study_date is None:
        raise RecordError(
            f"{name}: the age is to be reckoned from the birth date, but the study has no StudyDate (0008,0020).",
            "Pass a flat JSON record with the age.",
        )
    parts = str(birth).split("-")
    try:
        given = [int(part) for part in parts]
        born = date(given[0], given[1] if len(given) > 1 else 7, given[2] if len(given) > 2 else 1)
    except (ValueError, IndexError):
        raise RecordError(f"{name}: Patient.birthDate is no FHIR date (YYYY, YYYY-MM or YYYY-MM-DD).") from None
    if len(given) < 3:
        warnings.append("the record's birth date is incomplete; the age may be off by a year.")
    before_birthday = (study_date.month, study_date.day) < (born.month, born.day)
    return float(study_date.year - born.year - before_birthday)


def _codings(resource: Resource, key: str) -> list[Resource]:
    concept = resource.get(key)
    return _list(concept, "coding") if isinstance(concept, dict) else []


def _list(resource: Resource, key: str) -> list[Resource]:
    found = resource.get(key)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
