"""A FHIR Bundle that is not all there is, or no longer stands; and observations that may be of something else."""

from datetime import date
from typing import Any

import pytest

from engine.record.test_fhir_bundle import PATIENT, kilograms, read
from engine.record.test_fhir_lookup import LOINC, STUDY, weight
from mmcaf_engine.errors import RecordError
from mmcaf_engine.manifest import TableField, TableSpec
from mmcaf_engine.record.fhir import FlatRecord, flatten_fhir
from refusals import refused

STAGES: tuple[TableField, ...] = TableSpec.model_validate(
    {
        "fields": [
            {
                "kind": "category",
                "name": name,
                "description": name,
                "categories": {"1": 1, "2": 2},
                "fhir": {"resource": "Observation", "codes": [code]},
            }
            for name, code in (("t", "21905-5"), ("n", "21906-3"))
        ]
    }
).fields
WEIGHT = {"resource": weight(70, "2024-03-01")}
INCLUDED = {"resource": {"resourceType": "Practitioner"}, "search": {"mode": "include"}}


def outcome(severity: str, code: str = "processing") -> dict[str, Any]:
    resource = {"resourceType": "OperationOutcome", "issue": [{"severity": severity, "code": code}]}
    return {"resource": resource, "search": {"mode": "outcome"}}


@pytest.mark.parametrize(
    ("more", "entries", "warning"),
    [
        ({"link": [{"relation": "next", "url": "https://a.example/fhir?page=2"}]}, [], "one page of several"),
        ({"type": "searchset", "total": 3}, [], "holds 2 of the 3"),
        ({"type": "searchset", "total": 3}, [INCLUDED, outcome("warning")], "holds 2 of the 3"),
        ({}, [outcome("error")], "could not give all"),
        ({}, [outcome("information", "incomplete")], "could not give all"),
    ],
    ids=["next", "total", "included-do-not-count", "error", "incomplete"],
)
def test_a_bundle_that_is_not_all_says_so(more: dict[str, Any], entries: list[dict[str, Any]], warning: str) -> None:
    found = read(WEIGHT, *entries, **more)
    assert kilograms(found) == 70 and [warning in text for text in found.notes.warnings] == [True]


@pytest.mark.parametrize(
    "more",
    [
        {"link": [{"relation": "self", "url": "https://a.example/fhir"}, {"relation": "previous"}]},
        {"type": "searchset", "total": 2},
        {"type": "collection", "total": 9},
        {"link": "next", "total": "9", "type": "searchset"},
    ],
    ids=["other-links", "all", "no-search", "no-fhir"],
)
def test_a_bundle_that_is_all_is_not_doubted(more: dict[str, Any]) -> None:
    assert read(WEIGHT, outcome("warning"), INCLUDED, **more).notes.warnings == []


def test_a_document_that_was_entered_in_error_is_refused() -> None:
    def document(status: str) -> FlatRecord:
        entries = [{"resource": {"resourceType": "Composition", "status": status}}, {"resource": PATIENT}, WEIGHT]
        return flatten_fhir({"resourceType": "Bundle", "entry": entries}, (), name="record", study_date=STUDY)

    assert document("final").patient_ids == ("A-1",)
    with refused(RecordError, "entered in error"):
        document("entered-in-error")


@pytest.mark.parametrize("kind", ["transaction", "batch", "history"])
def test_what_an_entry_deletes_does_not_count(kind: str) -> None:
    gone = {"resource": weight(50, "2024-03-10", id="w"), "request": {"method": "DELETE", "url": "Observation/w"}}
    found = read(WEIGHT, gone, type=kind)
    assert kilograms(found) == 70 and found.notes.warnings == []


@pytest.mark.parametrize(
    ("patient", "warning"),
    [
        ({"active": False}, "no longer in use"),
        ({"active": True}, ""),
        ({"deceasedDateTime": "2024-03-10"}, "died 5 days before the study"),
        ({"deceasedDateTime": "2024-03"}, ""),
        ({"deceasedDateTime": "2024-03-15"}, ""),
        ({"deceasedBoolean": True}, ""),
    ],
    ids=["inactive", "active", "died-before", "died-that-month", "died-that-day", "died-sometime"],
)
def test_a_patient_who_contradicts_the_study_is_warned_of(patient: dict[str, Any], warning: str) -> None:
    warnings = read(WEIGHT, patient={**PATIENT, **patient}).notes.warnings
    assert len(warnings) == bool(warning) and all(warning in text for text in warnings)


def test_an_observation_of_two_values_has_none() -> None:
    found = read({"resource": weight(70, "2024-03-10", valueString="80 kg")}, {"resource": weight(60, "2024-03-01")})
    assert kilograms(found) == 60 and "2 values" in found.notes.warnings[0]


def test_a_unit_that_is_not_known_beside_a_code_is_told() -> None:
    """The number may be in either."""
    quantity = {"value": 154, "unit": "Pfund", "code": "kg", "system": "http://unitsofmeasure.org"}
    found = read({"resource": weight(None, "2024-03-01", valueQuantity=quantity)})
    assert kilograms(found) == 154 and "its unit is not known here, and its code kg was" in found.notes.warnings[0]
    assert "Pfund" not in found.notes.warnings[0]


@pytest.mark.parametrize(
    ("other", "told"),
    [({"system": LOINC, "code": "8339-4"}, True), ({"system": LOINC, "code": "8335-2"}, False)]
    + [({"system": LOINC, "code": "3141-9"}, False), ({"system": "urn:own", "code": "8339-4"}, False)],
    ids=["birth-weight", "estimated", "the-same", "of-another-terminology"],
)
def test_a_second_code_that_asks_something_else_is_told(other: dict[str, Any], told: bool) -> None:
    asked = {"coding": [{"system": LOINC, "code": "29463-7"}, other]}
    found = read({"resource": weight(70, "2024-03-01") | {"code": asked}})
    assert kilograms(found) == 70
    assert ["8339-4, which asks another question" in text for text in found.notes.warnings] == [True] * told


def staged(*stages: tuple[str, str, dict[str, Any]]) -> list[str]:
    """Warnings on (LOINC code, category, what it is about) of each stage."""
    entries = [
        {
            "resource": {
                "resourceType": "Observation",
                "code": {"coding": [{"system": LOINC, "code": code}]},
                "valueCodeableConcept": {"text": category},
                "effectiveDateTime": f"2024-01-{day:02}",
                **about,
            }
        }
        for day, (code, category, about) in enumerate(stages, 1)
    ]
    document = {"resourceType": "Bundle", "entry": [{"resource": PATIENT}, *entries]}
    return flatten_fhir(document, STAGES, name="record", study_date=date(2024, 3, 1)).notes.warnings


T, N = "21905-5", "21906-3"
LUNG: dict[str, Any] = {"focus": [{"reference": "Condition/lung"}]}
BREAST: dict[str, Any] = {"focus": [{"reference": "Condition/breast"}]}


@pytest.mark.parametrize(
    ("stages", "told"),
    [
        ([(T, "T1", LUNG), (N, "N1", BREAST)], "Observation.focus"),
        ([(T, "T2", LUNG), (T, "T1", BREAST)], "Observation.focus"),
        ([(T, "T2", {"bodySite": {"text": "Lung"}}), (T, "T1", {"bodySite": {"text": "breast"}})], "bodySite"),
        ([(T, "T1", LUNG), (N, "N1", {"focus": [{"reference": "Condition/lung/_history/2"}]})], ""),
        ([(T, "T1", LUNG), (N, "N1", {})], ""),
        ([(T, "T1", {"bodySite": {"text": "lung "}}), (T, "T1", {"bodySite": {"text": "Lung"}})], ""),
        ([(T, "T1", {"bodySite": {"text": "lung"}}), (N, "N1", {"bodySite": {"text": "hilar node"}})], ""),
    ],
    ids=["t-and-n", "two-t", "two-sites", "one-focus", "one-says", "one-site", "sites-of-t-and-n"],
)
def test_stages_of_two_tumours_are_told(stages: list[tuple[str, str, dict[str, Any]]], told: str) -> None:
    warnings = staged(*stages)
    assert len(warnings) == bool(told) and all(told in text and "more than one tumour" in text for text in warnings)
