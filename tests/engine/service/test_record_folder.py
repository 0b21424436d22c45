"""Records that are put into a folder: whole ones are taken, each for its own patient; others are moved aside."""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engine.service.test_records import KEY, fhir, flat, states, study
from mmcaf_engine.errors import ServiceError
from mmcaf_engine.service.database import open_database
from mmcaf_engine.service.record_folder import ASIDE, PATIENCE_S, RecordFolder
from mmcaf_engine.service.records import FOLDER, REFUSED, find_record, record_source
from mmcaf_engine.service.settling import SETTLED_S
from mmcaf_engine.service.views import newest_events

TABLE = "patient_id;sex;age\nA-1;F;60\nA-2;M;70\n"


class Place:
    """A watched folder, with a clock that the test moves."""

    def __init__(self, folder: Path, memory: sqlite3.Connection) -> None:
        self.folder, self.spool, self.memory, self.now = folder / "in", folder / "spool", memory, 100.0
        self.watched = RecordFolder(self.folder, self.spool, KEY, clock=lambda: self.now)

    def put(self, name: str, content: bytes | str) -> Path:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    def look(self, later_s: float = SETTLED_S) -> int:
        """Before and after so much time."""
        taken = self.watched.look(self.memory)
        self.now += later_s
        return taken + self.watched.look(self.memory)

    def refused(self) -> list[str]:
        return [one.detail for one in newest_events(self.memory, REFUSED, limit=9)]

    def aside(self) -> list[str]:
        return sorted(file.name.partition("-")[2] for file in (self.folder / ASIDE).glob("*"))

    def held(self, uid: str) -> Any:
        record = find_record(self.memory, uid)
        return None if record is None else record_source(self.memory, self.spool, record)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "spool").mkdir()
    with closing(open_database(tmp_path / "spool")) as memory:
        yield Place(tmp_path, memory)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("any.json", flat()),
        ("any.JSON", fhir("A-1")),
        ("a/b/any.fhir", fhir("A-1")),
        ("all.csv", TABLE),
        ("1.2.json", flat(None)),
        ("1.2.txt", "A nodule.\n"),
        ("1.2.csv", "patient_id,sex\nA-1,F\n"),
    ],
)
def test_a_record_frees_its_study_and_no_other(name: str, content: bytes | str, place: Place) -> None:
    study(place.memory, "1.2")
    study(place.memory, "1.3", "B-9")
    file = place.put(name, content)
    assert place.look() == 1 and not file.exists() and not place.refused()
    assert states(place.memory) == {"1.2": "queued", "1.3": "waiting-record"}


def test_every_row_of_a_table_is_a_record_of_its_own(place: Place) -> None:
    for uid, patient, accession in (
        ("1.2", "A-1", None),
        ("1.3", "A-2", "17"),
        ("1.4", "A-2", "18"),
        ("1.5", "C", "9"),
    ):
        study(place.memory, uid, patient, accession)
    place.put(
        "hourly.csv",
        'sep=;\r\nPatientID;AccessionNumber;StudyInstanceUID;sex;age\r\nA-1;;;"F";60\r\nA-2;17;;M;70\r\n;;1.5;F;80\r\n',
    )
    assert place.look() == 1
    assert states(place.memory) == {"1.2": "queued", "1.3": "queued", "1.4": "waiting-record", "1.5": "queued"}
    assert place.held("1.2") == b"PatientID,sex,age\nA-1,F,60\n"
    assert place.held("1.3") == b"PatientID,sex,age\nA-2,M,70\n" and place.held("1.5") == b"PatientID,sex,age\n,F,80\n"


def test_a_table_that_comes_every_hour_does_not_grow_the_memory(place: Place) -> None:
    for _ in range(3):
        place.put("hourly.csv", TABLE)
        assert place.look() == 1
    assert place.memory.execute("select count(*) from record").fetchone()[0] == 2
    assert len(list((place.spool / FOLDER).iterdir())) == 2
    for age in (61, 60):
        place.put("hourly.csv", TABLE.replace("60", str(age)))
        assert place.look() == 1
    study(place.memory, "1.2")
    assert place.held("1.2") == b"patient_id,sex,age\nA-1,F,60\n", "the newest, though it was there before"


def test_a_file_that_is_written_is_waited_for(place: Place) -> None:
    study(place.memory, "1.2")
    file = place.put("one.json", flat()[:9])
    assert place.look(SETTLED_S - 0.1) == 0
    place.put("one.json", flat()[:12])
    assert place.look(PATIENCE_S - 0.1) == 0 and file.exists(), "it seems cut, and may be written further"
    os.utime(file, (1, 1))
    assert place.look(SETTLED_S - 0.1) == 0
    place.put("one.json", flat())
    assert place.look() == 1 and states(place.memory) == {"1.2": "queued"}


@pytest.mark.parametrize("name", ["one.json", "one.csv", "1.2.txt"])
def test_a_file_that_stays_cut_is_refused_at_last_or_taken(name: str, place: Place) -> None:
    file = place.put(name, TABLE.rstrip() if name == "one.csv" else "a report" if name == "1.2.txt" else flat()[:-1])
    assert place.look(PATIENCE_S - 0.1) == 0 and file.exists() and not place.refused()
    place.now += 1
    taken = place.watched.look(place.memory)
    assert not file.exists() and taken == (name != "one.json") and len(place.refused()) == (name == "one.json")


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("SENTINEL.json", b'{"patient_id": "SENTINEL", "age": NaN}', "NaN"),
        ("SENTINEL.json", b'{"SENTINEL": 1, "SENTINEL": 2}', "a key appears twice"),
        ("SENTINEL.json", b'{"resourceType": "SENTINEL"}', "no FHIR Bundle"),
        ("SENTINEL.json", b'{"age": 777777777777777777777777}', "24 digits"),
        ("SENTINEL.json", b'["SENTINEL"]}', "not JSON"),
        ("SENTINEL.json", b'{"sex": "SENTINEL"}', "whom it is of"),
        ("SENTINEL.csv", b"patient_id,sex\nSENTINEL,F\nSENTINEL\n", "line 3"),
        ("SENTINEL.csv", b"patient_id,PatientID\nSENTINEL,F\n", "twice"),
        ("SENTINEL.csv", b"sex,age\nSENTINEL,F\n", "line 1"),
        ("SENTINEL.csv", b"patient_id,age\n,77\n", "line 2"),
        ("SENTINEL.csv", b"patient_id,age\n", "no rows"),
        ("SENTINEL.csv", b"patient_id,age\n\xff,77\n", "UTF-8"),
        ("SENTINEL.txt", b"SENTINEL\n", "StudyInstanceUID"),
        ("SENTINEL.pdf", b"SENTINEL\n", "ends in none of"),
        ("1.2.csv", b"patient_id,age\nSENTINEL,1\nA-1,2\n", "2 records"),
    ],
)
def test_what_cannot_be_read_is_moved_aside_and_said_without_its_patient(
    name: str, content: bytes, why: str, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    study(place.memory, "1.2", "SENTINEL")
    place.put(name, content)
    assert place.look(PATIENCE_S) == 0 and place.aside() == [name]
    [said] = place.refused()
    assert why in said and why in caplog.text and "SENTINEL" not in said + caplog.text and "7777" not in said
    assert states(place.memory) == {"1.2": "waiting-record"} and place.look(PATIENCE_S) == 0
    assert place.memory.execute("select count(*) from record").fetchone()[0] == 0


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("1.2.json", flat("B-9")),
        ("1.2.json", fhir("B-9")),
        ("all.csv", "patient_id,study_instance_uid,sex\nA-1,,F\nB-9,1.2,F\n"),
        ("1.2.csv", "patient_id,sex\nB-9,F\n"),
    ],
)
def test_another_patients_record_is_refused_for_a_study(name: str, content: bytes | str, place: Place) -> None:
    study(place.memory, "1.2")
    place.put(name, content)
    assert place.look() == 0 and states(place.memory) == {"1.2": "waiting-record"}
    assert "different patients" in place.refused()[0]


@pytest.mark.parametrize("content", [flat("B-9"), fhir("B-9", accession="17"), "patient_id,accession,sex\nB-9,17,F\n"])
def test_another_patients_record_of_the_same_order_or_a_coming_study_is_not_used(
    content: bytes | str, place: Place
) -> None:
    place.put("1.2.json" if isinstance(content, bytes) else "a.csv", content)
    assert place.look() == 1
    study(place.memory, "1.2", "A-1", "17")
    assert states(place.memory) == {"1.2": "waiting-record"}


def test_links_and_pipes_are_not_followed(place: Place, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.json").write_bytes(flat())
    (place.folder / "link.json").symlink_to(tmp_path / "elsewhere.json")
    os.mkfifo(place.folder / "pipe.json")
    assert place.look() == 0 and place.aside() == ["link.json", "pipe.json"]
    assert (tmp_path / "elsewhere.json").exists()


def test_what_cannot_be_moved_is_said_once(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", broken)
    place.put("one.json", flat())
    place.look()
    place.look()
    assert caplog.text.count("Permission denied") == 1
    assert place.memory.execute("select count(*) from record").fetchone()[0] == 1


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match="file/in"):
        RecordFolder(tmp_path / "file" / "in", tmp_path, KEY)


def test_the_newest_record_counts_though_it_has_come_before(place: Place) -> None:
    study(place.memory, "1.2", None)
    for age in (60, 61, 60):
        place.put("1.2.json", json.dumps({"age": age}))
        place.look()
    assert json.loads(place.held("1.2")) == {"age": 60}
