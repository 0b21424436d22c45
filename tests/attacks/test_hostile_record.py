"""Records made to harm: each threat once."""

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import pytest

from engine.record.test_fhir import SPEC, STUDY_DATE, coded
from engine.record.test_fhir import bundle as fhir_bundle
from mmcaf_engine.errors import RecordError
from mmcaf_engine.record.document import MAX_RECORD_BYTES
from mmcaf_engine.record.record import read_record
from refusals import Fact, check_facts, refused

MAX_SECONDS = 10
"""A bound on hanging; each takes milliseconds."""


def refusal(content: bytes, folder: Path) -> str:
    path = folder / "record.json"
    path.write_bytes(content)
    started = time.perf_counter()
    with refused(RecordError) as caught:
        read_record(path, SPEC, study_date=STUDY_DATE)
    assert time.perf_counter() - started < MAX_SECONDS
    assert len(str(caught.value)) < 4000
    return caught.value.problem


MANY = 10_000
WEIGHT = coded("29463-7", {"valueQuantity": {"value": 70, "unit": "kg"}})["resource"]


def versions() -> list[dict[str, Any]]:
    return [{"resource": {**WEIGHT, "id": "w", "note": str(at)}} for at in range(MANY)]


def deletions() -> list[dict[str, Any]]:
    gone = [{"request": {"method": "DELETE", "url": f"Observation/{at}"}} for at in range(MANY)]
    return [*({"resource": {**WEIGHT, "id": str(at)}} for at in range(MANY)), *gone]


def focuses() -> list[dict[str, Any]]:
    contained = [{"resourceType": "Condition", "id": str(at)} for at in range(MANY)]
    focus = [{"reference": f"#{MANY - 1}"}] * MANY
    return [{"resource": {**WEIGHT, "contained": contained, "focus": focus}}]


def contained() -> list[dict[str, Any]]:
    held = [{"resourceType": "Condition", "id": "x"}, *[{**WEIGHT, "subject": {"reference": "#x"}}] * MANY]
    focus = [{"reference": "#x"}] * MANY
    timing = {"event": ["2024-01-01T00:00:00Z"] * MANY}
    return [
        {"resource": {"resourceType": "DiagnosticReport", "contained": held, "focus": focus, "effectiveTiming": timing}}
    ]


def components() -> list[dict[str, Any]]:
    timing = {"event": ["2024-01-01T00:00:00Z"] * MANY}
    code = {"coding": [{"system": "http://loinc.org", "code": "85353-1"}]}
    return [{"resource": {**WEIGHT, "code": code, "component": [WEIGHT] * MANY, "effectiveTiming": timing}}]


def identified() -> list[dict[str, Any]]:
    return [{"resource": {**WEIGHT, "subject": {"identifier": {"value": str(at)}}}} for at in range(MANY)]


def spelled() -> list[dict[str, Any]]:
    return [coded("21905-5", {"valueCodeableConcept": {"text": f"T{at}"}}) for at in range(MANY)]


def patients() -> list[dict[str, Any]]:
    return [{"resource": {"resourceType": "Patient", "id": str(at)}} for at in range(MANY)]


@pytest.mark.parametrize("made", [versions, deletions, focuses, contained, components, identified, spelled, patients])
def test_many_resources_take_no_longer_than_each(made: Any) -> None:
    """None is compared with every other."""
    identifiers = [{"value": f"x{at}"} for at in range(MANY)]
    document = fhir_bundle(patient={"identifier": identifiers})
    document["type"] = "history" if made is deletions else "collection"
    document["entry"] += made()
    started = time.process_time()
    with contextlib.suppress(RecordError):
        read_record(document, SPEC, study_date=STUDY_DATE)
    assert time.process_time() - started < MAX_SECONDS


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        (b"[" * 500_000, ("64 levels",)),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, ("64 levels",)),
        (b'{"age": [' + b"[" * 80 + b"]" * 80 + b"]}", ("64 levels",)),
        (b'{"age": ' + b"9" * 900_000 + b"}", ("900000 digits",)),
        (b'{"age": 1e' + b"9" * 5000 + b"}", ("number", "too large")),
        (b'{"age": -1e400}', ("-1e400",)),
        (b'{"age": NaN}', ("NaN",)),
        (b'{"age": 1, "age": 2}', ('"age"', "twice")),
        (b'{"age": 1, "\\u0061ge": 2}', ('"age"', "twice")),
        (b'{"Age ": 1, "age": 2}', ("two", "'age'")),
        (b'{"sex": "\xff\xfe"}', ("UTF-8", "0xff")),
        (b'\xff\xfe{\x00}\x00', ("UTF-8", "0xff")),
        (b'{"sex": "\\ud800"}', ("sex",)),
        (b" " * (MAX_RECORD_BYTES + 1), (MAX_RECORD_BYTES, "bytes")),
        (b"\0" * 1000, ("JSON", "line 1")),
        (b"", ("JSON", "line 1")),
    ],
    ids=[
        "deep-list", "deep-object", "deep-value", "digits", "exponent", "infinite", "nan", "duplicate-key",
        "duplicate-key-escaped", "duplicate-field", "not-utf8", "utf-16", "lone-surrogate", "too-large", "zeros",
        "empty",
    ],
)  # fmt: skip
def test_hostile_json(content: bytes, facts: tuple[Fact, ...], tmp_path: Path) -> None:
    check_facts(refusal(content, tmp_path), "record.json", *facts)


def test_a_file_without_end(tmp_path: Path) -> None:
    (tmp_path / "record.json").symlink_to("/dev/zero")
    with refused(RecordError, "record.json", MAX_RECORD_BYTES, "bytes"):
        read_record(tmp_path / "record.json", SPEC)


@pytest.mark.parametrize(
    "many",
    [
        [coded("29463-7", {"valueQuantity": {"value": 70, "unit": "kg"}})] * 3000,
        [{"resource": {"resourceType": "Patient"}}] * 10_000,
        [{"resource": {"resourceType": "Bundle", "entry": []}}] * 10_000,
    ],
    ids=["observations", "patients", "bundles"],
)
def test_a_bundle_of_thousands(many: list[dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(json.dumps(fhir_bundle(*many)))
    assert path.stat().st_size < MAX_RECORD_BYTES
    started = time.perf_counter()
    with contextlib.suppress(RecordError):
        read_record(path, SPEC, study_date=STUDY_DATE)
    assert time.perf_counter() - started < MAX_SECONDS
