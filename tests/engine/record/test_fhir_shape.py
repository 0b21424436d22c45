"""FHIR: an element of another JSON type than FHIR's is never missed in silence, nor one whose name is misspelled."""

import copy
from typing import Any

import pytest

from engine.record.test_fhir import SPEC, STUDY_DATE, bundle
from engine.record.test_fhir_bundle import PATIENT, kilograms, read
from engine.record.test_fhir_lookup import LOINC, weight
from mmcaf_engine.record.fhir_shape import fit
from mmcaf_engine.record.record import read_record

OLDER = {"resource": weight(90, "2024-01-20")}
NEWER = {**weight(70, "2024-03-01", status="final", subject={"reference": "Patient/p"}), "id": "w"}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The newer weight with another value at a place."""
    resource = copy.deepcopy(NEWER)
    *keys, last = path.split(".")
    node: Any = resource
    for key in keys:
        node = node[int(key)] if isinstance(node, list) else node.setdefault(key, {})
    node[int(last) if isinstance(node, list) else last] = value
    return {"resource": resource}


WRONG: dict[str, tuple[str, Any]] = {
    "code": ("code", [NEWER["code"]]),
    "code.coding": ("code.coding", {"code": "29463-7"}),
    "code.coding ": ("code.coding.0", "29463-7"),
    "code.coding.code": ("code.coding.0.code", 294637),
    "code.coding.system": ("code.coding.0.system", [LOINC]),
    "status": ("status", ["final"]),
    "status ": ("status", "finished"),
    "effectiveDateTime": ("effectiveDateTime", ["2024-03-01"]),
    "effectivePeriod": ("effectivePeriod", ["2024-03-01"]),
    "effectivePeriod.start": ("effectivePeriod", {"start": 2024}),
    "effectiveTiming.event": ("effectiveTiming", {"event": [{"value": "2024-03-01"}]}),
    "issued": ("issued", {"value": "2024-03-01"}),
    "valueQuantity": ("valueQuantity", 70),
    "valueQuantity.value": ("valueQuantity.value", "70"),
    "valueQuantity.unit": ("valueQuantity.unit", ["kg"]),
    "subject": ("subject", "Patient/p"),
    "subject.reference": ("subject", {"reference": {"value": "Patient/p"}}),
    "focus": ("focus", {"reference": "Condition/x"}),
    "component": ("component", {"code": NEWER["code"]}),
    "contained": ("contained", [["Observation"]]),
    "modifierExtension": ("modifierExtension", {"url": "urn:not"}),
    "meta": ("meta", "2"),
}


@pytest.mark.parametrize(("path", "value"), WRONG.values(), ids=[*map(repr, WRONG)])
def test_an_observation_of_wrong_types_is_left_out_with_a_warning(path: str, value: Any) -> None:
    """An older value that counts then is not taken in silence."""
    named = next(name for name, given in WRONG.items() if given == (path, value)).strip()
    found = read(OLDER, changed(path, value))
    assert kilograms(found) == 90
    expected = f"1 observation(s) in the record were left out: {named} is not of the type that FHIR R4 gives it."
    assert expected in found.notes.warnings
    assert kilograms(read(OLDER, {"resource": NEWER})) == 70 and read(OLDER, {"resource": NEWER}).notes.warnings == []


@pytest.mark.parametrize("path", ["codes", "code.codings", "effectiveDateTimes", "valueQuantity.units", "_subject"])
def test_an_element_that_fhir_does_not_have_is_remarked_on(path: str) -> None:
    found = read(changed(path, "x"))
    assert kilograms(found) == 70
    assert f"does not have, first {path.rpartition('.')[2]}." in found.notes.remarks[0]


@pytest.mark.parametrize("name", ["", "x" * 50, "Doe, Jane", "\x1b[2J"])
def test_no_name_that_is_none_is_shown(name: str) -> None:
    (remark,) = read(changed(name, "x")).notes.remarks
    assert "first one without a name of FHIR's form." in remark


def test_what_fhir_adds_to_texts_is_known() -> None:
    extension = {"extension": [{"url": "urn:x"}]}
    for path, value in (("_status", extension), ("valueQuantity._unit", extension), ("_effectiveDateTime", extension)):
        assert read(changed(path, value)).notes.remarks == []
    whole = {
        **NEWER,
        "note": [{"text": "x"}],
        "category": [{}],
        "bodySite": {},
        "valueQuantity": {"value": 70, "unit": "kg"},
    }
    assert read({"resource": whole}).notes.remarks == []


@pytest.mark.parametrize(
    "code", [None, {}, {"text": "weight"}, {"coding": []}, {"coding": [{}]}, {"coding": [{"code": ""}]}]
)
def test_an_observation_without_a_code_is_remarked_on(code: Any) -> None:
    found = read(OLDER, {"resource": {**NEWER, "code": code}})
    assert kilograms(found) == 90 and "1 observation(s) in the record have no code" in found.notes.remarks[0]


@pytest.mark.parametrize(
    "entry",
    [
        *(
            [],
            "x",
            None,
            {},
            {"resources": NEWER},
            {"resource": [NEWER]},
            {"resource": {**NEWER, "resourceType": ["x"]}},
        ),
        {"resource": {key: value for key, value in NEWER.items() if key != "resourceType"}},
    ],
    ids=str,
)
def test_an_entry_that_holds_no_resource_is_warned_of(entry: Any) -> None:
    found = read(OLDER, entry)
    assert kilograms(found) == 90 and "1 of 3 entries of the FHIR Bundle hold no resource" in found.notes.warnings[0]


def test_an_entry_of_a_history_or_a_batch_may_hold_none() -> None:
    for entry in ({"request": {"method": "DELETE", "url": "Observation/9"}}, {"response": {"status": "204"}}):
        assert read(OLDER, entry).notes.warnings == read(OLDER).notes.warnings


@pytest.mark.parametrize("damage", [{"status": ["final"]}, {"contained": {}}, {"contained": [7]}, {"contained": [{}]}])
def test_what_a_damaged_report_contains_is_left_out_with_a_warning(damage: dict[str, Any]) -> None:
    report = {"resourceType": "DiagnosticReport", "status": "final", "contained": [NEWER], **damage}
    found = read(OLDER, {"resource": report})
    assert kilograms(found) == 90 and "what 1 resource(s) in the record contain was left out" in found.notes.warnings[0]


def test_a_report_whose_contained_is_misspelled_is_remarked_on() -> None:
    report = {"resourceType": "DiagnosticReport", "status": "final", "containeds": [NEWER]}
    assert "first containeds" in read(OLDER, {"resource": report}).notes.remarks[0]


def test_a_patient_of_wrong_types_is_warned_of() -> None:
    found = read(OLDER, patient={**PATIENT, "identifier": {"value": "A-1"}})
    assert "Patient: identifier is not of the type" in found.notes.warnings[0] and found.patient_ids == ()
    given = bundle(
        patient={"name": "anything", "identifier": [{"value": "A-1", "type": {}, "period": {"start": "2020"}}]}
    )
    assert read_record(given, SPEC, study_date=STUDY_DATE).warnings == ()


def test_resources_that_are_not_read_may_be_of_any_form() -> None:
    assert fit({"resourceType": "Encounter", "status": 7}).wrong == fit({"resourceType": ["x"]}).wrong == ""
