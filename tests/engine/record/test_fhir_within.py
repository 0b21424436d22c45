"""FHIR: observations that another resource contains, and the components of panels, with the guards of any other."""

import itertools
from typing import Any

import pytest

from engine.record.test_fhir import SPEC, STUDY_DATE, bundle, coded, concept
from engine.record.test_fhir_bundle import OWN_IDENTIFIER, kilograms, read
from engine.record.test_fhir_lookup import LOINC, weight
from mmcaf_engine.errors import RecordError
from mmcaf_engine.record.record import read_record
from refusals import refused

OWN, OTHER = {"reference": "Patient/p"}, {"reference": "Patient/q"}
VITAL_SIGNS = "85353-1"


def panel(*components: dict[str, Any], code: str = VITAL_SIGNS, system: str = LOINC, **more: Any) -> dict[str, Any]:
    coding = {"system": system, "code": code}
    component = [{key: value for key, value in one.items() if key != "resourceType"} for one in components]
    resource = {"resourceType": "Observation", "status": "final", "code": {"coding": [coding]}, "component": component}
    return {"resource": {**resource, **more}}


def report(*contained: dict[str, Any], kind: str = "DiagnosticReport", **more: Any) -> dict[str, Any]:
    return {"resource": {"resourceType": kind, "status": "final", "contained": list(contained), **more}}


@pytest.mark.parametrize(
    ("system", "code"),
    [(LOINC, "85353-1"), (LOINC, "74728-7"), (LOINC, "8716-3"), (LOINC, "34565-2"), (LOINC, "55418-8")]
    + [(LOINC, "85354-9"), ("http://snomed.info/sct", "46680005")],
)
def test_a_component_of_a_panel_is_read(system: str, code: str) -> None:
    parts = weight(70, code="8302-2"), weight(71)
    found = read(panel(*parts, code=code, system=system, effectiveDateTime="2024-03-01"))
    assert kilograms(found) == 71 and found.notes.warnings == [] == found.notes.remarks


@pytest.mark.parametrize(
    ("system", "code"),
    [(LOINC, "8302-2"), (LOINC, "18833-4"), ("urn:local", "85353-1"), ("http://snomed.info/sct", "85353-1")],
    ids=["height", "first-weight", "code-of-another-system", "of-snomed"],
)
def test_a_component_of_what_is_no_panel_is_left_out_with_a_warning(system: str, code: str) -> None:
    found = read(panel(weight(71), code=code, system=system))
    assert kilograms(found) is None and "no panel known here" in found.notes.warnings[0]
    beside = read(panel(weight(71), code=code, system=system), {"resource": weight(70)})
    assert kilograms(beside) == 70 and "no panel known here" in beside.notes.warnings[0]


@pytest.mark.parametrize(
    ("component", "panel_says", "why"),
    [
        ({"valueQuantity": {"value": 154}}, {}, "no unit"),
        ({"valueQuantity": {"value": 70, "unit": "kg", "comparator": "<"}}, {}, "bound"),
        ({"valueQuantity": {"value": 70, "unit": "kg", "code": "[lb_av]"}}, {}, "another"),
        ({"modifierExtension": [{"url": "urn:not"}]}, {}, "modifierExtension"),
        ({}, {"modifierExtension": [{"url": "urn:not"}]}, "modifierExtension"),
        ({}, {"subject": OTHER}, "another patient"),
        ({}, {"subject": {"identifier": {"system": "urn:mrn", "value": "B-2"}}}, "another patient"),
        ({}, {"focus": [{"reference": "RelatedPerson/baby"}]}, "another patient"),
        ({}, {"status": "entered-in-error"}, None),
        ({"dataAbsentReason": {"text": "unknown"}, "valueQuantity": None}, {}, None),
    ],
    ids=["no-unit", "bound", "unit", "own-modifier", "modifier", "patient", "identifier", "focus", "status", "absent"],
)
def test_the_guards_of_an_observation_are_those_of_its_components(
    component: dict[str, Any], panel_says: dict[str, Any], why: str | None
) -> None:
    found = read(panel({**weight(71), **component}, **panel_says))
    assert kilograms(found) is None
    assert [why in warning for warning in found.notes.warnings] == [True] * (why is not None)


def test_a_component_is_of_the_date_of_its_panel() -> None:
    old, new = panel(weight(90), effectiveDateTime="2024-03-01"), panel(weight(71), issued="2024-03-10T10:00:00Z")
    for entries in itertools.permutations([old, new, {"resource": weight(80, "2024-03-05")}]):
        assert kilograms(read(*entries)) == 71
    late = read(panel(weight(71), effectiveInstant="2024-03-20T10:00:00Z"), {"resource": weight(70, "2024-03-05")})
    assert kilograms(late) == 70 and "after the study" in late.notes.remarks[0]
    early = read(panel(weight(71), effectivePeriod={"start": "2023-12-01", "end": "2023-12-02"}))
    assert kilograms(early) == 71 and "days before the study" in early.notes.warnings[0]


def test_components_that_contradict_each_other_are_told() -> None:
    found = read(panel(weight(90), weight(71), effectiveDateTime="2024-03-01"))
    assert kilograms(found) == 71 and "do not tell" in found.notes.warnings[0]


@pytest.mark.parametrize("code", ["21908-9", "399537006"])
def test_the_categories_of_a_stage_group(code: str) -> None:
    system = "http://snomed.info/sct" if code.isdigit() else LOINC
    letters = {"21905-5": "cT2a", "21906-3": "N1", "21907-1": "cM0"}
    parts = [coded(letter, concept(value))["resource"] for letter, value in letters.items()]
    parts = [{"code": part["code"], "valueCodeableConcept": part["valueCodeableConcept"]} for part in parts]
    about: dict[str, Any] = {"subject": {"reference": "urn:uuid:p"}, "effectiveDateTime": "2024-03-01"}
    group = panel(*parts, code=code, system=system, **about, **concept("IB"))
    record = read_record(bundle(group, without=tuple(letters)), SPEC, study_date=STUDY_DATE)
    assert [record.values[name] for name in ("t_stage", "n_stage", "m_stage")] == ["2a", "1", "0"]
    assert record.warnings == () == record.remarks


@pytest.mark.parametrize("kind", ["DiagnosticReport", "Observation"])
def test_a_contained_observation_is_read(kind: str) -> None:
    holder: dict[str, Any] = {"subject": OWN, "effectiveDateTime": "2024-03-01"}
    found = read(report(weight(70, id="w"), kind=kind, code={"coding": [{"code": "85353-1"}]}, **holder))
    assert kilograms(found) == 70 and found.notes.warnings == [] == found.notes.remarks


def test_a_panel_within_a_report_is_read() -> None:
    inner = panel(weight(70))["resource"]
    found = read(report(inner, subject=OWN, effectiveDateTime="2024-03-01"), {"resource": weight(90, "2024-02-20")})
    assert kilograms(found) == 70


SUBJECTS: dict[str, tuple[dict[str, Any], bool]] = {
    "own": ({"subject": OWN}, True),
    "none": ({}, True),
    "identifier": ({"subject": {"identifier": OWN_IDENTIFIER}}, True),
    "other": ({"subject": OTHER}, False),
    "group": ({"subject": {"reference": "Group/p"}}, False),
    "focus": ({"subject": OWN, "focus": [{"reference": "RelatedPerson/baby"}]}, False),
    "modifier": ({"modifierExtension": [{"url": "urn:not"}]}, False),
    "error": ({"status": "entered-in-error"}, False),
}


@pytest.mark.parametrize(("around", "within"), list(itertools.product(SUBJECTS, SUBJECTS)), ids=str)
def test_both_must_be_usable_and_the_patients(around: str, within: str) -> None:
    (holder, first), (inner, second) = SUBJECTS[around], SUBJECTS[within]
    found = read(report(weight(70, "2024-03-01", **inner), **holder), {"resource": weight(69, "2000-01-01")})
    assert kilograms(found) == (70 if first and second else 69)


@pytest.mark.parametrize("kind", ["FamilyMemberHistory", "MedicationRequest", "Encounter"])
def test_what_other_resources_contain_is_passed_over_with_a_remark(kind: str) -> None:
    found = read(report(weight(70), kind=kind, subject=OWN))
    assert kilograms(found) is None and kind in found.notes.remarks[0] and found.notes.warnings == []


def test_a_patient_beside_the_observation_within_a_report() -> None:
    for value, own in (("A-1", True), ("B-2", False)):
        person = {"resourceType": "Patient", "id": "x", "identifier": [{"value": value}]}
        found = read(report(weight(70, subject={"reference": "#x"}), person, subject=OWN))
        assert (kilograms(found) == 70) is own


@pytest.mark.parametrize(
    ("dates", "value"),
    [
        ({}, 70),
        ({"effectiveDateTime": "2024-03-01"}, 80),
        ({"issued": "2024-03-01T00:00:00Z"}, 80),
        ({"effectiveDateTime": "2024-03-12"}, 70),
    ],
    ids=str,
)
def test_without_a_date_a_contained_observation_is_of_the_reports(dates: dict[str, Any], value: float) -> None:
    given = report(weight(70, **dates), subject=OWN, effectiveDateTime="2024-03-10")
    assert kilograms(read(given, {"resource": weight(80, "2024-03-05")})) == value


@pytest.mark.parametrize("damage", [7, "x", [7], {"a": 1}, [[]]])
@pytest.mark.parametrize("key", ["contained", "component"])
def test_what_is_no_list_of_objects_leaves_its_observation_out(key: str, damage: Any) -> None:
    found = read({"resource": {**weight(70), key: damage}})
    assert kilograms(found) is None and f"{key} is not of the type" in found.notes.warnings[0]
    assert kilograms(read({"resource": {**weight(70), key: None}})) == 70


def test_a_refusal_says_which_component_was_left_out() -> None:
    given = bundle(panel(weight(70), code="8302-2", subject={"reference": "urn:uuid:p"}), without=("29463-7",))
    with refused(RecordError, "weight", "missing", "no panel known here"):
        read_record(given, SPEC, study_date=STUDY_DATE)
