"""FHIR R4 Bundles: the same features as the flat record, and every irregularity said or refused."""

import copy
from datetime import date
from typing import Any

import pytest

from mmcaf_engine.errors import RecordError
from mmcaf_engine.manifest import TableSpec
from mmcaf_engine.record.record import read_record
from mmcaf_engine.result.deidentify import deidentify
from mmcaf_export.networks.mmcaf import MmcafConfig
from mmcaf_export.networks.mmcaf.entry import MmcafEntry
from refusals import Fact, refused
from tiny_result import tiny_result

SPEC = TableSpec.model_validate(MmcafEntry().manifest(MmcafConfig())["table"])
STUDY_DATE = date(2024, 5, 17)
SNOMED, UICC = "http://snomed.info/sct", "https://www.uicc.org/resources/tnm"


def coded(code: str, value: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "resource": {
            "resourceType": "Observation",
            "status": "final",
            "subject": {"reference": "urn:uuid:p"},
            "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
            "effectiveDateTime": "2024-03-01",
            **value,
            **more,
        }
    }


def concept(code: str, system: str = UICC, display: str | None = None) -> dict[str, Any]:
    coding = {"system": system, "code": code} | ({"display": display} if display else {})
    return {"valueCodeableConcept": {"coding": [coding]}}


def bundle(
    *changed: dict[str, Any], without: tuple[str, ...] = (), patient: dict[str, Any] | None = None
) -> dict[str, Any]:
    observations = {
        "29463-7": coded("29463-7", {"valueQuantity": {"value": 154.323584, "unit": "lb", "code": "[lb_av]"}}),
        "72166-2": coded("72166-2", concept("8517006", SNOMED, "Ex-smoker")),
        "21905-5": coded("21905-5", concept("cT1b")),
        "21906-3": coded("21906-3", concept("N2")),
        "21907-1": coded("21907-1", {"valueCodeableConcept": {"text": "cM1a"}}),
    }
    for code in without:
        del observations[code]
    person = {
        "resourceType": "Patient",
        "id": "p",
        "identifier": [{"value": "HOSPITAL-7"}, {"value": "NATIONAL-9"}],
        "gender": "female",
        "birthDate": "1960-05-18",
        **(patient or {}),
    }
    entries = [{"fullUrl": "urn:uuid:p", "resource": person}, *observations.values(), *copy.deepcopy(list(changed))]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


STONE = coded("29463-7", {"valueQuantity": {"value": 11, "unit": "st"}})
FLAT = {
    "sex": "F",
    "age": 63,
    "weight": 70.0,
    "t_stage": "1b",
    "n_stage": "2",
    "m_stage": "1a",
    "smoking_history": "former",
}


def test_same_features_as_the_flat_record() -> None:
    record = read_record(bundle(), SPEC, study_date=STUDY_DATE)
    expected = read_record(FLAT, SPEC)
    assert record.features == pytest.approx(expected.features, abs=1e-6)
    assert record.warnings == () and record.missing == ()


def test_any_of_the_patients_identifiers_matches_the_study() -> None:
    record = read_record(bundle(), SPEC, study_date=STUDY_DATE)
    assert record.patient_ids == ("HOSPITAL-7", "NATIONAL-9") and record.former_ids == ()


@pytest.mark.parametrize(
    ("code", "category"),
    [
        ("266919005", "never"),
        ("8517006", "former"),
        ("449868002", "current"),
        ("428041000124106", "current"),
        ("77176002", "current"),
        ("428071000124103", "current"),
        ("428061000124105", "current"),
    ],
)
def test_smoking_answers(code: str, category: str) -> None:
    given = bundle(coded("72166-2", concept(code, SNOMED)), without=("72166-2",))
    assert read_record(given, SPEC, study_date=STUDY_DATE).values["smoking_history"] == category


def test_a_smoking_answer_that_no_table_has_is_refused_by_name() -> None:
    given = bundle(coded("72166-2", concept("105539002", SNOMED)), without=("72166-2",))
    with refused(RecordError, "smoking_history", "'105539002'", "never", "former", "current"):
        read_record(given, SPEC, study_date=STUDY_DATE)


@pytest.mark.parametrize("code", ["266927001", "LA18980-5"])
def test_an_answer_that_means_unknown_is_a_missing_one_and_the_refusal_says_so(code: str) -> None:
    system = SNOMED if code.isdigit() else "http://loinc.org"
    given = bundle(coded("72166-2", concept(code, system)), without=("72166-2",))
    with refused(RecordError, "smoking_history", "missing", code, "unknown"):
        read_record(given, SPEC, study_date=STUDY_DATE)


@pytest.mark.parametrize("code", ["21899-0", "21911-3"], ids=["pathologic", "other"])
def test_other_stage_variants_are_read(code: str) -> None:
    given = bundle(coded(code, concept("pT2a")), without=("21905-5",))
    assert read_record(given, SPEC, study_date=STUDY_DATE).values["t_stage"] == "2a"


def test_clinical_stage_is_preferred_and_a_different_pathologic_one_is_reported() -> None:
    record = read_record(bundle(coded("21899-0", concept("pT3"))), SPEC, study_date=STUDY_DATE)
    assert record.values["t_stage"] == "1b"
    assert "t_stage was taken from LOINC 21905-5" in record.warnings[0] and "21899-0" in record.warnings[0]


def test_latest_observation_counts() -> None:
    older = coded("29463-7", {"valueQuantity": {"value": 90, "code": "kg"}}, effectiveDateTime="2020-01-01")
    newer = coded("29463-7", {"valueQuantity": {"value": 60, "code": "kg"}}, effectiveDateTime="2024-05-01")
    record = read_record(bundle(newer, older, without=("29463-7",)), SPEC, study_date=STUDY_DATE)
    assert record.values["weight"] == 60


def test_of_one_day_the_last_in_the_bundle_counts() -> None:
    first = coded("29463-7", {"valueQuantity": {"value": 90, "code": "kg"}}, effectiveDateTime="2024-05-01")
    second = coded("29463-7", {"valueQuantity": {"value": 60, "code": "kg"}}, effectiveDateTime="2024-05-01")
    record = read_record(bundle(first, second, without=("29463-7",)), SPEC, study_date=STUDY_DATE)
    assert record.values["weight"] == 60


def test_observation_entered_in_error_is_left_out() -> None:
    wrong = coded("29463-7", {"valueQuantity": {"value": 90, "code": "kg"}}, status="entered-in-error")
    with refused(RecordError, "weight", "missing"):
        read_record(bundle(wrong, without=("29463-7",)), SPEC, study_date=STUDY_DATE)


def test_observation_of_another_patient_is_left_out_and_reported() -> None:
    foreign = coded("29463-7", {"valueQuantity": {"value": 90, "code": "kg"}}, subject={"reference": "Patient/other"})
    record = read_record(bundle(foreign), SPEC, study_date=STUDY_DATE)
    assert record.values["weight"] == pytest.approx(70) and "1 observation(s)" in record.warnings[0]


@pytest.mark.parametrize(
    ("birth", "age", "remarks"),
    [("1960-05-17", 64, 0), ("1960-05-18", 63, 0), ("1960-05", 64, 1), ("1960", 63, 1)],
    ids=["birthday", "day-before", "month", "year"],
)
def test_age_at_the_study(birth: str, age: float, remarks: int) -> None:
    record = read_record(bundle(patient={"birthDate": birth}), SPEC, study_date=STUDY_DATE)
    assert record.values["age"] == age and len(record.warnings) == remarks


@pytest.mark.parametrize(
    ("document", "study_date", "facts"),
    [
        ({"resourceType": "Patient"}, STUDY_DATE, ("FHIR", "Patient", "R4", "Bundle")),
        ({"resourceType": "Bundle"}, STUDY_DATE, ("Bundle", 0, "Patient")),
        ({"resourceType": "Bundle", "entry": "x"}, STUDY_DATE, ("Bundle", 0, "Patient")),
        (bundle({"resource": {"resourceType": "Patient"}}), STUDY_DATE, ("Bundle", 2, "Patient")),
        (bundle(), None, ("age", "StudyDate", "(0008,0020)")),
        (bundle(patient={"birthDate": "around 1960"}), STUDY_DATE, ("Patient.birthDate", "YYYY-MM-DD")),
        (bundle(patient={"birthDate": "1960-13-40"}), STUDY_DATE, ("Patient.birthDate", "YYYY-MM-DD")),
        (bundle(patient={"gender": "unknown"}), STUDY_DATE, ("sex", "missing")),
        (bundle(STONE, without=("29463-7",)), STUDY_DATE, ("weight", "'st'", "kg", "lb")),
    ],
    ids=["patient", "no-patient", "entry-text", "two", "no-date", "bad-date", "no-such-day", "gender", "unit"],
)
def test_refused(document: dict[str, Any], study_date: date | None, facts: tuple[Fact, ...]) -> None:
    with refused(RecordError, "record", *facts):
        read_record(document, SPEC, study_date=study_date)


def test_flattened_record_hides_its_values() -> None:
    record = read_record(bundle(), SPEC, study_date=STUDY_DATE)
    assert "HOSPITAL" not in repr(record) and "154" not in repr(record)


def limited(days: int) -> TableSpec:
    """The table with an age limit for the weight, and for nothing else."""
    document = SPEC.model_dump(mode="json")
    document["fields"] = [
        {**field, "max_age_days": days} if field["name"] == "weight" else field for field in document["fields"]
    ]
    return TableSpec.model_validate(document)


def weighed(when: str | None) -> dict[str, Any]:
    more = {} if when is None else {"effectiveDateTime": when}
    return coded("29463-7", {"valueQuantity": {"value": 70, "unit": "kg"}}, **more)


@pytest.mark.parametrize(
    ("when", "days"),
    [
        ("2024-02-17", None),
        ("2024-02-16", 91),
        ("2024-02-16T23:59:59+01:00", 91),
        ("2024-01", 107),
        ("2024-02", None),
        ("2023", 138),
        ("2024", None),
        ("2023-13-01", None),
        ("2023-02-30", None),
        ("last spring", None),
        (None, None),
    ],
    ids=[
        "limit",
        "a-day-over",
        "time",
        "month",
        "late-month",
        "year",
        "same-year",
        "no-month",
        "no-day",
        "x",
        "-",
    ],
)
def test_an_observation_that_is_too_old(when: str | None, days: int | None) -> None:
    document = bundle(weighed(when), without=("29463-7",))
    said = f"weight was observed {days} days before the study (LOINC 29463-7); at most 90 are expected."
    warnings = read_record(document, limited(90), study_date=STUDY_DATE).warnings
    assert warnings == (() if days is None else (said,))
    assert read_record(document, SPEC, study_date=STUDY_DATE).warnings == ()


def test_the_age_of_an_observation_needs_a_study_date() -> None:
    old = bundle(weighed("1999-01-01"), without=("29463-7",), patient={"birthDate": None})
    document = limited(90).model_dump(mode="json")
    fields = [field for field in document["fields"] if field["name"] != "age"]
    assert read_record(old, TableSpec.model_validate({"fields": fields}), study_date=None).warnings == ()


def test_a_deidentified_result_quotes_no_record() -> None:
    """Where the notes of a record do: what it holds, and how long before the study."""
    never = coded("72166-2", concept("266919005", SNOMED), effectiveDateTime="2024-04-01")
    old = coded("29463-7", {"valueQuantity": {"value": 70, "unit": "kg", "code": "kg"}}, effectiveDateTime="2010-03-01")
    tumour = coded("21905-5", concept("cT1mi"))
    record = read_record(bundle(never, old, tumour, without=("29463-7", "21905-5")), SPEC, study_date=STUDY_DATE)
    said = " ".join((*record.warnings, *record.remarks))
    assert "T1mi" in said and "says never" in said and "5191 days before the study" in said
    hidden = " ".join(deidentify(tiny_result(*record.warnings, *record.remarks)).warnings)
    assert not any(quoted in hidden for quoted in ("T1mi", "never", "5191")) and hidden.count("[record]") == 3
