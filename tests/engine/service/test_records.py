"""Records find the study that they are of, and never another patient's."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mmcaf_engine.errors import RecordError
from mmcaf_engine.service import studies
from mmcaf_engine.service.database import open_database
from mmcaf_engine.service.keys import keyed
from mmcaf_engine.service.records import FOLDER, find_record, keep_record, read_given, record_source
from mmcaf_engine.service.studies import Arrival, Wanted

KEY = b"k" * 32


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_database(tmp_path)) as connection:
        yield connection


def study(memory: sqlite3.Connection, uid: str, patient: str | None = "A-1", accession: str | None = None) -> None:
    """One that waits for its record."""
    ids = keyed(KEY, "patient", patient), keyed(KEY, "accession", accession)
    arrival = Arrival(f"{uid}.1", uid, f"{uid}.2", "1.3", "a", 1, "f", "CT", *ids)
    studies.keep(memory, [arrival], 10.0)
    [found] = [one for one in studies.quiet(memory, 12.0, 1.0) if one.uid == uid]
    record = find_record(memory, uid)
    assert studies.complete(memory, found, [Wanted("lung", record=record, deadline=99.0)], "now", 12.0)


def flat(patient: str | None = "A-1", name: str = "patient_id", **fields: Any) -> bytes:
    return json.dumps({**({name: patient} if patient else {}), "sex": "F", **fields}).encode()


def fhir(*patients: str, accession: str | None = None, kind: str = "ServiceRequest") -> bytes:
    identifiers = [{"system": "urn:mrn", "value": value} for value in patients]
    order = {"type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}]}}
    resources = [{"resourceType": "Patient", "id": "p", "identifier": identifiers}]
    if accession:
        resources.append({"resourceType": kind, "identifier": [{"value": "no"}, {**order, "value": accession}]})
    return json.dumps({"resourceType": "Bundle", "entry": [{"resource": one} for one in resources]}).encode()


def give(memory: sqlite3.Connection, spool: Path, content: bytes, **more: Any) -> tuple[int, list[int]]:
    return keep_record(memory, spool, read_given(content, KEY), source="http", now=50.0, **more)


def states(memory: sqlite3.Connection) -> dict[str, str]:
    return {row["study"]: row["state"] for row in memory.execute("select study, state from answer")}


@pytest.mark.parametrize("content", [flat(), flat(name="PatientID"), fhir("A-1"), fhir("B-9", "A-1")])
def test_a_record_frees_the_studies_of_its_patient(content: bytes, memory: sqlite3.Connection, tmp_path: Path) -> None:
    study(memory, "1.2", "A-1 ")
    study(memory, "1.3", "A-2")
    study(memory, "1.4", None)
    record, freed = give(memory, tmp_path, content)
    assert states(memory) == {"1.2": "queued", "1.3": "waiting-record", "1.4": "waiting-record"}
    [answer] = freed
    row = memory.execute("select study, record from answer where id = ?", (answer,)).fetchone()
    assert tuple(row) == ("1.2", record) and record_source(memory, tmp_path, record) == content


def test_a_record_that_was_first_is_found(memory: sqlite3.Connection, tmp_path: Path) -> None:
    give(memory, tmp_path, flat(age=50))
    newest, freed = give(memory, tmp_path, flat(age=51))
    assert freed == []
    study(memory, "1.2")
    assert states(memory) == {"1.2": "queued"} and find_record(memory, "1.2") == newest


@pytest.mark.parametrize("kind", ["ServiceRequest", "ImagingStudy", "DiagnosticReport"])
def test_a_record_of_an_order_is_of_that_order_alone(kind: str, memory: sqlite3.Connection, tmp_path: Path) -> None:
    study(memory, "1.2", "A-1", "17")
    study(memory, "1.3", "A-1", "18")
    study(memory, "1.4", "A-1", None)
    study(memory, "1.5", "A-2", "17")
    give(memory, tmp_path, fhir("A-1", accession="17", kind=kind))
    waits = [uid for uid, state in states(memory).items() if state == "waiting-record"]
    assert waits == ["1.3", "1.4", "1.5"]


def test_an_order_comes_before_its_patient_and_a_study_before_both(memory: sqlite3.Connection, tmp_path: Path) -> None:
    study(memory, "1.2", "A-1", "17")
    ordered, _ = give(memory, tmp_path, fhir("A-1", accession="17"))
    give(memory, tmp_path, flat())
    assert find_record(memory, "1.2") == ordered
    given, _ = give(memory, tmp_path, flat(None), study="1.2")
    give(memory, tmp_path, fhir("A-1", accession="17"))
    assert find_record(memory, "1.2") == given and find_record(memory, "1.9") is None


def test_a_record_that_names_nobody_is_of_no_study(memory: sqlite3.Connection, tmp_path: Path) -> None:
    study(memory, "1.2", None, None)
    study(memory, "1.3", "A-1", None)
    _, freed = give(memory, tmp_path, flat(None))
    assert freed == [] and set(states(memory).values()) == {"waiting-record"}


def test_the_memory_holds_no_identifier(memory: sqlite3.Connection, tmp_path: Path) -> None:
    give(memory, tmp_path, fhir("SECRET-7", accession="ORDER-9"), author="reader")
    memory.execute("pragma wal_checkpoint(truncate)")
    held = b"".join(file.read_bytes() for file in tmp_path.glob("state.db*"))
    assert b"SECRET-7" not in held and b"ORDER-9" not in held and b"reader" in held
    [file] = (tmp_path / FOLDER).iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b"no json", b'{"a": NaN}', fhir(), b'{"resourceType": "Patient"}', b"\xff" * 9],
    ids=["empty", "list", "cut", "text", "nan", "no-identifier", "no-bundle", "bytes"],
)
def test_what_is_no_record_is_refused(content: bytes) -> None:
    if content == fhir():
        assert read_given(content, KEY).patients == frozenset()
        return
    with pytest.raises(RecordError):
        read_given(content, KEY)


def test_two_patients_are_refused() -> None:
    document = json.loads(fhir("A-1"))
    document["entry"] += [{"resource": {"resourceType": "Patient", "id": "q", "identifier": [{"value": "B"}]}}]
    with pytest.raises(RecordError):
        read_given(json.dumps(document).encode(), KEY)


def test_a_record_that_is_said_to_be_of_a_study_must_be_of_its_patient(
    memory: sqlite3.Connection, tmp_path: Path
) -> None:
    study(memory, "1.2", "A-1")
    for other in (flat("B-9"), fhir("B-9"), fhir("B-9", "C")):
        with pytest.raises(RecordError, match="different patients"):
            give(memory, tmp_path, other, study="1.2")
    assert memory.execute("select count(*) from record").fetchone()[0] == 0
    early, _ = give(memory, tmp_path, flat("B-9"), study="1.3")
    study(memory, "1.3", "A-1")
    assert find_record(memory, "1.3") is None and states(memory)["1.3"] == "waiting-record"
    study(memory, "1.4", None)
    given, _ = give(memory, tmp_path, flat("B-9"), study="1.4")
    assert find_record(memory, "1.4") == given != early


def test_an_identifier_of_before_is_still_the_patients(memory: sqlite3.Connection, tmp_path: Path) -> None:
    document = json.loads(fhir("A-2"))
    document["entry"][0]["resource"]["identifier"] += [{"value": "A-1", "use": "old"}]
    study(memory, "1.2", "A-1")
    record, freed = give(memory, tmp_path, json.dumps(document).encode())
    assert freed == [], "nobody said that it is of this study"
    record, freed = give(memory, tmp_path, json.dumps(document).encode(), study="1.2")
    assert freed and find_record(memory, "1.2") == record
