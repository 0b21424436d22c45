"""The whole service, as processes: from a scanner's C-STORE to a result in an archive, with any of them killed."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from pydicom.uid import (
    Comprehensive3DSRStorage,
    CTImageStorage,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)

from dicom_factory import ct_series, hounsfield
from engine.service.test_sender import Archive
from mmcaf_engine.errors import ServiceError
from mmcaf_engine.service.alone import only_service
from mmcaf_engine.service.backup import write_backup
from mmcaf_engine.service.config import read_config
from mmcaf_engine.service.database import FILE, open_database
from mmcaf_engine.service.restore import restore
from mmcaf_engine.service.switching import roll_back, switch
from tiny_bundle import make_tiny_bundle

pynetdicom = pytest.importorskip("pynetdicom")
PATIENT, SLICES = "SENTINEL-77", 6
ROLES = {"receiver", "runner tiny", "sender", "web"}
OF_THE_PATIENT = {
    "PatientID": PATIENT,
    "PatientName": "SENTINEL^NAME",
    "AccessionNumber": "SENTINEL-9",
    "StudyDescription": "SENTINEL STUDY",
    "SeriesDescription": "SENTINEL SERIES",
    "ReferringPhysicianName": "SENTINEL^DOCTOR",
    "InstitutionName": "SENTINEL HOSPITAL",
    "StudyID": "SENTINEL",
    "PatientComments": "SENTINEL COMMENT",
}
"""What neither the log nor the memory may hold, of images, records and results."""


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def new_folder(parent: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=parent))


def wait_until(found: Callable[[], Any], seconds: float = 60.0) -> Any:
    ended = time.monotonic() + seconds
    while time.monotonic() < ended:
        if result := found():
            return result
        time.sleep(0.05)
    raise AssertionError("it did not come in time")


class Service:
    """A running service, its spool, and an archive that it sends to."""

    def __init__(self, folder: Path, archive: Archive) -> None:
        self.spool, self.archive = folder / "spool", archive
        self.port, self.http = free_port(), free_port()
        self.config, self.log = folder / "serve.toml", folder / "log"
        make_tiny_bundle(folder / "tiny.mmcaf")
        self.config.write_text(
            f"""
            spool = "spool"
            http = {{port = {self.http}}}
            dicom = {{port = {self.port}}}
            completeness = {{quiet_s = 0.5}}
            disk = {{reserve_mib = 1, hard_mib = 0}}
            bundle = [{{name = "tiny", path = "tiny.mmcaf", backend = "onnxruntime", threads = 1}}]
            [[destination]]
            name = "pacs"
            kind = "dicom"
            ae_title = "PACS"
            host = "127.0.0.1"
            port = {archive.port}
            """
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        code = "import sys; from pathlib import Path; from mmcaf_engine.service.supervisor import supervise; "
        command = [sys.executable, "-c", code + "supervise(Path(sys.argv[1]))", str(self.config)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log)
        wait_until(lambda: set(self.ready()) >= ROLES)

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(60)

    def query(self, statement: str) -> list[sqlite3.Row]:
        if not (self.spool / FILE).exists():
            return []
        with closing(sqlite3.connect(self.spool / FILE)) as memory:
            memory.row_factory = sqlite3.Row
            try:
                return memory.execute(statement).fetchall()
            except sqlite3.OperationalError:
                return []

    def ready(self) -> dict[str, int]:
        return {row["role"]: row["pid"] for row in self.query("select role, pid from process where ready = 1")}

    def send(self, study: str) -> None:
        """As a scanner does: until everything is acknowledged."""
        waiting = ct_series(hounsfield(SLICES), StudyInstanceUID=study, series_uid=f"{study}.1", **OF_THE_PATIENT)
        ended = time.monotonic() + 60
        while waiting and time.monotonic() < ended:
            entity = pynetdicom.AE("CT1")
            entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
            association = entity.associate("127.0.0.1", self.port, ae_title="MMCAF")
            for image in list(waiting) if association.is_established else []:
                try:
                    status = association.send_c_store(image)
                except Exception:
                    break
                if not status or status.Status != 0:
                    break
                waiting.remove(image)
            if association.is_established:
                association.release()
            elif waiting:
                time.sleep(0.1)
        assert not waiting

    def ask(self, path: str, content: bytes | None = None) -> tuple[int, Any]:
        """Status and JSON of the HTTP interface; 0 where nobody answers."""
        try:
            with urlopen(f"http://127.0.0.1:{self.http}{path}", content, timeout=10) as answer:
                return answer.status, json.load(answer)
        except HTTPError as failure:
            with failure:
                return failure.code, json.load(failure)
        except OSError:
            return 0, None

    def give_record(self) -> None:
        record = json.dumps({"patient_id": PATIENT, "sex": "F", "age": 60}).encode()
        wait_until(lambda: self.ask("/api/v1/records", record)[0] == 200)

    def state(self, study: str) -> str | None:
        rows = self.query(f"select state from answer where study = '{study}' order by generation desc limit 1")
        return str(rows[0]["state"]) if rows else None


@contextmanager
def serving(folder: Path) -> Iterator[Service]:
    with Archive(Comprehensive3DSRStorage, SecondaryCaptureImageStorage) as archive:
        service = Service(folder, archive)
        service.start()
        service.give_record()
        try:
            yield service
        finally:
            if service.process is not None and service.process.poll() is None:
                service.stop()


@pytest.mark.full
def test_from_the_scanner_to_the_archive_with_every_process_killed(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        service.send("1.2.3")
        wait_until(lambda: service.state("1.2.3") == "delivered")
        assert len(service.archive.got) == 2
        with urlopen(f"http://127.0.0.1:{service.http}/", timeout=10) as page:
            assert b"SENTINEL, NAME" in page.read(), "the page names the patient; log and memory do not, as seen below"
        before = service.ready()
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        service.send("1.2.4")
        wait_until(lambda: service.state("1.2.4") == "delivered")
        assert wait_until(lambda: service.ask("/health/ready")[0] == 200)
        [late, _] = service.ask("/api/v1/studies")[1]
        assert service.ask(f"/api/v1/answers/{late['answers'][0]['id']}/result")[1]["label"] in ("quiet", "loud")
        assert not set(service.ready().values()) & set(before.values())
        assert {state for (state,) in map(tuple, service.query("select state from study"))} == {"complete"}
        assert service.stop() == 0
        wait_until(lambda: not service.ready())
    assert len({uid for uid, _ in service.archive.got}) == 4 and len(set(service.archive.got)) == 4
    assert b"SENTINEL" in b"".join(content for _, content in service.archive.got)
    memory = b"".join(file.read_bytes() for file in service.spool.glob(f"{FILE}*"))
    assert b"SENTINEL" not in memory + service.log.read_bytes() and b"delivered" in memory


def test_two_services_do_not_share_a_spool(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    with only_service(spool), pytest.raises(ServiceError, match="spool"), only_service(spool):
        pass
    with only_service(spool):
        assert spool.stat().st_mode & 0o777 == 0o700


@pytest.mark.full
def test_a_supervisor_that_is_killed_leaves_nobody_behind(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        assert service.process is not None
        pids = list(service.ready().values())
        service.process.kill()
        service.process.wait()
        wait_until(lambda: not [pid for pid in pids if Path(f"/proc/{pid}/exe").exists()])


@pytest.mark.full
def test_a_configuration_that_cannot_be_is_not_taken_over(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        assert service.process is not None
        before, whole = service.ready(), service.config.read_text()
        service.config.write_text("nonsense")
        service.process.send_signal(signal.SIGHUP)
        time.sleep(1)
        assert service.ready() == before
        service.config.write_text(whole)
        service.process.send_signal(signal.SIGHUP)
        wait_until(
            lambda: len(service.ready()) == len(ROLES) and not set(service.ready().values()) & set(before.values())
        )


@pytest.mark.full
def test_a_switch_under_load_sends_each_study_once(tmp_path: Path) -> None:
    """There and back while studies come, with a backup in between: by the one bundle or the other, and none twice."""
    with Archive(Comprehensive3DSRStorage, SecondaryCaptureImageStorage) as archive:
        service = Service(tmp_path, archive)
        make_tiny_bundle(tmp_path / "next.mmcaf", threshold=0.25)
        shadow = '{name = "next", path = "next.mmcaf", backend = "onnxruntime", threads = 1, shadow_of = "tiny"}'
        text = service.config.read_text().replace("threads = 1}]", f"threads = 1}}, {shadow}]")
        service.config.write_text(text)
        service.start()
        try:
            service.give_record()
            wait_until(lambda: "runner next" in service.ready())
            config, studies = read_config(service.config), [f"1.2.{number}" for number in range(9)]
            sender = threading.Thread(target=lambda: [service.send(study) for study in studies])
            sender.start()
            with closing(open_database(service.spool)) as memory:
                for before, change in (
                    ("tiny", lambda: switch(memory, config, "next", time.time())),
                    ("next", lambda: roll_back(memory, config, None, time.time())),
                ):
                    enough = min(len(service.query("select uid from study")) + 3, len(studies))
                    wait_until(lambda enough=enough: len(service.query("select uid from study")) >= enough)
                    begun = f"select 1 from answer where bundle = '{before}' and not shadow and result_sha256 <> ''"
                    wait_until(lambda begun=begun: bool(service.query(begun)))
                    change()
                    with (tmp_path / "backup.tar").open("wb") as stream:
                        contents = write_backup(
                            service.spool, stream, new_folder(tmp_path), images=True, now=time.time()
                        )
            sender.join()
            done = "select study, bundle from answer where not shadow and state = 'delivered' order by study"
            wait_until(lambda: len(service.query(done)) == len(studies))
            wait_until(lambda: len(service.query("select * from comparison")) == len(studies))
            assert [row["study"] for row in service.query(done)] == studies
            assert {row["bundle"] for row in service.query(done)} == {"tiny", "next"}
            assert len(archive.got) == len({uid for uid, _ in archive.got}) == 2 * len(studies)
            assert service.stop() == 0
        finally:
            if service.process is not None and service.process.poll() is None:
                service.stop()
    assert contents.missing == []
    elsewhere = config.model_copy(update={"spool": tmp_path / "elsewhere"})
    done_there = restore(elsewhere, tmp_path / "backup.tar", time.time())
    assert done_there.studies >= 6 and done_there.reconciled.waiting == 0
