"""FHIR, field by field: which resource is taken, at what date, in which unit, and whose it is."""

import base64
from datetime import date
from typing import Any

import pytest

from mmcaf_engine.errors import RecordError
from mmcaf_engine.manifest import TableField, TableSpec
from mmcaf_engine.record.fhir import FlatRecord, flatten_fhir

LOINC = "http://loinc.org"
STUDY = date(2024, 3, 15)
FIELDS: tuple[TableField, ...] = TableSpec.model_validate(
    {
        "fields": [
            {
                "kind": "category",
                "name": "sex",
                "description": "Sex",
                "categories": {"M": 1, "F": 0},
                "fhir": {"resource": "Patient", "element": "gender"},
            },
            {
                "kind": "number",
                "name": "age",
                "description": "Age",
                "unit": "years",
                "minimum": 0,
                "maximum": 120,
                "lower": 20,
                "upper": 90,
                "fhir": {"resource": "Patient", "element": "birthDate"},
            },
            {
                "kind": "number",
                "name": "weight",
                "description": "Weight",
                "unit": "kg",
                "minimum": 2,
                "maximum": 400,
                "lower": 30,
                "upper": 130,
                "max_age_days": 30,
                "fhir": {"resource": "Observation", "codes": ["29463-7", "3141-9"], "answers": {"LA1": "heavy"}},
            },
        ]
    }
).fields


def weight(value: float | None = 70, at: str | None = None, code: str = "29463-7", **more: Any) -> dict[str, Any]:
    resource: dict[str, Any] = {"resourceType": "Observation", "code": {"coding": [{"system": LOINC, "code": code}]}}
    if value is not None:
        resource["valueQuantity"] = {"value": value, "unit": "kg"}
    if at is not None:
        resource["effectiveDateTime"] = at
    return {**resource, **more}


def flat(*resources: dict[str, Any], study: date | None = STUDY, **patient: Any) -> FlatRecord:
    person = {"resourceType": "Patient", "id": "p", **patient}
    entries = [{"fullUrl": "urn:p", "resource": person}, *({"resource": one} for one in resources)]
    document = {"resourceType": "Bundle", "entry": entries}
    return flatten_fhir(document, FIELDS, name="record", study_date=study, with_report=True)


def kilograms(*resources: dict[str, Any]) -> float | None:
    found = flat(*resources).values.get("weight")
    return None if found is None else found["value"]


@pytest.mark.parametrize(
    ("born", "age"),
    [
        ("1960-03-15", 64),
        ("1960-03-14", 64),
        ("1960-03-16", 63),
        ("1960-04-01", 63),
        ("1960-02-28", 64),
        ("2024-03-15", 0),
    ],
)
def test_completed_years_on_the_day_of_the_study(born: str, age: int) -> None:
    assert flat(birthDate=born).values["age"] == age
    assert flat(birthDate=born).notes.warnings == []


@pytest.mark.parametrize(("born", "age"), [("1960", 63), ("1960-03", 64), ("1960-04", 63)])
def test_an_incomplete_birth_date_is_remarked_on(born: str, age: int) -> None:
    found = flat(birthDate=born)
    assert found.values["age"] == age and len(found.notes.warnings) == 1


@pytest.mark.parametrize("born", ["", "1960-13-01", "1960-02-30", "15.03.1960", 1.5, "9" * 50, "1_960", "0000"])
def test_what_is_no_birth_date(born: Any) -> None:
    with pytest.raises(RecordError):
        flat(birthDate=born)


def test_an_age_needs_the_day_of_the_study() -> None:
    with pytest.raises(RecordError):
        flat(birthDate="1960", study=None)
    assert "age" not in flat(study=None).values


@pytest.mark.parametrize(("gender", "said"), [("female", "female"), ("other", None), ("unknown", None), (None, None)])
def test_genders(gender: str | None, said: str | None) -> None:
    assert flat(gender=gender).values.get("sex") == said


@pytest.mark.parametrize("patients", [0, 2])
def test_a_bundle_is_of_one_patient(patients: int) -> None:
    entries = [{"resource": {"resourceType": "Patient", "id": str(at)}} for at in range(patients)]
    with pytest.raises(RecordError):
        flatten_fhir({"resourceType": "Bundle", "entry": entries}, FIELDS, name="record", study_date=STUDY)
    with pytest.raises(RecordError):
        flatten_fhir({"resourceType": "Patient", "id": "p"}, FIELDS, name="record", study_date=STUDY)


def test_every_identifier_of_the_patient() -> None:
    found = flat(identifier=[{"value": " A-1 "}, {"system": "none"}, {"value": 7}])
    assert found.patient_ids == ("A-1", "7")


def test_the_latest_value_is_taken_and_of_equals_the_last() -> None:
    assert kilograms(weight(60, "2024-03-01"), weight(70, "2024-03-10"), weight(80, "2024-02-28")) == 70
    assert kilograms(weight(60, "2024-03-01"), weight(70, "2024-03-01")) == 70
    assert kilograms(weight(60), weight(70)) == 70
    assert kilograms(weight(60, "2024-03-01"), weight(70)) == 60


@pytest.mark.parametrize("study", [STUDY, None])
def test_what_has_no_date_is_remarked_on_where_it_is_taken(study: date | None) -> None:
    [remark] = flat(weight(60), weight(60), study=study).notes.remarks
    assert "weight" in remark and "29463-7" in remark and "no date" in remark
    assert flat(weight(60, "2024-03-01"), weight(60), study=study).notes.remarks == []
    [unreadable] = flat(weight(60, "yesterday"), study=study).notes.remarks
    assert "none of FHIR" in unreadable


@pytest.mark.parametrize(
    ("system", "code", "taken"),
    [
        (LOINC, "29463-7", True),
        (None, "29463-7", True),
        ("http://snomed.info/sct", "29463-7", False),
        (LOINC, "8302-2", False),
    ],
    ids=["loinc", "no-system", "another-system", "another-code"],
)
def test_codes_are_of_loinc(system: str | None, code: str, taken: bool) -> None:
    coding = {"code": code, **({"system": system} if system else {})}
    assert kilograms(weight(code=code) | {"code": {"coding": [{"code": "x"}, coding]}}) == (70 if taken else None)


def test_the_preferred_code_comes_first_and_another_value_is_remarked_on() -> None:
    found = flat(weight(60, code="3141-9"), weight(70))
    assert found.values["weight"]["value"] == 70 and len(found.notes.warnings) == 1
    assert flat(weight(70, code="3141-9"), weight(70)).notes.warnings == []
    assert kilograms(weight(60, code="3141-9"), weight(None)) == 60


@pytest.mark.parametrize(
    ("status", "taken"),
    [("final", True), ("amended", True), ("preliminary", True), (None, True)]
    + [(status, False) for status in ("entered-in-error", "cancelled", "unknown")],
)
def test_what_counts_for_nothing(status: str | None, taken: bool) -> None:
    assert kilograms(weight(70, **({"status": status} if status else {}))) == (70 if taken else None)


@pytest.mark.parametrize(
    ("reference", "own"),
    [("urn:p", True), ("Patient/p", True), ("#p", True), ("Patient/p/_history/3", True)]
    + [(None, True), ("urn:q", False), ("Patient/q", False), ("https://fhir.example/Patient/p", False)],
)
def test_observations_of_another_patient_are_left_out(reference: str | None, own: bool) -> None:
    found = flat(weight(70, subject={"reference": reference} if reference else {}))
    assert ("weight" in found.values) is own and len(found.notes.warnings) == (not own)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"valueQuantity": {"value": 154, "unit": "pounds", "code": "[lb_av]"}}, {"value": 154, "unit": "[lb_av]"}),
        ({"valueQuantity": {"value": 154, "unit": "lb"}}, {"value": 154, "unit": "lb"}),
        ({"valueQuantity": {"value": 70}}, None),
        ({"valueQuantity": {"value": 154, "unit": "lbs"}}, {"value": 154, "unit": "lbs"}),
        ({"valueCodeableConcept": {"text": "thin", "coding": [{"code": "LA1"}]}}, "heavy"),
        ({"valueCodeableConcept": {"text": "thin", "coding": [{"code": "LA2"}]}}, "thin"),
        ({"valueCodeableConcept": {"coding": [{"code": "LA2", "display": "slim"}]}}, "slim"),
        ({"valueCodeableConcept": {"coding": [{"code": "LA2"}]}}, "LA2"),
        ({"valueString": "70"}, "70"),
        ({"valueInteger": 70}, None),
        ({"valueBoolean": True}, None),
        ({}, None),
    ],
    ids=str,
)
def test_forms_of_a_value(value: dict[str, Any], said: Any) -> None:
    assert flat(weight(None, **value)).values.get("weight") == said


@pytest.mark.parametrize(
    ("at", "old"),
    [
        *(("2024-02-14", False), ("2024-02-13", True), ("2024-02-14T23:59:00Z", False)),
        *(("2024-02", False), ("2024-01", True), ("2024", False), ("2023", True)),
        *((None, False), ("2024-02-30", False), ("yesterday", False)),
    ],
)
def test_values_older_than_thirty_days_are_warned_of(at: str | None, old: bool) -> None:
    """By the latest day that an incomplete date allows."""
    found = flat(weight(70, at))
    assert found.values["weight"]["value"] == 70 and len(found.notes.warnings) == old


def report(text: str | None, conclusion: str | None = None, kind: str = "text/plain", **more: Any) -> dict[str, Any]:
    resource: dict[str, Any] = {"resourceType": "DiagnosticReport", **more}
    if text is not None:
        data = base64.b64encode(text.encode()).decode()
        resource["presentedForm"] = [
            {"contentType": "application/pdf", "data": "AAAA"},
            {"contentType": kind, "data": data},
        ]
    return resource | ({"conclusion": conclusion} if conclusion else {})


def test_the_text_of_a_report() -> None:
    assert flat().report is None
    assert flat(report("Größe: 4 mm.", "Normal.")).report == "Größe: 4 mm."
    assert flat(report("Clear.", kind=" Text/Plain; charset=utf-8")).report == "Clear."
    assert flat(report("Clear.")).notes.warnings == []
    alone = flat(report(None, "Normal."))
    assert alone.report == "Normal." and len(alone.notes.warnings) == 1
    assert flat(report("<b>", kind="text/html")).report is None


@pytest.mark.parametrize("key", ["effectiveDateTime", "issued"])
def test_the_last_of_several_reports_is_read(key: str) -> None:
    found = flat(report("new", **{key: "2024-03-02"}), report("old", **{key: "2024-03-01"}))
    assert found.report == "new" and len(found.notes.warnings) == 1
    assert flat(report("first"), report("second")).report == "second"
    began = report("began", effectivePeriod={"start": "2024-03-03"})
    assert flat(began, report("issued", issued="2024-03-02")).report == "began"


@pytest.mark.parametrize("data", ["Q2xl*YXIu", "Q2xlYXI", "/w=="], ids=["not-base64", "cut", "not-utf-8"])
def test_a_report_that_is_no_text_is_refused(data: str) -> None:
    with pytest.raises(RecordError):
        flat({"resourceType": "DiagnosticReport", "presentedForm": [{"contentType": "text/plain", "data": data}]})


@pytest.mark.parametrize("status", ["registered", "entered-in-error", "cancelled"])
def test_what_is_no_report_any_more(status: str) -> None:
    assert flat(report("Clear.", status=status)).report is None
