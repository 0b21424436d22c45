"""Hundreds of drawn orders in which studies come, against what must come of each: one answer per whole set.

Interleaved, cut into associations, late, repeated, aborted, with other bytes under a known UID, over restarts of the
receiver; with and without an archive that tells how many images there are. Time is the test's; the engine's geometry
check is the real one, asked once for each set of slices.
"""

import itertools
import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from dicom_factory import change, ct_series, hounsfield
from engine.service.test_intake import CT, KEY, NO_RECORD, encoded
from mmcaf_engine.service import answers, delivery, studies
from mmcaf_engine.service.answers import FrozenObject
from mmcaf_engine.service.config import Config, DicomSettings
from mmcaf_engine.service.database import open_database
from mmcaf_engine.service.delivery import DELIVERED
from mmcaf_engine.service.dimse.receiver import DUPLICATE, Receiver
from mmcaf_engine.service.disk import Reserve
from mmcaf_engine.service.headers import identify
from mmcaf_engine.service.intake import Intake
from mmcaf_engine.service.receipt import Receipt
from mmcaf_engine.service.studies import Arrival

pytest.importorskip("pynetdicom")
from pynetdicom import AE

SLICES, QUIET_S, SEQUENCES = 5, 2.0, 320
STUDIES = ("1.2.3", "1.2.4", "1.2.5")
FROZEN = ("sending", "delivered")
OBJECTS = (("structured-report", "1.2.840.1"), ("secondary-capture", "1.2.840.2"))
ARCHIVE = {"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}


@dataclass
class Model:
    """What is known of one study. here: slices; set_of: answer -> the slices that it is of."""

    here: set[int] = field(default_factory=set)
    last: float = 0.0
    complete: bool = False
    generation: int = 1
    set_of: dict[int, frozenset[int]] = field(default_factory=dict)


class Lab:
    """One spool with every slice in it, and an empty memory for each sequence."""

    def __init__(self, spool: Path, memory: sqlite3.Connection) -> None:
        self.spool, self.memory = spool, memory
        self.slices = {study: [self._put(study, image) for image in self._images(study)] for study in STUDIES}
        self.judged: dict[tuple[Path, ...], str | None] = {}
        fields = {"spool": spool, "bundle": [{"name": "lung", "path": "x"}], "destination": [ARCHIVE], **NO_RECORD}
        times = {"quiet_s": QUIET_S, "deadline_s": 86400.0}
        self.configs = [
            Config.model_validate({**fields, "completeness": {**times, **more}})
            for more in ({}, {"count_from": "pacs"})
        ]
        memory.execute("pragma synchronous = off")

    def _images(self, study: str) -> list[bytes]:
        made = ct_series(hounsfield(SLICES), StudyInstanceUID=study, series_uid=f"{study}.1")
        return [encoded(image) for image in made]

    def _put(self, study: str, content: bytes) -> Arrival:
        arrival = identify(content, "image", "CT1", KEY).arrival
        file = PurePosixPath("images", study, f"{arrival.uid}.dcm")
        (self.spool / file).parent.mkdir(parents=True, exist_ok=True)
        (self.spool / file).write_bytes(content)
        return replace(arrival, file=str(file), sha256=arrival.uid)

    def empty(self) -> None:
        for table in ("delivery", "object", "event", "answer", "instance", "study"):
            self.memory.execute(f"delete from {table}")

    def intake(self, counted: bool, told: Callable[[str], int | None], since: float) -> Intake:
        made = Intake(self.configs[counted], {"lung": CT}, count=told, since=since)
        refused = made._refused

        def once(study: object, routed: object, series: dict[str, list[Path]], lines: object) -> str | None:
            files = tuple(file for found in series.values() for file in found)
            if files not in self.judged:
                self.judged[files] = refused(study, routed, series, lines)  # type: ignore[arg-type]
            return self.judged[files]

        made._refused = once  # type: ignore[assignment,method-assign]
        return made


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    spool = tmp_path_factory.mktemp("spool")
    with pytest.MonkeyPatch.context() as patched, closing(open_database(spool)) as memory:
        patched.setattr(os, "fsync", lambda _: None)
        yield Lab(spool, memory)


class Sequence:
    """One drawn order, and what the service makes of it."""

    def __init__(self, lab: Lab, seed: int) -> None:
        self.lab, self.draw = lab, random.Random(seed)
        self.counted = self.draw.random() < 0.5
        self.now, self.since = 1000.0, 0.0
        self.models = {study: Model() for study in self.draw.sample(STUDIES, self.draw.choice((1, 2, 2, 3)))}
        self.busy: set[str] = set()
        self.archived = dict.fromkeys(self.models, SLICES)
        lab.empty()
        self.intake = lab.intake(self.counted, self.told, self.since)

    def told(self, study: str) -> int:
        """What the archive says: the images that were made, and what it was sent of ours."""
        asked = "select count(distinct object.uid) from object join answer on answer.id = answer where study = ? "
        return self.archived[study] + int(
            self.lab.memory.execute(f"{asked} and state = 'delivered'", (study,)).fetchone()[0]
        )

    def run(self) -> None:
        coming = [(study, at) for study in self.models for at in range(SLICES)]
        late = self.draw.sample(coming, self.draw.choice((0, 0, 1, 2)))
        coming = [one for one in coming if one not in late]
        if self.draw.random() < 0.7:
            self.draw.shuffle(coming)
        for study, _ in late:
            self.archived[study] -= 1
        for group in (coming, late):
            self.archived |= {study: SLICES for study, _ in late} if group is late else {}
            waiting = group + self.draw.sample(coming, self.draw.randrange(3))
            while waiting:
                for _ in range(self.draw.randrange(1, 6)):
                    if waiting:
                        self.arrive(*waiting.pop(0))
                self.step()
            self.settle()

    def arrive(self, study: str, at: int) -> None:
        model, slices = self.models[study], self.lab.slices[study]
        new = at not in model.here
        if not new and self.draw.random() < 0.5:
            other = replace(slices[at], sha256="other", file="other")
            assert studies.keep(self.lab.memory, [other], self.now) == ["other"]
        assert studies.keep(self.lab.memory, [slices[at]], self.now) == ["new" if new else "same"]
        self.busy.add(study)
        if new and model.complete:
            model.complete, model.generation = False, model.generation + 1
        if not model.complete:
            model.last = self.now
        model.here.add(at)

    def step(self) -> None:
        """Associations end or are cut, time goes by, the receiver dies, the others work."""
        if self.draw.random() < 0.4:
            self.busy -= set(self.draw.sample(sorted(self.busy), self.draw.randrange(len(self.busy) + 1)))
        if self.draw.random() < 0.15:
            self.since, self.busy = self.now, set()
            self.intake = self.lab.intake(self.counted, self.told, self.since)
        self.now += self.draw.choice((0.0, 0.5, QUIET_S - 0.1, QUIET_S, 3 * QUIET_S))
        self.look()
        if self.draw.random() < 0.5:
            self.work()

    def settle(self) -> None:
        self.busy.clear()
        self.now += 3 * QUIET_S
        self.look()
        while self.work():
            pass

    def look(self) -> None:
        """Exactly what the model expects is queued, of exactly the slices that are here."""
        expected = {study for study, model in self.models.items() if self.is_whole(study, model)}
        assert self.intake.look(self.lab.memory, self.busy, self.now) == len(expected)
        for study in expected:
            model = self.models[study]
            model.complete = True
            asked = "select id, generation from answer where study = ? order by id desc limit 1"
            row = self.lab.memory.execute(asked, (study,)).fetchone()
            assert row["generation"] == model.generation and row["id"] not in model.set_of
            model.set_of[row["id"]] = frozenset(model.here)

    def is_whole(self, study: str, model: Model) -> bool:
        if model.complete or not model.here or study in self.busy:
            return False
        if self.now - max(model.last, self.since) < QUIET_S:
            return False
        return has_no_gap(model.here) and (not self.counted or len(model.here) >= self.archived[study])

    def work(self) -> bool:
        """One answer is made, and perhaps delivered; it is of the slices that its study had when it was queued."""
        memory = self.lab.memory
        claimed = answers.claim(memory, "lung", "runner", self.now)
        if claimed is None:
            return False
        model = self.models[claimed.study]
        files = studies_files(memory, claimed.study, claimed.generation)
        assert files == {self.lab.slices[claimed.study][at].file for at in model.set_of[claimed.id]}
        made = [
            FrozenObject(kind, kind_class, f"9.{claimed.id}.{at}", PurePosixPath("results/x"), str(claimed.id))
            for at, (kind, kind_class) in enumerate(OBJECTS)
        ]
        frozen = answers.freeze(
            memory, claimed, "runner", self.now, made,
            result_sha256=str(claimed.id), bundle_sha256="b", destinations=[("pacs", 9e9)],
        )  # fmt: skip
        assert frozen
        due = delivery.claim_due(memory, self.lab.spool, ["pacs"], "sender", self.now)
        assert due is not None
        delivery.enter(memory, due, "sender", DELIVERED, self.now, committing=False)
        return True

    def verdict(self) -> None:
        """One answer over each whole set lives at the end; what was sent before it was of a set without a gap."""
        for study, model in self.models.items():
            rows = self.lab.memory.execute("select * from answer where study = ? order by id", (study,)).fetchall()
            live = [row for row in rows if row["state"] != "superseded"]
            whole = [row["id"] for row in live if len(model.set_of[row["id"]]) == SLICES]
            assert whole == [live[-1]["id"]], "one answer of all slices, and it is the last"
            assert {row["state"] for row in live} == {"delivered"}
            assert [row["generation"] for row in rows] == sorted({row["generation"] for row in rows})
            for row, before in zip(live[1:], live, strict=False):
                assert row["replaces"] == before["id"], "each names the report that it replaces"
            if self.counted:
                assert len(rows) <= 2, "nothing is answered of a part whose number is known"


def has_no_gap(slices: set[int]) -> bool:
    """Evenly spaced: every second slice is a series of its own as far as anybody can tell who does not count."""
    return len({after - before for before, after in itertools.pairwise(sorted(slices))}) <= 1


def studies_files(memory: sqlite3.Connection, study: str, generation: int) -> set[str]:
    asked = "select file from instance where study = ? and generation <= ?"
    return {str(row["file"]) for row in memory.execute(asked, (study, generation))}


def test_the_engine_takes_a_set_of_slices_unless_it_has_a_gap(lab: Lab) -> None:
    """The model's geometry is the engine's."""
    study = STUDIES[0]
    for number in range(1, SLICES + 1):
        for chosen in itertools.combinations(range(SLICES), number):
            lab.empty()
            studies.keep(lab.memory, [lab.slices[study][at] for at in chosen], 0.0)
            intake = lab.intake(False, lambda _: None, 0.0)
            assert intake.look(lab.memory, set(), 10.0) == has_no_gap(set(chosen)), chosen


@pytest.mark.parametrize("part", range(4))
def test_one_answer_of_each_whole_set_whatever_the_order(part: int, lab: Lab) -> None:
    late = 0
    for seed in range(part, SEQUENCES, 4):
        sequence = Sequence(lab, seed)
        try:
            sequence.run()
            sequence.verdict()
        except AssertionError as failure:
            raise AssertionError(f"sequence {seed}: {failure}") from failure
        late += any(model.generation > 1 for model in sequence.models.values())
    assert late > 10


@pytest.mark.full
@pytest.mark.parametrize("seed", range(3))
def test_associations_that_interleave_repeat_and_break_off(seed: int, tmp_path: Path) -> None:
    """Over the network: three studies, each over several associations, some of which are aborted."""
    draw = random.Random(seed)
    sent = {study: ct_series(hounsfield(SLICES), StudyInstanceUID=study, series_uid=f"{study}.1") for study in STUDIES}
    coming = [(study, at) for study in STUDIES for at in range(SLICES)]
    coming += draw.sample(coming, 4)
    draw.shuffle(coming)
    settings = DicomSettings(port=1).model_copy(update={"port": 0})
    fields = {"spool": tmp_path, "bundle": [{"name": "lung", "path": "x"}], "destination": [ARCHIVE], **NO_RECORD}
    times = {"quiet_s": 60.0, "count_from": "pacs"}
    intake = Intake(Config.model_validate({**fields, "completeness": times}), {"lung": CT}, count=lambda _: SLICES)
    nothing = Reserve(0, 0)
    with (
        closing(open_database(tmp_path)) as memory,
        Receipt(tmp_path, nothing) as taking,
        Receiver(settings, taking, nothing, KEY) as receiver,
    ):
        whole = 0
        while coming:
            entity = AE("CT1")
            entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
            association = entity.associate("127.0.0.1", receiver.port, ae_title="MMCAF")
            under_way = set()
            for study, at in [coming.pop() for _ in range(min(len(coming), draw.randrange(1, 7)))]:
                assert association.send_c_store(sent[study][at]).Status == 0
                under_way.add(study)
                if draw.random() < 0.3:
                    other = change(deepcopy(sent[study][at]), PatientComments="other")
                    assert association.send_c_store(other).Status == DUPLICATE
            assert receiver.busy() == under_way
            whole += intake.look(memory, receiver.busy(), time.time() + 100)
            association.abort() if draw.random() < 0.5 else association.release()
            ends = time.monotonic() + 10
            while receiver.busy() and time.monotonic() < ends:
                time.sleep(0.01)
            assert intake.look(memory, receiver.busy(), time.time() + 1) == 0, "nobody was silent for long enough"
            whole += intake.look(memory, receiver.busy(), time.time() + 100)
        assert whole == len(STUDIES)
        asked = "select study, generation, state from answer order by study"
        assert [tuple(row) for row in memory.execute(asked)] == [(study, 1, "queued") for study in STUDIES]
        for study in STUDIES:
            assert len(studies_files(memory, study, 1)) == SLICES
