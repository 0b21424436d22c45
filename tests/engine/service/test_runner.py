"""A queued study becomes frozen bytes: the same after any crash, and never more than are wanted."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from dicom_factory import ct_series, hounsfield
from engine.service.test_intake import KEY, encoded
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.cancel import CancelToken
from mmcaf_engine.errors import CancelledError
from mmcaf_engine.pipeline import Answerer
from mmcaf_engine.service import answers, runner, studies, views
from mmcaf_engine.service.config import Config
from mmcaf_engine.service.database import open_database
from mmcaf_engine.service.disk import Reserve
from mmcaf_engine.service.headers import identify, read_header
from mmcaf_engine.service.receipt import Receipt
from mmcaf_engine.service.records import keep_record, read_given
from mmcaf_engine.service.routing import WORK
from mmcaf_engine.service.runner import RESULTS, Runner
from mmcaf_engine.service.studies import Wanted
from mmcaf_engine.session.session import open_session
from tiny_bundle import make_tiny_bundle

STUDY, CREATED = "1.2.3", "2026-01-02T03:04:05Z"
PATIENT = "P-77"
SLICES = 25


@pytest.fixture(scope="module")
def answerer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answerer]:
    bundle = load_bundle(make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny.mmcaf"))
    with open_session(bundle, backend="onnxruntime", threads=1) as session:
        yield Answerer(session)


class Bench:
    """A spool with one whole study, whose answer is queued."""

    def __init__(self, spool: Path, answerer: Answerer, memory: sqlite3.Connection) -> None:
        self.spool, self.answerer, self.memory = spool, answerer, memory

    def runner(self, name: str = "tiny", owner: str = "tiny 1", **settings: Any) -> Runner:
        pacs = {"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}
        fields = {
            "spool": self.spool,
            "bundle": [{"name": "tiny", "path": "x"}, {"name": "shade", "path": "x", "shadow_of": "tiny"}],
            "destination": [pacs],
            **settings,
        }
        return Runner(Config.model_validate(fields), name, self.answerer, owner, clock=lambda: 2000.0)

    def queue(self, *wanted: str, record: bytes | None = None, skip: int | None = None, study: str = STUDY) -> None:
        given = json.dumps({"patient_id": PATIENT, "sex": "F", "age": 60}).encode() if record is None else record
        number, _ = keep_record(self.memory, self.spool, read_given(given, KEY), source="http", now=5.0)
        uids = {"StudyInstanceUID": study, "series_uid": f"{study}.1", "PatientID": PATIENT}
        with Receipt(self.spool, Reserve(0, 0)) as taking:
            for at, image in enumerate(ct_series(hounsfield(SLICES), **uids)):
                if at != skip:
                    taking.receive(identify(encoded(image), "image", "CT1", KEY))
        [found] = [one for one in studies.quiet(self.memory, 9e9, 1.0) if one.uid == study]
        every = [Wanted(name, shadow=name == "shade", record=number) for name in wanted or ("tiny",)]
        assert studies.complete(self.memory, found, every, CREATED, 20.0)

    def row(self) -> sqlite3.Row:
        found: sqlite3.Row = self.memory.execute("select * from answer").fetchone()
        return found

    def contents(self, folder: str = "1-0") -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in sorted((self.spool / RESULTS / folder).glob("*"))}


@pytest.fixture
def bench(tmp_path: Path, answerer: Answerer) -> Iterator[Bench]:
    with closing(open_database(tmp_path)) as memory:
        yield Bench(tmp_path, answerer, memory)


def test_a_study_is_answered_and_frozen(bench: Bench) -> None:
    bench.queue()
    runner = bench.runner()
    assert runner.step(bench.memory) and not runner.step(bench.memory)
    row = bench.row()
    assert row["state"] == "sending" and row["bundle_sha256"] == bench.answerer.bundle.sha256
    contents = bench.contents()
    assert set(contents) == {
        "structured-report.dcm",
        "secondary-capture.dcm",
        "fhir.json",
        "result.json",
        "answer.html",
    }
    result = json.loads(contents["result.json"])
    assert result["created"] == CREATED and result["label"] in ("quiet", "loud")
    for found in bench.memory.execute("select * from object where kind like '%-%'"):
        header, _ = read_header(contents[f"{found['kind']}.dcm"], "object", ["SOPInstanceUID", "SOPClassUID"])
        assert (header.SOPInstanceUID, header.SOPClassUID) == (found["uid"], found["sop_class"])
    delivery = bench.memory.execute("select destination, state, due, until from delivery").fetchone()
    assert tuple(delivery) == ("pacs", "sending", 2000.0, 2000.0 + 72 * 3600)
    assert not list((bench.spool / WORK).iterdir())


def test_after_a_crash_the_same_bytes_are_made(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies after the files are written, before the memory knows of them."""

    class Died(BaseException):
        pass

    def die(*_: Any, **__: Any) -> bool:
        raise Died

    bench.queue()
    with monkeypatch.context() as patched, pytest.raises(Died):
        patched.setattr(runner, "freeze", die)
        bench.runner().step(bench.memory)
    before = bench.contents("1-0")
    assert bench.row()["state"] == "running"
    assert bench.runner().step(bench.memory) and bench.row()["state"] == "sending"
    after = bench.contents("1-1")
    for name in ("structured-report.dcm", "secondary-capture.dcm", "fhir.json"):
        assert before[name] == after[name]
    assert bench.row()["crashes"] == 1


def test_what_another_study_left_under_its_number_is_no_part_of_an_answer(bench: Bench) -> None:
    """Numbers of answers that were purged are given again."""
    left = bench.spool / RESULTS / "1-0" / "heatmap.dcm"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"of another patient")
    bench.queue()
    assert bench.runner().step(bench.memory) and "result.json" in bench.contents() and not left.exists()


def test_what_is_refused_says_why_and_what_to_do(bench: Bench) -> None:
    bench.queue(skip=2)
    assert bench.runner().step(bench.memory)
    row = bench.row()
    assert (row["state"], row["exit_code"], row["owner"]) == ("refused", 3, None) and "missing" in row["problem"]
    assert any(remedy["option"] == "gaps" for remedy in json.loads(row["remedies"]))
    assert bench.contents() == {}


def test_the_routes_options_are_those_of_the_answer(bench: Bench) -> None:
    bench.queue(skip=2)
    route = {"bundle": "tiny", "options": {"gaps": "interpolate"}}
    assert bench.runner(route=[route]).step(bench.memory)
    assert bench.row()["state"] == "sending"
    assert json.loads(bench.contents()["result.json"])["options"]["gaps"] == "interpolate"


def test_what_a_person_accepts_is_done_of_this_answer_alone(bench: Bench) -> None:
    bench.queue(skip=2)
    assert bench.runner().step(bench.memory)
    [view] = [views.find_answer(bench.memory, 1)]
    assert view is not None and view.options == {}
    first, again = view.actions
    assert (first.do, first.options) == ("retry", {"gaps": "interpolate"}) and (again.do, again.options) == (
        "retry",
        {},
    )
    assert answers.retry(bench.memory, 1, 2001.0, 9e9)
    assert bench.runner().step(bench.memory) and bench.row()["state"] == "refused"
    assert answers.retry(bench.memory, 1, 2002.0, 9e9, options=first.options)
    assert bench.runner().step(bench.memory) and bench.row()["state"] == "sending"
    assert json.loads(bench.contents()["result.json"])["options"]["gaps"] == "interpolate"
    assert not answers.retry(bench.memory, 1, 2003.0, 9e9, options={"gaps": "refuse"}), "its bytes are frozen"
    said = bench.memory.execute("select detail from event where state = 'queued' order by id desc").fetchone()[0]
    assert said == "by a person gaps=interpolate"
    bench.queue(skip=2, study="1.2.4")
    assert bench.runner().step(bench.memory)
    assert bench.memory.execute("select state from answer where id = 2").fetchone()[0] == "refused"


def test_another_patients_record_is_refused(bench: Bench) -> None:
    bench.queue(record=json.dumps({"patient_id": "OTHER", "sex": "F", "age": 60}).encode())
    assert bench.runner().step(bench.memory)
    row = bench.row()
    assert (row["state"], row["exit_code"]) == ("refused", 4)
    assert "OTHER" not in row["problem"] and PATIENT not in row["problem"]


def test_a_study_that_no_route_is_for_any_more(bench: Bench) -> None:
    bench.queue()
    assert bench.runner(route=[{"bundle": "tiny", "match": {"Modality": "MR"}}]).step(bench.memory)
    assert bench.row()["state"] == "refused" and "route" in bench.row()["problem"]


def test_a_shadow_answers_and_sends_nothing(bench: Bench) -> None:
    bench.queue("shade")
    assert bench.runner("shade").step(bench.memory)
    assert bench.row()["state"] == "written" and len(bench.contents()) == 5
    assert bench.memory.execute("select count(*) from delivery").fetchone()[0] == 0


def test_a_shadow_is_compared_with_the_answer(bench: Bench) -> None:
    bench.queue("tiny", "shade")
    assert bench.runner("shade").step(bench.memory) and bench.runner().step(bench.memory)
    [pair] = bench.memory.execute("select agrees, difference from comparison").fetchall()
    assert tuple(pair) == (1, 0.0)


def test_a_later_answer_names_the_report_that_it_replaces(bench: Bench) -> None:
    bench.queue(skip=SLICES - 1)
    assert bench.runner().step(bench.memory)
    bench.queue()
    assert bench.runner().step(bench.memory)
    first, second = (
        dcmread(bench.spool / row["file"])
        for row in bench.memory.execute("select file from object where kind = 'structured-report' order by answer")
    )
    [study] = second.PredecessorDocumentsSequence
    [series] = study.ReferencedSeriesSequence
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert "PredecessorDocumentsSequence" not in first


def test_a_bug_ends_one_answer_and_quotes_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise KeyError(PATIENT)

    bench.queue()
    monkeypatch.setattr(bench.answerer, "answer", broken)
    assert bench.runner().step(bench.memory)
    row = bench.row()
    assert (row["state"], row["exit_code"]) == ("failed", 1) and "KeyError" in row["problem"]
    assert PATIENT not in row["problem"] + caplog.text


@pytest.mark.parametrize("step", ["write_synced", "make_folder", "freeze", "gathered"])
def test_a_full_disk_puts_it_back_until_there_is_room(step: str, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where not even that can be entered; and no process died over it."""

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    bench.queue()
    working = bench.runner()
    for _ in range(answers.MOST_CRASHES + 1):
        with monkeypatch.context() as patched:
            patched.setattr(runner, step, full)
            with pytest.raises(OSError, match="No space"):
                working.step(bench.memory)
        with monkeypatch.context() as patched:
            patched.setattr(runner, "put_back", full)
            with pytest.raises(OSError, match="No space"):
                working.step(bench.memory)
    assert working.step(bench.memory)
    row = bench.row()
    assert (row["state"], row["crashes"], row["problem"]) == ("sending", 0, None) and len(bench.contents()) == 5


def test_another_fault_of_the_disk_ends_it_with_a_remedy(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise OSError(5, "Input/output error")

    bench.queue()
    monkeypatch.setattr(runner, "write_synced", broken)
    assert bench.runner().step(bench.memory)
    assert bench.row()["state"] == "failed" and "Input/output" in bench.row()["problem"]


def test_work_ends_when_the_answer_is_no_longer_wanted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person cancels while the network runs; the signs of life notice it."""
    bench.queue()
    seen = threading.Event()
    monkeypatch.setattr(runner, "LEASE_S", 0.2)

    def slow(*_: Any, cancel: CancelToken, **__: Any) -> Any:
        with closing(open_database(bench.spool)) as other:
            assert answers.cancel(other, bench.row()["id"], 2001.0)
        for _ in range(200):
            if cancel.cancelled:
                seen.set()
                raise CancelledError("cancelled")
            threading.Event().wait(0.05)

    monkeypatch.setattr(bench.answerer, "answer", slow)
    assert bench.runner().step(bench.memory)
    assert seen.is_set() and bench.row()["state"] == "cancelled"


@pytest.mark.parametrize(
    "fields",
    [{"sex": "SENTINEL"}, {"age": 7777}, {"age": {"value": 7, "unit": "SENTINEL"}}, {"age": 7e77}, {"Sex": "F"}],
    ids=str,
)
def test_what_is_kept_of_a_refused_record_quotes_none_of_it(fields: dict[str, Any], bench: Bench) -> None:
    given = {"patient_id": PATIENT, "sex": "F", "age": 60, "SENTINEL": "SENTINEL", **fields}
    bench.queue(record=json.dumps(given).encode())
    assert bench.runner().step(bench.memory)
    row = bench.row()
    assert (row["state"], row["exit_code"]) == ("refused", 4) and row["problem"]
    kept = " ".join(str(value) for (value,) in bench.memory.execute("select detail from event"))
    said = row["problem"] + row["remedies"] + kept
    assert "SENTINEL" not in said and "777" not in said and "7e+77" not in said
