"""The service's parts on a disk that is full at each step: on_a_full_disk.py FOLDER, as root of a mount namespace.

A small tmpfs lies on the folder; a ballast file leaves some pages free, one more each time, so that another write is
the first that finds no room: of a part, of the write-ahead log, of a result. What was seen comes as JSON.
"""

import json
import logging
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pynetdicom
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from dicom_factory import change, ct_series, ct_slice, hounsfield
from engine.service.test_intake import KEY, encoded
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.pipeline import Answerer
from mmcaf_engine.service import processes, studies
from mmcaf_engine.service.config import Config, DicomSettings
from mmcaf_engine.service.database import open_database
from mmcaf_engine.service.delivery import DELIVERED, Parcel, Sent
from mmcaf_engine.service.dimse.receiver import Receiver
from mmcaf_engine.service.disk import Reserve
from mmcaf_engine.service.headers import identify
from mmcaf_engine.service.receipt import INCOMING, Receipt
from mmcaf_engine.service.records import keep_record, read_given
from mmcaf_engine.service.runner import Runner
from mmcaf_engine.service.sender import Sender
from mmcaf_engine.service.studies import Wanted
from mmcaf_engine.session.session import open_session
from tiny_bundle import make_tiny_bundle

SIZE = 64 * 2**20
PATIENT = "P-77"


@contextmanager
def ballast(folder: Path, pages: int) -> Iterator[None]:
    """So many pages are free, and no more."""
    file = folder / "ballast"
    with file.open("wb") as stream:
        free = os.statvfs(folder)
        os.posix_fallocate(stream.fileno(), 0, (free.f_bavail - pages) * free.f_frsize)
    try:
        yield
    finally:
        file.unlink()


def images_here(spool: Path) -> set[str]:
    return {str(file.relative_to(spool)) for file in (spool / INCOMING).rglob("*") if file.is_file()}


def receive(folder: Path, spool: Path) -> dict[str, Any]:
    """C-STORE with 0 to 15 pages free: what was answered, and whether exactly what was acknowledged is there."""
    settings = DicomSettings(port=1).model_copy(update={"port": 0})
    image = ct_slice(hounsfield(1, 60, 60)[0])
    statuses: Counter[str] = Counter()
    wrong, taken = [], set()
    with Receipt(spool, Reserve(0, 0)) as taking, Receiver(settings, taking, Reserve(0, 0), KEY) as receiver:
        entity = pynetdicom.AE("CT1")
        entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        association = entity.associate("127.0.0.1", receiver.port, ae_title="MMCAF")
        for pages in range(16):
            uid = f"1.2.3.{pages}"
            change(image, SOPInstanceUID=uid)
            with ballast(folder, pages):
                status = int(association.send_c_store(image).Status)
            statuses[f"{status:04X}"] += 1
            for again in (False, True):
                if again:
                    status = int(association.send_c_store(image).Status)
                if status == 0:
                    taken.add(uid)
                with closing(open_database(spool)) as memory:
                    rows = memory.execute("select uid, file from instance").fetchall()
                if {row["uid"] for row in rows} != taken or {row["file"] for row in rows} != images_here(spool):
                    wrong.append(f"{pages} pages, {'again' if again else 'full'}: {status:04X}")
            if uid not in taken:
                wrong.append(f"{pages} pages: not taken when there was room, {status:04X}")
        association.release()
    with closing(open_database(spool)) as memory:
        owed = memory.execute("select count(*) from owed").fetchone()[0]
    return {"statuses": statuses, "wrong": wrong, "owed": owed}


def listen(folder: Path, spool: Path) -> list[bool]:
    """Whether an association is taken with room, below the hard limit, and with room again."""
    settings = DicomSettings(port=1).model_copy(update={"port": 0})
    reserve = Reserve(2 * 2**20, 2**20)
    found = []
    with Receipt(spool, reserve) as taking, Receiver(settings, taking, reserve, KEY) as receiver:

        def established() -> bool:
            entity = pynetdicom.AE("CT1")
            entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
            association = entity.associate("127.0.0.1", receiver.port, ae_title="MMCAF")
            if association.is_established:
                association.release()
                return True
            return False

        found.append(established())
        with ballast(folder, 100):
            found.append(established())
        found.append(established())
    return found


class Stage:
    """Runs a process's step as the process does, and notes what the memory says of the answer."""

    def __init__(self, folder: Path, memory: Any, step: Callable[[], bool]) -> None:
        self._folder, self._memory, self._step = folder, memory, step
        self.states: Counter[str] = Counter()

    def full(self, pages: int) -> None:
        with ballast(self._folder, pages):
            processes.bear_full_disk(self._step, threading.Event())
            self.states[self._state()] += 1

    def room(self) -> str:
        while processes.bear_full_disk(self._step, threading.Event()):
            pass
        return self._state()

    def _state(self) -> str:
        return str(self._memory.execute("select state from answer order by id desc limit 1").fetchone()[0])


class Taking:
    """A destination that takes everything."""

    def __init__(self) -> None:
        self.uids: list[str] = []

    def send(self, parcels: Any) -> Sent:
        """See `Carrier.send`."""
        self.uids += [one.uid for one in parcels if isinstance(one, Parcel)]
        return DELIVERED


def answer_and_send(folder: Path, spool: Path, bundle: Path) -> dict[str, Any]:
    """A runner and a sender with little room, study by study."""
    pacs = {"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}
    fields = {"spool": spool, "bundle": [{"name": "tiny", "path": bundle}], "destination": [pacs]}
    config, taking = Config.model_validate(fields), Taking()
    found: dict[str, Any] = {"ended": [], "running": Counter(), "sending": Counter()}
    with (
        closing(open_database(spool)) as memory,
        open_session(load_bundle(bundle), backend="onnxruntime", threads=1) as session,
        Receipt(spool, Reserve(0, 0)) as receipt,
    ):
        runner = Runner(config, "tiny", Answerer(session), "runner tiny")
        sender = Sender(config, "sender", carriers={"pacs": taking})
        given = json.dumps({"patient_id": PATIENT, "sex": "F", "age": 60}).encode()
        record, _ = keep_record(memory, spool, read_given(given, KEY), source="http", now=5.0)
        for at, pages in enumerate((0, 1, 4, 16, 64)):
            study = f"1.2.9.{at}"
            for image in ct_series(hounsfield(6), StudyInstanceUID=study, series_uid=f"{study}.1", PatientID=PATIENT):
                receipt.receive(identify(encoded(image), "image", "CT1", KEY))
            [one] = [one for one in studies.quiet(memory, 9e9, 1.0) if one.uid == study]
            studies.complete(memory, one, [Wanted("tiny", record=record)], "2026-01-02T03:04:05Z", 20.0)
            running = Stage(folder, memory, lambda: runner.step(memory))
            for _ in range(3):
                running.full(pages)
            between = running.room()
            sending = Stage(folder, memory, lambda: sender.step(memory))
            for more in (0, 1, 2, 3):
                sending.full(more)
            found["ended"].append([between, sending.room()])
            found["running"] += running.states
            found["sending"] += sending.states
        found["crashes"] = memory.execute("select sum(crashes) from answer").fetchone()[0]
    found["objects"], found["sent"] = len(set(taking.uids)), len(taking.uids)
    return found


def main() -> None:
    """Print what was seen."""
    folder = Path(sys.argv[1])
    bundle = make_tiny_bundle(folder / "tiny.mmcaf")
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(disk)], check=True)
    spool = disk / "spool"
    spool.mkdir()
    logging.basicConfig(filename=disk / "log", level=logging.INFO)
    processes.FULL_S = 0.0
    found = {
        "received": receive(disk, spool),
        "listens": listen(disk, spool),
        "answered": answer_and_send(disk, spool, bundle),
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
