"""Records in other clothes: rows of a table, and forms of FHIR that are named; and how large one may be."""

import json
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from engine.record.test_fhir import SPEC as FHIR_SPEC
from engine.record.test_fhir import STUDY_DATE
from engine.record.test_fhir import bundle as fhir_bundle
from engine.record.test_record import GOOD, SPEC
from mmcaf_engine.errors import RecordError, UsageError
from mmcaf_engine.manifest import TextSpec
from mmcaf_engine.record.csv_rows import Choice
from mmcaf_engine.record.document import MAX_RECORD_BYTES
from mmcaf_engine.record.record import Record, read_record
from refusals import Fact, refused

TABLE = "patient_id,sex,age,weight,t_stage\nA-1,M,55,80.0,1b\nB-2,F,60,,2a\n\n007,F,61,70,1\n"
ONE = "sex;age;T-Stage\nF;60.5;2a\n"


def read(text: str | bytes, row: int | None = None, patient: str | None = None, **more: Any) -> Record:
    data = text if isinstance(text, bytes) else text.encode()
    return read_record(data, SPEC, choice=Choice(row, patient), **more)


def test_a_row_is_the_flat_record(tmp_path: Path) -> None:
    for name in ("records.csv", "records.CSV", "records"):
        (tmp_path / name).write_text(TABLE)
        found = read_record(tmp_path / name, SPEC, choice=Choice(patient_id="A-1"))
        assert found.values == read_record(GOOD, SPEC).values and found.patient_ids == ("A-1",)
        assert found.warnings == () and "row 1 of 3" in found.remarks[0]


@pytest.mark.parametrize(
    ("row", "patient", "identifier"),
    [(None, "B-2", "B-2"), (2, None, "B-2"), (2, "A-1", "B-2"), (3, None, "007"), (None, "007", "007")]
    + [(None, " B-2 ", "B-2")],
)
def test_which_row(row: int | None, patient: str | None, identifier: str) -> None:
    found = read(TABLE, row, patient)
    assert found.patient_ids == (identifier,)
    assert found.missing == (("weight",) if identifier == "B-2" else ())


def test_a_table_of_one_row_needs_no_choice() -> None:
    for patient in (None, "A-1"):
        found = read(ONE, None, patient)
        assert found.values["t_stage"] == "2a" and found.values["age"] == 60.5 and found.remarks == ()
    other = read("patient_id,sex,age,t_stage\nB-2,F,60,1\n", None, "A-1")
    assert other.patient_ids == ("B-2",)


@pytest.mark.parametrize(
    ("text", "row", "patient", "facts"),
    [
        (TABLE, None, None, (3, "PatientID", "(0010,0020)")),
        (TABLE, None, "C-3", (3, "none", "PatientID")),
        (TABLE, None, "7", (3, "none", "PatientID")),
        (TABLE + "A-1,M,55,80,1b\n", None, "A-1", (4, "more than one", "PatientID")),
        (TABLE, 4, "A-1", ("row 4", 3)),
        (TABLE, 0, None, ("row 0", 3)),
        ("sex,age,t_stage\nM,55,1\nF,60,1\n", None, "A-1", (2, "patient_id")),
        ("patient_id,sex,age\n", None, "A-1", ("no rows",)),
        ("patient_id,sex,age\nA-1,M\n", None, "A-1", ("line 2", 2, 3)),
        ("patient_id,sex,age\nA-1,M,55,80\n", None, "A-1", ("line 2", 4, 3)),
        ('patient_id,sex\nA-1,"M\n', None, "A-1", ("line 2", "CSV")),
        ("sex;age;weight;t_stage\nM;55;70,5;1\n", None, None, ("weight", "decimal comma")),
        ("sex,sex,age\nM,F,55\n", None, None, ("twice", "'sex'")),
        ("Sex,sex,age\nM,F,55\n", None, None, ("two", "'sex'")),
        ("sex,age,t_stage\nM,nan,1\n", None, None, ("age", "string")),
        ("sex,age,t_stage\nM,1_0,1\n", None, None, ("age", "string")),
        ("sex,age,t_stage\nM,1e999,1\n", None, None, ("age", "inf")),
        (f"sex,age,t_stage\nM,{'9' * 5000},1\n", None, None, ("age", "inf")),
        (f"sex,age,t_stage\nM,-{'9' * 21},1\n", None, None, ("age", "-1e+21")),
    ],
)
def test_a_table_without_such_a_row_is_refused(
    text: str, row: int | None, patient: str | None, facts: tuple[Fact, ...]
) -> None:
    with refused(RecordError, "record", *facts) as caught:
        read(text, row, patient)
    assert "A-1" not in str(caught.value) and "B-2" not in str(caught.value)


def test_a_table_that_names_no_field_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with refused(RecordError, "other.csv", "line 1", "field"):
        read_record(tmp_path / "other.csv", SPEC)
    (tmp_path / "latin.csv").write_bytes("sex,name\nF,Größe\n".encode("latin-1"))
    with refused(RecordError, "latin.csv", "UTF-8", "0xf6"):
        read_record(tmp_path / "latin.csv", SPEC)


def test_a_report_may_be_a_cell() -> None:
    text = TextSpec(lowercase=True, max_tokens=8, buckets=(8,), fields=("findings", "impression"))
    table = 'sex,age,t_stage,findings,impression\nM,55,1,"Clear, both lungs.\nNo effusion.",Normal.\n'
    assert read_record(table.encode(), SPEC, text=text).report == "Clear, both lungs.\nNo effusion. Normal."


@pytest.mark.parametrize("record", [GOOD, json.dumps(GOOD).encode()], ids=["parsed", "json"])
def test_a_row_belongs_to_a_table(record: Any) -> None:
    with refused(UsageError, "row", option="row"):
        read_record(record, SPEC, choice=Choice(1))


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        (b'<?xml version="1.0"?>\n<Bundle xmlns="http://hl7.org/fhir"/>', ("XML", "JSON")),
        (b"\xef\xbb\xbf\n <Patient/>", ("XML", "JSON")),
        (b'{"resourceType": "Patient", "id": "p"}\n{"resourceType": "Observation"}\n', ("NDJSON", "JSON")),
        (b'{"sex": "M"}\r\n\r\n{"sex": "F"}', ("NDJSON", "JSON")),
        (b'{"resourceType": "Patient"}\n', ("FHIR", "Patient", "Bundle")),
        (b'{"sex": "M"\n{"age": 3}', ("JSON", "line 2")),
        (b"sex: M", ("JSON", "line 1", "column 1")),
    ],
    ids=["xml", "xml-bom", "ndjson", "ndjson-flat", "ndjson-of-one", "broken", "yaml"],
)
def test_other_forms_are_named(content: bytes, facts: tuple[Fact, ...]) -> None:
    with refused(RecordError, "record", *facts) as caught:
        read_record(content, SPEC)
    assert caught.value.remedies


def test_a_record_of_many_megabytes_is_read(tmp_path: Path) -> None:
    """43 % of synthetic patients of an electronic record have more than 1 MiB."""
    document = fhir_bundle()
    claims = [{"resourceType": "Claim", "text": "x" * 1000, "id": str(at)} for at in range(9000)]
    document["entry"] += [{"resource": claim} for claim in claims]
    (tmp_path / "large.json").write_text(json.dumps(document))
    assert (tmp_path / "large.json").stat().st_size > 9_000_000
    found = read_record(tmp_path / "large.json", FHIR_SPEC, study_date=STUDY_DATE)
    assert found.values["weight"] == pytest.approx(70)


def test_a_larger_one_is_refused_with_its_size(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(3 * MAX_RECORD_BYTES)
    with refused(RecordError, "huge.json", 3 * MAX_RECORD_BYTES, MAX_RECORD_BYTES, "64 MiB") as caught:
        read_record(path, SPEC)
    assert "Observations" in caught.value.remedy
    with refused(RecordError, "record", "more than", MAX_RECORD_BYTES):
        read_record(bytes(MAX_RECORD_BYTES + 1), SPEC)


@pytest.mark.skipif(os.name != "posix", reason="no FIFOs")
def test_of_a_stream_no_more_than_the_limit_is_read(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    def write() -> None:
        with suppress(BrokenPipeError), fifo.open("wb") as file:
            for _ in range(MAX_RECORD_BYTES // (1 << 20) + 8):
                file.write(bytes(1 << 20))

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    with refused(RecordError, "fifo", "more than", MAX_RECORD_BYTES):
        read_record(fifo, SPEC)
    writer.join(10)


@pytest.mark.parametrize(
    "text",
    [TABLE.replace("\n", "\r"), "sep=,\r\n" + TABLE.replace("\n", "\r\n"), "\ufeffsep=;\n" + TABLE.replace(",", ";")],
    ids=["line-ends-of-old", "separator-named", "separator-named-after-a-mark"],
)
def test_tables_as_spreadsheets_write_them(text: str, tmp_path: Path) -> None:
    assert read(text, patient="A-1").values == read_record(GOOD, SPEC).values


@pytest.mark.parametrize("key", ["PatientID", "patient id", "patientid", "Patient-ID"])
def test_another_spelling_of_the_identifier_is_the_identifier(key: str) -> None:
    assert read_record({**GOOD, key: "B-2"}, SPEC).patient_ids == ("B-2",)
    assert read(TABLE.replace("patient_id", key), patient="007").patient_ids == ("007",)


def test_a_refusal_names_the_columns_that_mean_nothing() -> None:
    """A misspelled one is why a field is missing."""
    with refused(RecordError, "age", "missing", "'age_(years)' mean nothing"):
        read("sex,age (years),t_stage\nF,60,1\n")
