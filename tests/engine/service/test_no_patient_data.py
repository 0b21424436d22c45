"""Nothing of a patient leaves the spool but results: not by log, metrics, health, events, addresses, or the memory."""

import json
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pydicom.uid import Comprehensive3DSRStorage, SecondaryCaptureImageStorage

import sentinels
from dicom_factory import change, ct_series, hounsfield
from engine.service.test_intake import encoded
from engine.service.test_sender import Archive
from engine.service.test_service import ROLES, Service, wait_until
from engine.service.test_web import zipped
from mmcaf_engine.service.database import FILE

pytest.importorskip("pynetdicom")
PATIENT, ACCESSION, AUTHOR = "SENTINEL-77", "SENTINEL-9", "MARK OF THE AUTHOR"
SLICES = 3
RECORD = {"patient_id": PATIENT, "sex": "F", "age": 60}


class Elsewhere(BaseHTTPRequestHandler):
    """An archive that takes what it is sent, and a FHIR server that refuses for good and talks of patients."""

    heads: list[str]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).heads.append(f"{self.requestline}\n{self.headers}")
        if self.path == "/web/studies":
            return self.give(200, b"{}")
        issue = {"severity": "error", "code": PATIENT, "diagnostics": f"{PATIENT} is not known"}
        return self.give(422, json.dumps({"resourceType": "OperationOutcome", "issue": [issue]}).encode())

    def give(self, status: int, body: bytes) -> None:
        self.send_response(status, f"{PATIENT} is not known")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Hospital(Service):
    """A service with every way in and out, whose every word to systemd is heard."""

    def __init__(self, folder: Path, archive: Archive, port: int) -> None:
        super().__init__(folder, archive)
        self.marked = sentinels.marked()
        assert len(self.marked) > 2000
        whole = self.config.read_text().replace('spool = "spool"', 'spool = "spool"\nfolder = "in"')
        self.config.write_text(
            f"""{whole}
            [[destination]]
            name = "web"
            kind = "dicomweb"
            url = "http://127.0.0.1:{port}/web"
            [[destination]]
            name = "ehr"
            kind = "fhir"
            url = "http://127.0.0.1:{port}/fhir"
            [records]
            folder = "records"
            fhir_url = "http://127.0.0.1:{port}/fhir"
            """
        )
        for name in ("in", "records"):
            (folder / name).mkdir()

    def images(self, study: str, slices: int = SLICES) -> list[Any]:
        made = ct_series(hounsfield(slices), StudyInstanceUID=study, series_uid=f"{study}.1")
        for one in made:
            sentinels.fill(one, self.marked, PATIENT, ACCESSION)
        return made

    def text(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=10) as answer:
            return str(answer.read(), "utf-8")

    def events(self) -> str:
        """Every event from the first."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}/api/v1/events", headers={"Last-Event-ID": "0"})
        last = self.query("select max(id) as id from event")[0]["id"]
        found = b""
        with urllib.request.urlopen(request, timeout=20) as answer:
            while f"id: {last}\n".encode() not in found:
                found += answer.readline()
            return (found + answer.readline() + answer.readline()).decode()


def hear(systemd: socket.socket, told: list[bytes]) -> None:
    """Until the socket is closed: what nobody takes would keep the service waiting."""
    while True:
        try:
            told.append(systemd.recv(65536))
        except OSError:
            return


@contextmanager
def running(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Hospital, list[bytes]]]:
    Elsewhere.heads = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    told: list[bytes] = []
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard,
        Archive(Comprehensive3DSRStorage, SecondaryCaptureImageStorage) as archive,
    ):
        heard.bind(str(folder / "notify"))
        threading.Thread(target=hear, args=(heard, told), daemon=True).start()
        monkeypatch.setenv("NOTIFY_SOCKET", str(folder / "notify"))
        service = Hospital(folder, archive, server.server_port)
        service.start()
        try:
            yield service, told
        finally:
            service.stop()
            server.shutdown()
            server.server_close()


@pytest.mark.full
def test_nothing_of_a_patient_comes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path, monkeypatch) as (service, told):
        wait_until(lambda: set(service.ready()) >= {*ROLES, "records"})
        # Answered, by the folders, and refused by one destination for good.
        (tmp_path / "records" / "SENTINEL 19171107.csv").write_text(f"PatientID,sex,age\n{PATIENT},F,60\n")
        for at, one in enumerate(service.images("1.2.3")):
            (tmp_path / "in" / f"{PATIENT} {at}.dcm").write_bytes(encoded(one))
        wait_until(lambda: service.state("1.2.3") == "failed")
        wait_until(lambda: len(service.archive.got) == 2)
        # A late slice.
        assert service.ask("/api/v1/studies", encoded(service.images("1.2.3", slices=SLICES + 1)[-1]))[0] == 200
        # Refused: a record with values that cannot be, by HTTP, for a zip whose names are the patient's.
        bad = json.dumps({**RECORD, "sex": PATIENT, "age": sentinels.NUMBER, "SENTINEL": "SENTINEL"}).encode()
        every = {f"{PATIENT}/SENTINEL^NAME/{at}.dcm": encoded(one) for at, one in enumerate(service.images("1.2.4"))}
        assert service.ask("/api/v1/studies", zipped(**every))[0] == 200
        assert service.ask(f"/api/v1/studies/1.2.4/record?author={quote(AUTHOR)}", bad)[0] == 200
        wait_until(lambda: service.state("1.2.4") == "refused")
        # What is no record, no image, or another patient's; and a study whose record nobody has.
        (tmp_path / "records" / f"{PATIENT}.json").write_text(json.dumps({PATIENT: PATIENT, "age": sentinels.NUMBER}))
        (tmp_path / "records" / "1.2.4.json").write_text(json.dumps({**RECORD, "patient_id": "SENTINEL-78"}))
        (tmp_path / "in" / f"{PATIENT}.pdf").write_text(PATIENT)
        assert service.ask("/api/v1/records", b'{"SENTINEL": NaN}')[0] == 422
        assert service.ask("/api/v1/studies/SENTINEL-77")[0] == 404
        service.ask("/api/v1/studies?limit=SENTINEL")
        wait_until(lambda: len(service.ask("/api/v1/problems")[1]) >= 2)
        nobody = [encoded(change(one, PatientID="SENTINEL-79")) for one in service.images("1.2.5")]
        assert service.ask("/api/v1/studies", zipped(*nobody))[0] == 200
        wait_until(lambda: service.state("1.2.5") == "waiting-record")
        wait_until(lambda: any("_search" in head for head in Elsewhere.heads))
        twice = "select 1 from answer where study = '1.2.3' and state = 'failed'"
        wait_until(lambda: len(service.query(twice)) == 2)
        wait_until(lambda: len(list((tmp_path / "in" / "refused").glob("*"))) == 1)
        assert {service.state(uid) for uid in ("1.2.4", "1.2.5")} == {"refused", "waiting-record"}
        said = {
            path: service.text(path)
            for path in (
                "/metrics",
                "/health/live",
                "/health/ready",
                "/api/v1/openapi.json",
                "/api/v1/studies",
                "/api/v1/studies/1.2.3",
                "/api/v1/problems",
                "/dicom-web/studies",
            )
        }
        said["events"] = service.events()
        said["processes"] = "\n".join(
            Path(f"/proc/{pid}/cmdline").read_text() + Path(f"/proc/{pid}/environ").read_text()
            for pid in service.ready().values()
        )
    said["systemd"] = b"\n".join(told).decode()
    said["heads of requests"] = "\n".join(Elsewhere.heads)
    said["log"] = service.log.read_text()
    said["names in the spool"] = "\n".join(str(file.relative_to(service.spool)) for file in service.spool.rglob("*"))
    for file in service.spool.glob(f"{FILE}*"):
        said[file.name] = file.read_bytes().decode("latin-1")
    assert {"READY=1", "STOPPING=1"} <= set(said["systemd"].split("\n")) and "POST /web/studies" in said[
        "heads of requests"
    ]
    assert "delivered to pacs" in said["log"] and "event: refused" in said["events"] and "422" in said["log"]
    marked = {where: sentinels.found(text.encode("latin-1", "replace")) for where, text in said.items()}
    assert {where: marks for where, marks in marked.items() if marks} == {}
    by_author = {where for where, text in said.items() if AUTHOR in text}
    assert by_author <= {FILE, f"{FILE}-wal"}, "who gave a record is kept in the memory alone"
    results = b"".join(content for _, content in service.archive.got)
    assert sentinels.found(results), "results are of their patient"
