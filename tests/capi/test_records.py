"""Some thousand records, drawn anew in each run, by the C library and by the engine."""

import json
from typing import Any

import numpy as np
import pytest

from capi_inputs import Given, by_library, check_alike
from mmcaf_engine.volume import PatientHeader
from testing_library import call, fresh_random
from tiny_bundle import ORIGIN

RECORDS = 3000

FIELDS: list[dict[str, Any]] = [
    {
        "kind": "category",
        "name": "sex",
        "description": "Sex",
        "categories": {"M": 1, "F": 0},
        "synonyms": {"male": "M", "female": "F", "männlich": "M", "1": "M"},
        "dicom": "PatientSex",
    },
    {
        "kind": "number",
        "name": "age",
        "description": "Age",
        "unit": "years",
        "units": {"mo": 1 / 12},
        "minimum": 0,
        "maximum": 120,
        "lower": 20,
        "upper": 90,
        "cut": {"value": 60.5, "direction": "above"},
        "dicom": "PatientAge",
    },
    {
        "kind": "number",
        "name": "Body-Weight",
        "description": "Weight",
        "unit": "kg",
        "units": {"g": 0.001, "[lb_av]": 0.45359237},
        "minimum": 0.5,
        "maximum": 400,
        "scaling": "standardise",
        "mean": 71.3,
        "std": 14.9,
        "missing": {"policy": "impute", "value": 70},
        "cut": {"value": 50, "direction": "below"},
        "dicom": "PatientWeight",
    },
    {
        "kind": "category",
        "name": "t stage",
        "description": "T",
        "categories": {"T1": 1, "T2": 2, "Straße": 3},
        "divisor": 3,
        "missing": {"policy": "impute", "value": "T2"},
        "cut": {"value": 2, "direction": "above"},
    },
]

MANIFEST: dict[str, Any] = {
    "name": "records",
    "network": {"name": "tiny", "config": {}, "parameters": 2},
    "inputs": [{"name": "table", "kind": "table", "shape": ["N", 7]}],
    "outputs": [{"name": "logit", "kind": "score", "shape": ["N", 1]}],
    "models": {"fp32": "model.onnx"},
    "table": {"fields": FIELDS, "ignored": ["Ward", "bed-no"]},
    "labels": ["quiet", "loud"],
    "aggregation": {"method": "max"},
    "threshold": 0.5,
    **ORIGIN,
}

KEYS = {
    "sex": ["sex", "SEX", " Sex "],
    "age": ["age", "AGE"],
    "weight": ["body_weight", "Body-Weight", "BODY WEIGHT", "body-weight "],
    "stage": ["t_stage", "T-Stage", "t stage"],
}
VALUES: dict[str, list[Any]] = {
    "sex": [
        "M",
        "f",
        "male",
        " FEMALE ",
        "MÄNNLICH",
        "x",
        "",
        1,
        0,
        1.0,
        True,
        None,
        [],
        {},
        "M" * 60,
        "m\u2028f",
        "'",
    ],
    "age": [0, 64, 64.0, 60.5, 120, 120.001, -1, "64", None, True, 1e308, 12345678901234567890, [64], -0.0, 7e-320],
    "weight": [70, 0.5, 400.0, 401, None, "heavy", {"value": 70, "unit": "kg"}, {"value": 154, "unit": "Pounds"}],
    "stage": ["T1", "t2", "STRASSE", "straße", "T4", 2, None, False, "T 1"],
}
UNITS = ["kg", "KG", "kilo", "gm", "g", "lbs", "LB", "[lb_av]", "stone", "", "years"]
OTHERS = [
    "ward",
    "bed no",
    "PatientID",
    "patient_id",
    "note",
    "Größe",
    "$schema",
    "z" * 50,
    "\u200bhidden",
    "a\tb",
    "'",
]


def _record(random: Any) -> bytes:
    given: dict[str, Any] = {}
    for field, keys in KEYS.items():
        if random.random() < 0.85:
            # Half of them are valid, so that many records are.
            usual = {"sex": "M", "age": random.uniform(-5, 125), "weight": random.uniform(20, 90), "stage": "T1"}
            value = usual[field] if random.random() < 0.6 else random.choice(VALUES[field])
            if field == "weight" and random.random() < 0.3:
                value = {"value": random.uniform(0, 300), "unit": random.choice(UNITS)}
            given[random.choice(keys)] = value
    for key in random.sample(OTHERS, random.choice([0, 0, 0, 1, 2, 7])):
        given[key] = random.choice(["7", "P1", 7, " P1 ", "", 7.5, None, ["x"], True])
    if random.random() < 0.03:
        given[random.choice(["Sex", "sex", "AGE", "age"])] = "M"
    text = json.dumps(given, ensure_ascii=random.random() < 0.5)
    if random.random() < 0.04:
        at = random.randrange(len(text))
        text = text[:at] + random.choice(["", ",", '"', "NaN", "\\", "\x01", "1e999", "//"]) + text[at + 1 :]
    return text.encode("utf-8", "surrogatepass")


def _patient(random: Any) -> PatientHeader:
    return PatientHeader(
        patient_id=random.choice([None, "7", "P1", " "]),
        sex=random.choice([None, "M", "F"]),
        age=random.choice([None, 64.0, 65.0, 30.0]),
        weight=random.choice([None, 70.0, 40.0]),
    )


def test_records_drawn_anew() -> None:
    random = fresh_random()
    seen: dict[str, int] = {}
    for number in range(RECORDS):
        record = _record(random)
        try:
            outcome = check_alike(Given(MANIFEST, record=record))
        except AssertionError as failure:
            raise AssertionError(f"record {number}: {record!r}") from failure
        seen[outcome] = seen.get(outcome, 0) + 1
    assert seen["prepared"] > RECORDS / 20, seen
    assert seen["RecordError"] > RECORDS / 20, seen


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"   ",
        b"[]",
        b"7",
        b'"text"',
        b"null",
        b"\xef\xbb\xbf{}",
        b"\xff{}",
        b'{"sex": "M", "sex": "F"}',
        b'{"sex": "M"} {}',
        b'{"sex": "M"}\n{"sex": "F"}\n',
        b"{" + b'"a":[' * 80,
        b'{"age": ' + b"[" * 80 + b"]" * 80 + b"}",
        b'{"age": 123456789012345678901}',
        b'{"patient_id": [1]}',
        b'{"sex": "\\ud800"}',
        None,
    ],
    ids=repr,
)
def test_what_is_no_record(record: bytes | None) -> None:
    check_alike(Given(MANIFEST, record=record))


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (b'{"resourceType": "Bundle"}', "FHIR"),
        (b"patient_id,sex,age\nP1,M,64\n", "table"),
        (b"<Bundle/>", "XML"),
    ],
    ids=["fhir", "csv", "xml"],
)
def test_other_forms_are_refused_by_name(record: bytes, told: str) -> None:
    found = by_library(Given(MANIFEST, record=record))
    assert (found["error"], found["exit_code"]) == ("RecordError", 4)
    assert told in found["problem"]
    assert found["remedies"]


def test_letters_fold_and_are_quoted_as_in_python() -> None:
    points = [point for point in range(1, 0x30000) if not 0xD800 <= point < 0xE000 and chr(point).isprintable()]
    for at in range(0, len(points), 4096):
        text = "".join(f"{chr(point)}." for point in points[at : at + 4096])
        assert call("mmcaf_testing_fold", text) == text.strip().casefold().replace(" ", "_").replace("-", "_")
        assert call("mmcaf_testing_quote", text) == repr(text)
    hidden = "\x01\x7f\xa0\u200b\u2028\ud800\ufeff\U000e0001"
    assert call("mmcaf_testing_quote", hidden) == repr(hidden)


def test_features_are_those_of_the_engine_to_the_bit() -> None:
    record = json.dumps({"sex": "f", "age": 61, "body weight": {"value": 171.3, "unit": "lbs"}, "T-stage": "strasse"})
    found = by_library(Given(MANIFEST, record=record.encode()))
    table = np.frombuffer(bytes.fromhex(found["windows"][0]["table"]["bytes"]), np.float32)
    expected = [0.0, (61 - 20) / 70, (171.3 * 0.45359237 - 71.3) / 14.9, 1.0, 1.0, 0.0, 1.0]
    np.testing.assert_array_equal(table, np.array(expected, np.float32))
