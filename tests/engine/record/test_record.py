"""Records: what is accepted, how it is encoded, and what every wrong one is told."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmcaf_engine.errors import RecordError
from mmcaf_engine.manifest import TableSpec, TextSpec
from mmcaf_engine.record.record import contradictions, read_record
from mmcaf_engine.volume import PatientHeader
from refusals import Fact, refused

SPEC = TableSpec.model_validate(
    {
        "fields": [
            {
                "kind": "category",
                "name": "sex",
                "description": "Sex",
                "categories": {"M": 1, "F": 0},
                "synonyms": {"male": "M", "female": "F"},
                "dicom": "PatientSex",
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
                "dicom": "PatientAge",
            },
            {
                "kind": "number",
                "name": "weight",
                "description": "Body weight",
                "unit": "kg",
                "minimum": 2,
                "maximum": 400,
                "lower": 30,
                "upper": 130,
                "missing": {"policy": "impute", "value": 70},
                "dicom": "PatientWeight",
            },
            {
                "kind": "category",
                "name": "t_stage",
                "description": "T stage",
                "categories": {"is": 0, "1": 1, "1a": 1, "1b": 2, "2a": 4},
                "divisor": 10,
            },
        ]
    }
)
GOOD = {"sex": "M", "age": 55, "weight": 80.0, "t_stage": "1b"}


def test_features_are_scaled_in_the_manifests_order() -> None:
    record = read_record(GOOD, SPEC)
    assert record.features == {"sex": 1.0, "age": 0.5, "weight": 0.5, "t_stage": 0.2}
    table = record.table()
    assert table.dtype == np.float32
    np.testing.assert_allclose(table, [[1.0, 0.5, 0.5, 0.2]], rtol=1e-7)
    assert record.missing == () and record.warnings == ()


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({"sex": "female"}, "sex", "F"),
        ({"sex": " m "}, "sex", "M"),
        ({"t_stage": 1}, "t_stage", "1"),
        ({"t_stage": "2A"}, "t_stage", "2a"),
        ({"age": 55.5}, "age", 55.5),
    ],
    ids=["synonym", "case-and-space", "whole-number-category", "category-case", "fraction"],
)
def test_accepted_spellings(change: dict[str, Any], field: str, value: Any) -> None:
    assert read_record({**GOOD, **change}, SPEC).values[field] == value


def test_keys_are_folded() -> None:
    assert read_record({"Sex": "M", "AGE": 55, "Weight": 80, "T-Stage": "1b"}, SPEC).features["t_stage"] == 0.2


def test_missing_field_with_a_declared_value_is_imputed_and_reported() -> None:
    record = read_record({key: value for key, value in GOOD.items() if key != "weight"}, SPEC)
    assert record.missing == ("weight",)
    assert record.features["weight"] == pytest.approx(0.4)
    assert "70" in record.warnings[0]


@pytest.mark.parametrize("given", [{}, {"weight": None}], ids=["absent", "null"])
def test_an_imputed_value_is_never_compared_with_the_header(given: dict[str, Any]) -> None:
    header = PatientHeader(sex="M", age=55.0, weight=140.0)
    told = {key: value for key, value in GOOD.items() if key != "weight"}
    imputed, told_70 = read_record({**told, **given}, SPEC), read_record({**told, "weight": 70}, SPEC)
    assert imputed.values["weight"] == told_70.values["weight"] == 70
    assert contradictions(imputed, SPEC, header) == ()
    assert contradictions(told_70, SPEC, header) == ("the record's weight contradicts the study's PatientWeight.",)


def test_null_counts_as_missing() -> None:
    assert read_record({**GOOD, "weight": None}, SPEC).missing == ("weight",)


def test_unknown_keys_are_remarked_on() -> None:
    assert "'height'" in read_record({**GOOD, "height": 170}, SPEC).warnings[0]


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"age": None}, ("age", "missing")),
        ({"t_stage": "9z"}, ("t_stage", "'9z'", "is", 1, "1a", "1b", "2a")),
        ({"age": "55"}, ("age", "string", "years", 0, 120)),
        ({"age": 500}, ("age", "500 years", 0, 120)),
        ({"age": True}, ("age", "true/false", "years", 0, 120)),
        ({"sex": {"code": "M"}}, ("sex", "nested", "M", "F")),
        ({"age": float("nan")}, ("age", "nan", "years", 0, 120)),
    ],
    ids=["missing", "unknown-category", "string-for-number", "age-500", "bool", "nested", "nan-in-python"],
)
def test_unusable_field_is_named(change: dict[str, Any], facts: tuple[Fact, ...]) -> None:
    with refused(RecordError, "record", *facts) as caught:
        read_record({**GOOD, **change}, SPEC)
    assert caught.value.exit_code == 4


def test_all_problems_come_in_one_error() -> None:
    with refused(RecordError, 3, "sex", "age", "t_stage", "missing"):
        read_record({"weight": 80}, SPEC)


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("not json", ("JSON", "line 1", "column 1")),
        ("[1, 2]", ("list", "JSON", "sex", "age", "weight", "t_stage")),
        ('{"age": NaN}', ("NaN", "JSON")),
        ('{"age": -Infinity}', ("-Infinity", "JSON")),
        ('{"age": 1e999}', ("1e999",)),
        ('{"age": 5, "age": 6}', ('"age"', "twice")),
        ('{"age": 5, "Age": 6}', ("two", "'Age'")),
        ("", ("JSON", "line 1", "column 1")),
    ],
    ids=["text", "list", "nan", "infinity", "overflow", "duplicate-key", "folded-duplicate", "empty"],
)
def test_refused_documents(tmp_path: Path, text: str, facts: tuple[Fact, ...]) -> None:
    file = tmp_path / "record.json"
    file.write_text(text)
    with refused(RecordError, str(file), *facts):
        read_record(file, SPEC)


def test_the_content_of_a_file_is_read_as_the_file_is(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text(json.dumps(GOOD))
    assert read_record(json.dumps(GOOD).encode(), SPEC) == read_record(tmp_path / "record.json", SPEC)
    with refused(RecordError, "record", "JSON", "line 1", "column 1"):
        read_record(b"sex: M", SPEC)
    with refused(RecordError, "record", "list", "JSON", "sex", "age"):
        read_record(b"[]", SPEC)


def test_missing_file(tmp_path: Path) -> None:
    with refused(RecordError, "absent.json", "no such file"):
        read_record(tmp_path / "absent.json", SPEC)


def test_byte_order_mark_is_read(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode())
    assert read_record(file, SPEC).features["age"] == 0.5


@pytest.mark.parametrize(
    ("header", "contradicts"),
    [
        (PatientHeader(sex="F"), "sex"),
        (PatientHeader(age=57.0), "age"),
        (PatientHeader(weight=60.0), "weight"),
        (PatientHeader(sex="M", age=54.2, weight=82.0), None),
    ],
    ids=["sex", "age", "weight", "agreement"],
)
def test_contradictions_with_the_header_are_warnings(header: PatientHeader, contradicts: str | None) -> None:
    warnings = contradictions(read_record(GOOD, SPEC), SPEC, header)
    if contradicts is None:
        assert warnings == ()
    else:
        assert len(warnings) == 1 and f"record's {contradicts} contradicts" in warnings[0]


def test_record_hides_its_values_from_repr() -> None:
    assert "55" not in repr(read_record({**GOOD, "patient_id": "SECRET"}, SPEC))
    assert "SECRET" not in repr(read_record({**GOOD, "patient_id": "SECRET"}, SPEC))


@pytest.mark.parametrize(
    ("header", "contradicts"),
    [
        *((PatientHeader(age=age), abs(age - 55) > 1) for age in (53.9, 54.0, 56.0, 56.1)),
        *(
            (PatientHeader(weight=weight), far)
            for weight, far in ((72.0, True), (73.0, False), (88.0, False), (89.0, True))
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, bool) else f"{value.age or value.weight:g}",
)
def test_how_far_record_and_header_may_be_apart(header: PatientHeader, contradicts: bool) -> None:
    """An age by a year; a weight, of 80 kg here, by a tenth of the header's."""
    assert bool(contradictions(read_record(GOOD, SPEC), SPEC, header)) is contradicts


@pytest.mark.parametrize("age", [0, 120])
def test_the_ends_of_a_range_are_plausible(age: int) -> None:
    assert read_record({**GOOD, "age": age}, SPEC).values["age"] == age


@pytest.mark.parametrize("age", [-0.001, 120.001, float("nan"), float("inf"), float("-inf"), True])
def test_what_is_beyond_them_is_not(age: float) -> None:
    with pytest.raises(RecordError, match="age"):
        read_record({**GOOD, "age": age}, SPEC)


@pytest.mark.parametrize("identifier", ["", "  ", None])
def test_a_blank_identifier_is_none(identifier: str | None) -> None:
    record = read_record({**GOOD, "patient_id": identifier}, SPEC)
    assert record.patient_ids == ()


def test_an_identifier_may_be_a_number() -> None:
    assert read_record({**GOOD, "patient_id": 4711}, SPEC).patient_ids == ("4711",)
    for wrong in (True, 47.11, ["4711"]):
        with pytest.raises(RecordError, match="patient_id"):
            read_record({**GOOD, "patient_id": wrong}, SPEC)


@pytest.mark.parametrize(
    ("given", "report", "lacking"),
    [
        ({"findings": "Clear.", "impression": "Normal."}, "Clear. Normal.", 0),
        ({"impression": "Normal.", "Findings": "Clear."}, "Clear. Normal.", 0),
        ({"impression": "Normal."}, "Normal.", 1),
        ({"findings": "Clear.", "impression": None}, "Clear.", 1),
        ({}, None, 0),
    ],
    ids=["both", "order-of-the-manifest", "second-alone", "null", "none"],
)
def test_a_report_is_its_fields_joined(given: dict[str, Any], report: str | None, lacking: int) -> None:
    text = TextSpec(lowercase=True, max_tokens=8, buckets=(8,), fields=("findings", "impression"))
    record = read_record({**GOOD, **given}, SPEC, text=text)
    assert record.report == report and len(record.warnings) == lacking
    with pytest.raises(RecordError, match="findings"):
        read_record({**GOOD, **given, "findings": 3}, SPEC, text=text)


def test_a_header_that_contradicts_itself_is_warned_of() -> None:
    header = PatientHeader(age=55.0, contradicting=("(0010,1010) PatientAge", "(0010,0030) PatientBirthDate"))
    (warning,) = contradictions(read_record(GOOD, SPEC), SPEC, header)
    assert "PatientAge and (0010,0030) PatientBirthDate contradict each other" in warning
    assert contradictions(read_record(GOOD, SPEC), None, header) == ()
