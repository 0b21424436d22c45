"""When a study is whole, over every order in which its images may come; and which bundle answers it with what."""

import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmwrite

from dicom_factory import ct_series, hounsfield
from mmcaf_engine.errors import ServiceError
from mmcaf_engine.manifest import Manifest
from mmcaf_engine.service import answers, studies, views
from mmcaf_engine.service.config import Config
from mmcaf_engine.service.database import open_database
from mmcaf_engine.service.disk import Reserve
from mmcaf_engine.service.headers import identify
from mmcaf_engine.service.intake import Intake
from mmcaf_engine.service.owed import owe
from mmcaf_engine.service.receipt import Receipt
from mmcaf_engine.service.routing import WORK, files_of, gathered
from mmcaf_engine.service.studies import keep
from tiny_bundle import tiny_manifest

KEY = b"k" * 32
SLICES = 6
FILES = {name: {"sha256": "0" * 64, "size": 1} for name in ("model.onnx", "golden.npz")}
CT = Manifest.model_validate({**tiny_manifest(), "files": FILES})
QUIET_S, DEADLINE_S = 2.0, 60.0


def images(study: str = "1.2.3", **elements: Any) -> list[bytes]:
    """A study's slices, as files."""
    uids = {"StudyInstanceUID": study, "series_uid": f"{study}.1", **elements}
    return [encoded(image) for image in ct_series(hounsfield(SLICES), **uids)]


def encoded(image: Any) -> bytes:
    stream = BytesIO()
    dcmwrite(stream, image, enforce_file_format=True)
    return stream.getvalue()


class Desk:
    """A service's spool whose clock the test moves."""

    def __init__(self, spool: Path, taking: Receipt, memory: sqlite3.Connection) -> None:
        self.spool, self.taking, self.memory = spool, taking, memory
        self.now, self.since = 1000.0, 0.0
        self.told: dict[str, int] = {}
        self.records: dict[str, int] = {}

    def intake(self, **settings: Any) -> Intake:
        fields = {
            "spool": self.spool,
            "bundle": [{"name": "lung", "path": "lung.mmcaf"}],
            "completeness": {"quiet_s": QUIET_S, "deadline_s": DEADLINE_S},
            **settings,
        }
        config = Config.model_validate(fields)
        manifests = {bundle.name: CT for bundle in config.bundle}
        return Intake(
            config,
            manifests,
            count=lambda study: self.told.get(study),
            find_record=lambda _, study: self.records.get(study),
            since=self.since,
        )

    def take(self, *files: bytes, source: str = "CT1") -> None:
        for content in files:
            instance = identify(content, "image", source, KEY)
            assert self.taking.receive(instance).kept in ("new", "same")
            self.memory.execute("update study set last = ? where uid = ?", (self.now, instance.arrival.study))

    def sets(self, study: str = "1.2.3") -> list[tuple[int, int, str]]:
        """Each answer's generation, how many images it is of, and its state."""
        rows = self.memory.execute("select generation, state from answer where study = ? order by id", (study,))
        return [
            (row["generation"], sum(map(len, files_of(self.memory, study, row["generation"]).values())), row["state"])
            for row in rows
        ]

    def problem(self, study: str = "1.2.3") -> str | None:
        found: str | None = self.memory.execute("select problem from study where uid = ?", (study,)).fetchone()[0]
        return found


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Receipt(tmp_path, Reserve(0, 0)) as taking, closing(open_database(tmp_path)) as memory:
        yield Desk(tmp_path, taking, memory)


NO_RECORD = {"route": [{"bundle": "lung", "record": "optional"}]}


def test_a_study_waits_for_silence_and_for_its_sender(desk: Desk) -> None:
    intake = desk.intake(**NO_RECORD)
    desk.take(*images())
    assert intake.look(desk.memory, set(), desk.now + QUIET_S - 0.1) == 0
    assert intake.look(desk.memory, {"1.2.3"}, desk.now + 100) == 0
    assert intake.look(desk.memory, set(), desk.now + QUIET_S) == 1
    assert desk.sets() == [(1, SLICES, "queued")]
    assert intake.look(desk.memory, set(), desk.now + 100) == 0


def test_silence_is_none_while_nobody_listened(desk: Desk) -> None:
    """A receiver that was started again: whoever was sending has to find it first."""
    desk.take(*images()[:4])
    desk.now = desk.since = 1500.0
    intake = desk.intake(**NO_RECORD)
    assert intake.look(desk.memory, set(), desk.now + QUIET_S - 0.1) == 0
    desk.take(*images()[4:])
    assert intake.look(desk.memory, set(), desk.now + QUIET_S) == 1 and desk.sets() == [(1, SLICES, "queued")]


def test_a_person_ends_the_waiting_and_what_comes_all_the_same_counts(desk: Desk) -> None:
    files, intake = images(), desk.intake(**NO_RECORD)
    desk.take(*files[:2], *files[4:])
    assert not studies.close(desk.memory, "1.2.3", desk.now), "nothing is missing yet, as far as is known"
    assert intake.look(desk.memory, set(), desk.now + QUIET_S) == 0
    assert studies.close(desk.memory, "1.2.3", desk.now) and not studies.close(desk.memory, "1.2.3", desk.now)
    desk.take(files[2])
    assert intake.look(desk.memory, set(), desk.now + QUIET_S) == 0, "one more came: the rest is waited for again"
    assert studies.close(desk.memory, "1.2.3", desk.now)
    assert intake.look(desk.memory, set(), desk.now + QUIET_S) == 1
    assert desk.sets() == [(1, SLICES - 1, "queued")], "the runner says what is wrong with it"
    assert not studies.close(desk.memory, "1.2.3", desk.now)
    desk.take(files[3])
    assert intake.look(desk.memory, set(), desk.now + QUIET_S) == 1 and desk.sets()[-1] == (2, SLICES, "queued")


def test_of_fewer_images_than_are_known_of_nothing_is_answered_though_nobody_waits(desk: Desk) -> None:
    desk.told["1.2.3"] = SLICES
    pacs = {"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}
    intake = desk.intake(**NO_RECORD, destination=[pacs], completeness={"quiet_s": QUIET_S, "count_from": "pacs"})
    desk.take(*images()[:-1])
    assert intake.look(desk.memory, set(), desk.now + QUIET_S) == 0
    assert studies.close(desk.memory, "1.2.3", desk.now)
    assert intake.look(desk.memory, set(), desk.now + QUIET_S) == 1 and desk.sets() == [(1, SLICES - 1, "refused")]
    view = views.find_answer(desk.memory, 1)
    assert view is not None and "5 of 6 images" in str(view.problem) and view.actions == []
    assert "Send the images" in view.remedies[0]["text"]


def test_a_gap_waits_and_is_refused_by_the_engine_at_last(desk: Desk) -> None:
    intake = desk.intake(**NO_RECORD)
    files = images()
    desk.take(*files[:2], *files[3:])
    for later in (QUIET_S, DEADLINE_S - 1):
        assert intake.look(desk.memory, set(), desk.now + later) == 0
    assert "missing" in str(desk.problem())
    desk.take(files[2])
    assert desk.problem() is None
    assert intake.look(desk.memory, set(), desk.now + QUIET_S) == 1 and desk.sets() == [(1, SLICES, "queued")]
    other = images("1.2.4")
    desk.take(*other[:2], *other[3:])
    assert intake.look(desk.memory, set(), desk.now + DEADLINE_S) == 1
    assert desk.sets("1.2.4") == [(1, SLICES - 1, "queued")], "the runner says what is wrong with it"


def test_a_gap_is_looked_at_once_until_something_comes(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmcaf_engine.service import intake as module

    looked: list[int] = []
    was = module.open_inputs
    monkeypatch.setattr(module, "open_inputs", lambda *a, **k: looked.append(1) or was(*a, **k))
    intake, files = desk.intake(**NO_RECORD), images()
    desk.take(*files[:2], *files[3:])
    for second in range(5):
        intake.look(desk.memory, set(), desk.now + QUIET_S + second)
    assert len(looked) == 1


def test_what_was_refused_for_want_of_room_is_waited_for(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part without a gap is no study: who was told that the disk is full comes again, perhaps much later."""
    intake, files = desk.intake(**NO_RECORD), images()
    desk.take(*files[:4])
    for _ in range(2):
        with monkeypatch.context() as patched:
            patched.setattr(Reserve, "room", lambda *_: "low")
            for content in files[3:]:  # One of them is here already.
                assert desk.taking.receive(identify(content, "image", "CT1", KEY)).full
    desk.taking._waiting.put(None)
    desk.taking._thread.join()
    assert intake.look(desk.memory, set(), desk.now + QUIET_S) == 0
    assert desk.problem() == "2 images were refused since the disk had no room, and have not come again."
    with Receipt(desk.spool, Reserve(0, 0)) as desk.taking:
        desk.take(files[4])
        assert intake.look(desk.memory, set(), desk.now + QUIET_S) == 0
        desk.take(files[5])
    assert intake.look(desk.memory, set(), desk.now + QUIET_S) == 1 and desk.sets() == [(1, SLICES, "queued")]


def test_what_was_refused_and_never_comes_again_is_no_answer(desk: Desk) -> None:
    intake, files = desk.intake(**NO_RECORD), images()
    desk.take(*files[:4])
    owe(desk.memory, [identify(files[4], "image", "CT1", KEY).arrival], desk.now)
    assert intake.look(desk.memory, set(), desk.now + DEADLINE_S) == 1 and desk.sets() == [(1, 4, "refused")]
    assert desk.memory.execute("select count(*) from owed").fetchone()[0] == 0


def test_geometry_is_looked_at_before_the_silence_is_over_and_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmcaf_engine.service import intake as module

    looked: list[int] = []
    was = module.open_inputs
    monkeypatch.setattr(module, "open_inputs", lambda *a, **k: looked.append(1) or was(*a, **k))
    files = images()
    intake = desk.intake(**NO_RECORD)
    desk.take(*files[:-1])
    assert not intake.look(desk.memory, {"1.2.3"}, desk.now + QUIET_S - 1) and not looked, "it is being sent"
    assert not intake.look(desk.memory, set(), desk.now + QUIET_S - module.AHEAD_S - 1) and not looked
    for _ in range(2):
        assert not intake.look(desk.memory, set(), desk.now + QUIET_S - 1) and len(looked) == 1
    desk.take(files[-1])
    assert not intake.look(desk.memory, set(), desk.now + QUIET_S - 1) and len(looked) == 2, "another image came"
    assert intake.look(desk.memory, set(), desk.now + QUIET_S) == 1 and len(looked) == 2
    assert not intake._geometry


def test_the_archives_count_is_waited_for(desk: Desk) -> None:
    pacs = {"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}
    times = {"quiet_s": QUIET_S, "deadline_s": DEADLINE_S, "count_from": "pacs"}
    intake = desk.intake(destination=[pacs], completeness=times, **NO_RECORD)
    files = images()
    desk.told["1.2.3"] = SLICES
    desk.take(*files[:-1])
    assert intake.look(desk.memory, set(), desk.now + QUIET_S) == 0 and "5 of 6 images" in str(desk.problem())
    desk.take(files[-1])
    assert intake.look(desk.memory, set(), desk.now + QUIET_S) == 1


def test_an_archive_that_is_down_holds_nothing_up(desk: Desk) -> None:
    pacs = {"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}
    intake = desk.intake(destination=[pacs], completeness={"quiet_s": QUIET_S, "count_from": "pacs"}, **NO_RECORD)

    def down(study: str) -> int:
        raise ServiceError("no association")

    intake._count = down
    desk.take(*images())
    assert intake.look(desk.memory, set(), desk.now + QUIET_S) == 1


def test_a_peers_own_silence(desk: Desk) -> None:
    peers = [{"ae_title": "SLOW", "quiet_s": 20}]
    intake = desk.intake(dicom={"peers": peers}, **NO_RECORD)
    desk.take(*images(), source="SLOW")
    desk.take(*images("1.2.4"))
    assert intake.look(desk.memory, set(), desk.now + QUIET_S) == 1 and desk.sets() == []
    assert intake.look(desk.memory, set(), desk.now + 20) == 1


def test_routes_choose_bundles_by_series(desk: Desk) -> None:
    intake = desk.intake(
        bundle=[{"name": name, "path": "x"} for name in ("lung", "head", "next")]
        + [{"name": "shade", "path": "x", "shadow_of": "lung"}],
        route=[
            {"bundle": "lung", "match": {"SeriesDescription": "*CHEST*", "Modality": "C?"}, "record": "optional"},
            {"bundle": "head", "match": {"SeriesDescription": "head"}},
            {"bundle": "next", "match": {"ImageType": "original"}, "record": "optional"},
        ],
    )
    desk.take(*images(SeriesDescription="Chest thin"))
    assert intake.look(desk.memory, set(), desk.now + QUIET_S) == 1
    rows = desk.memory.execute("select bundle, shadow from answer order by id").fetchall()
    assert [tuple(row) for row in rows] == [("lung", 0), ("shade", 1), ("next", 0)]


def test_a_study_that_no_route_is_for_is_complete_and_answered_by_none(desk: Desk) -> None:
    intake = desk.intake(route=[{"bundle": "lung", "match": {"Modality": "MR"}}])
    desk.take(*images())
    assert intake.look(desk.memory, set(), desk.now + QUIET_S) == 1 and desk.sets() == []


def test_a_bundle_that_reads_a_record_waits_for_it(desk: Desk) -> None:
    intake = desk.intake()
    desk.take(*images(), *images("1.2.4"))
    file = ("x" * 64, "records/1", "http", 1.0)
    desk.memory.execute("insert into record(id, sha256, file, source, arrived) values(7, ?, ?, ?, ?)", file)
    desk.records["1.2.4"] = 7
    assert intake.look(desk.memory, set(), desk.now + QUIET_S) == 2
    assert desk.sets() == [(1, SLICES, "waiting-record")] and desk.sets("1.2.4") == [(1, SLICES, "queued")]
    row = desk.memory.execute("select record, deadline from answer where study = '1.2.4'").fetchone()
    assert row["record"] == 7 and row["deadline"] > desk.now


def test_an_answer_is_of_the_images_that_its_study_had(desk: Desk) -> None:
    desk.take(*images()[:4])
    keep(desk.memory, [], desk.now)
    files = [file for series in files_of(desk.memory, "1.2.3", 1).values() for file in series]
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = desk.spool / WORK / f"runner-{dead.pid}" / "left"
    others = [desk.spool / WORK / name for name in (f"runner-{os.getppid()}", f"runner-2-{dead.pid}")]
    for other in others:
        other.mkdir(parents=True)
    left.parent.mkdir(parents=True)
    left.write_bytes(b"of a process that died")
    with gathered(desk.spool, "runner", files) as folder:
        desk.take(*images()[4:])
        assert len(list(folder.iterdir())) == 4
    assert not left.parent.exists() and all(other.is_dir() for other in others), "of who may still read there"
    assert not folder.exists() and all((desk.spool / file).is_file() for file in files)


@pytest.mark.parametrize("seed", range(3))
def test_one_answer_of_each_whole_set_and_none_of_a_part(seed: int, desk: Desk) -> None:
    """Two studies interleaved, cut, late and repeated, through the receipt; many more without it in test_arrivals."""
    chance = random.Random(seed)
    pacs = {"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}
    counted = chance.random() < 0.5
    times = {"quiet_s": QUIET_S, "deadline_s": 1e6, **({"count_from": "pacs"} if counted else {})}
    intake = desk.intake(destination=[pacs], completeness=times, **NO_RECORD)
    whole = {study: images(study) for study in ("1.2.3", "1.2.4")}
    if counted:
        desk.told = dict.fromkeys(whole, SLICES)
    coming = [(study, file) for study, files in whole.items() for file in files]
    coming += [chance.choice(coming) for _ in range(chance.randrange(4))]
    chance.shuffle(coming)
    busy: set[str] = set()
    while coming or busy:
        for _ in range(chance.randrange(1, 5)):
            if coming:
                study, file = coming.pop()
                desk.take(file)
                busy.add(study)
        desk.now += chance.choice([0.0, 0.5, QUIET_S - 0.1, QUIET_S, 3 * QUIET_S])
        intake.look(desk.memory, busy, desk.now)
        if chance.random() < 0.5:
            busy.clear()
        intake.look(desk.memory, busy, desk.now)
        claimed = answers.claim(desk.memory, "lung", "runner", desk.now) if chance.random() < 0.3 else None
        if claimed is not None:
            answers.renew(desk.memory, claimed, "runner", desk.now)
    desk.now += 10 * QUIET_S
    intake.look(desk.memory, busy, desk.now)
    for study in whole:
        found = desk.sets(study)
        live = [one for one in found if one[2] != "superseded"]
        assert len(live) == 1 and live[0][1] == SLICES, found
        assert found[-1] == live[0] and [one[0] for one in found] == sorted({one[0] for one in found})
        if counted:
            assert len(found) == 1, "nothing was answered before it was whole"
