"""A FHIR server is searched for what a study waits for; whatever it answers, nothing of another patient is taken."""

import json
import logging
import sqlite3
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dicom_factory import ct_slice, hounsfield
from engine.service.test_intake import FILES, KEY, Desk, encoded
from mmcaf_engine.errors import CancelledError
from mmcaf_engine.manifest import Manifest
from mmcaf_engine.service import fhir_client
from mmcaf_engine.service.config import Config
from mmcaf_engine.service.database import open_database, transaction
from mmcaf_engine.service.delivery import expire
from mmcaf_engine.service.disk import Reserve
from mmcaf_engine.service.receipt import Receipt
from mmcaf_engine.service.record_search import RecordSearch
from mmcaf_engine.service.records import find_record, record_source
from tiny_bundle import tiny_manifest

SENTINEL, ACCESSION = "SENT|INEL,7", "ORDER$9"
STUDY, DEADLINE_S = "1.2.3", 5000.0
PLANE = hounsfield(1, 4, 4)[0]
Answer = tuple[int, bytes, dict[str, str]]


def from_fhir() -> Manifest:
    """Of a network whose fields are a Patient's."""
    fields = tiny_manifest()
    for entry, element in zip(fields["table"]["fields"], ("gender", "birthDate"), strict=True):
        entry["fhir"] = {"resource": "Patient", "element": element}
    return Manifest.model_validate({**fields, "files": FILES})


MANIFEST = from_fhir()


def searchset(*resources: dict[str, Any], more: str | None = None) -> bytes:
    links = [{"relation": "next", "url": more}] if more else []
    entries = [{"resource": one, "search": {"mode": "match"}} for one in resources]
    return json.dumps({"resourceType": "Bundle", "type": "searchset", "link": links, "entry": entries}).encode()


def patient(number: str = "p", identifier: str = SENTINEL) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": number, "gender": "female", "birthDate": "1960-01-01"} | {
        "identifier": [{"system": "urn:mrn", "value": identifier}]
    }


def of(kind: str, number: str, whose: str = "Patient/p", **more: Any) -> dict[str, Any]:
    return {"resourceType": kind, "id": number, "status": "final", "subject": {"reference": whose}, **more}


def order(whose: str, kind: str = "ServiceRequest", accession: str = ACCESSION) -> dict[str, Any]:
    return of(kind, f"o{whose[-1]}", whose, identifier=[{"value": accession}])


class FhirServer(BaseHTTPRequestHandler):
    """FHIR R4 search as a hospital's server does it: by POST, in pages, over what `held` has."""

    held: list[dict[str, Any]]
    instead: dict[str, Callable[["FhirServer"], Answer]]
    asked: list[tuple[str, dict[str, str], dict[str, str]]]
    page = 2

    def do_POST(self) -> None:
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        query = dict(urllib.parse.parse_qsl(form, strict_parsing=True))
        type(self).asked.append((self.path, query, dict(self.headers)))
        kind = self.path.split("/")[2]
        if kind in self.instead:
            return self.give(*self.instead[kind](self))
        found = [one for one in self.held if one["resourceType"] == kind and self.fits(one, query)]
        return self.give(*self.at(found, 0, kind, form))

    def do_GET(self) -> None:
        type(self).asked.append((self.path, {}, dict(self.headers)))
        if self.path == "/fhir/metadata":
            return self.give(200, b'{"resourceType": "CapabilityStatement"}', {})
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        if query["kind"] in self.instead:
            return self.give(*self.instead[query["kind"]](self))
        form = dict(urllib.parse.parse_qsl(query["of"]))
        found = [one for one in self.held if one["resourceType"] == query["kind"] and self.fits(one, form)]
        return self.give(*self.at(found, int(query["from"]), query["kind"], query["of"]))

    def at(self, found: list[dict[str, Any]], begin: int, kind: str, form: str) -> Answer:
        end = begin + self.page
        more = urllib.parse.urlencode({"kind": kind, "from": end, "of": form}) if end < len(found) else None
        return 200, searchset(*found[begin:end], more=more and f"/fhir/pages?{more}"), {}

    @staticmethod
    def fits(one: dict[str, Any], query: dict[str, str]) -> bool:
        said = query.get("identifier", "")
        for sign in "\\$,|":
            said = said.replace(f"\\{sign}", sign)
        if said and said not in [each["value"] for each in one.get("identifier", [])]:
            return False
        return "patient" not in query or one["subject"]["reference"] == f"Patient/{query['patient']}"

    def give(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Hospital(Desk):
    """A study that waits for its record, and a FHIR server to ask."""

    def __init__(self, spool: Path, taking: Receipt, memory: sqlite3.Connection, server: ThreadingHTTPServer) -> None:
        super().__init__(spool, taking, memory)
        self.server: Any = server.RequestHandlerClass
        self.url = f"http://127.0.0.1:{server.server_port}/fhir"
        self.server.held = [patient(), order("Patient/p"), of("Observation", "1"), of("DiagnosticReport", "9")]
        self.server.instead, self.server.asked = {}, []
        self.searching = self.search()

    def search(self, **records: Any) -> RecordSearch:
        fields = {"spool": self.spool, "bundle": [{"name": "lung", "path": "x"}]}
        config = Config.model_validate({**fields, "records": {"fhir_url": f"{self.url}/", **records}})
        return RecordSearch(config, {"lung": MANIFEST}, KEY, clock=lambda: self.now)

    def wait_for_record(self, study: str = STUDY, **elements: Any) -> None:
        said = {"PatientID": SENTINEL, "AccessionNumber": ACCESSION, "StudyDate": "20200102", **elements}
        self.take(encoded(ct_slice(PLANE, StudyInstanceUID=study, SOPInstanceUID=f"{study}.1", **said)))
        row = "insert into answer(study, generation, bundle, state, rank, priority, created, deadline, changed) "
        values = (study, self.now, self.now + DEADLINE_S, self.now)
        self.memory.execute(row + "values(?, 1, 'lung', 'waiting-record', ?, 1, '', ?, ?)", values)

    def step(self, later_s: float = 200.0) -> bool:
        self.now += later_s
        return self.searching.step(self.memory)

    def state(self, study: str = STUDY) -> tuple[str, str]:
        row = self.memory.execute("select state, problem from answer where study = ?", (study,)).fetchone()
        return row["state"], row["problem"] or ""

    def record(self, study: str = STUDY) -> dict[str, Any]:
        found = find_record(self.memory, study)
        assert found is not None
        content = record_source(self.memory, self.spool, found)
        assert isinstance(content, bytes)
        document: dict[str, Any] = json.loads(content)
        return document

    def instead(self, kind: str, body: bytes, status: int = 200, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.server.instead[kind] = lambda _: (status, body, named)


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), FhirServer)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def hospital(tmp_path: Path, server: ThreadingHTTPServer) -> Iterator[Hospital]:
    with Receipt(tmp_path, Reserve(0, 0)) as taking, closing(open_database(tmp_path)) as memory:
        yield Hospital(tmp_path, taking, memory, server)


def test_a_study_gets_what_the_server_holds_of_its_patient(hospital: Hospital) -> None:
    hospital.server.held += [of("Observation", str(at)) for at in range(2, 8)]
    hospital.server.held += [patient("q", "OTHER"), of("Observation", "x", "Patient/q")]
    hospital.wait_for_record()
    assert hospital.step() and hospital.state() == ("queued", "")
    kept = [(one["resource"]["resourceType"], one["resource"]["id"]) for one in hospital.record()["entry"]]
    assert kept == [("Patient", "p"), ("DiagnosticReport", "9"), *(("Observation", str(at)) for at in range(1, 8))]
    searches = [(path, query.get("identifier"), query.get("patient")) for path, query, _ in hospital.server.asked]
    assert ("/fhir/Patient/_search", "SENT\\|INEL\\,7", None) in searches
    assert ("/fhir/ServiceRequest/_search", "ORDER\\$9", None) in searches
    assert ("/fhir/Observation/_search", None, "p") in searches
    assert not hospital.step(), "nobody waits any more"


def test_no_address_names_a_patient_or_an_order(hospital: Hospital) -> None:
    hospital.wait_for_record()
    hospital.step()
    assert hospital.server.asked and not [
        path for path, _, _ in hospital.server.asked if "SENT" in path or "ORDER" in path
    ]


def test_of_two_patients_of_one_number_the_order_tells(hospital: Hospital) -> None:
    hospital.server.held = [patient("q"), patient("p"), order("Patient/p", "ImagingStudy")]
    hospital.wait_for_record()
    hospital.wait_for_record("1.2.4", AccessionNumber="")
    for _ in range(2):
        hospital.step()
    assert hospital.state()[0] == "queued" and hospital.record()["entry"][0]["resource"]["id"] == "p"
    state, problem = hospital.state("1.2.4")
    assert state == "waiting-record" and "2 patients" in problem


OTHERS = {
    "patient": {"Patient": searchset(patient("q", "OTHER"))},
    "nobody": {"Patient": searchset()},
    "observations": {"Observation": searchset(of("Observation", "1"), of("Observation", "2", "Patient/q"))},
    "without-subject": {"Observation": searchset({"resourceType": "Observation", "id": "1"})},
    "elsewhere": {"Observation": searchset(of("Observation", "1", "https://elsewhere.example/Patient/p"))},
    "order": {"ServiceRequest": searchset(order("Patient/q"))},
    "report": {"DiagnosticReport": searchset(of("DiagnosticReport", "1", "Patient/q"))},
}


@pytest.mark.parametrize("instead", OTHERS.values(), ids=OTHERS)
def test_another_patients_data_is_refused(instead: dict[str, bytes], hospital: Hospital) -> None:
    for kind, body in instead.items():
        hospital.instead(kind, body)
    hospital.wait_for_record()
    assert hospital.step()
    state, problem = hospital.state()
    assert state == "waiting-record" and "patient" in problem
    assert hospital.memory.execute("select count(*) from record").fetchone()[0] == 0


OUTCOME = json.dumps(
    {
        "resourceType": "OperationOutcome",
        "issue": [
            {"severity": "error", "code": "forbidden", "diagnostics": f"no right to read {SENTINEL}"},
            {"severity": "error", "code": SENTINEL},
        ],
    }
).encode()
WRONG: dict[str, tuple[bytes, int, dict[str, str], str]] = {
    "html": (b"<html>SENTINEL</html>", 200, {}, "no JSON"),
    "cut": (searchset(patient())[:-20], 200, {}, "no JSON"),
    "cut-body": (searchset(patient()), 200, {"Content_Length": "99999"}, "not"),
    "list": (b"[]", 200, {}, "no resource"),
    "twice": (b'{"SENTINEL": 1, "SENTINEL": 2}', 200, {}, "no JSON"),
    "one-resource": (json.dumps(patient()).encode(), 200, {}, "searchset"),
    "other-bundle": (searchset(patient()).replace(b"searchset", b"collection"), 200, {}, "searchset"),
    "error": (b"SENTINEL", 500, {}, "500"),
    "login": (b"", 401, {}, "401"),
    "outcome": (OUTCOME, 403, {}, "403 (forbidden)"),
    "outcome-as-success": (OUTCOME, 200, {}, "OperationOutcome (forbidden)"),
    "part": (searchset(patient(), json.loads(OUTCOME)), 200, {}, "could not give all (forbidden)"),
    "redirect": (b"", 302, {"Location": "http://127.0.0.2:1/"}, "302"),
    "redirect-here": (b"", 307, {"Location": "/fhir/metadata"}, "307"),
    "other-host": (searchset(patient(), more="http://127.0.0.2:1/fhir/pages?1"), 200, {}, "another server"),
    "other-scheme": (searchset(patient(), more="https://127.0.0.1/fhir"), 200, {}, "another server"),
    "file": (searchset(patient(), more="file:///etc/passwd"), 200, {}, "another server"),
    "no-address": (searchset(patient(), more="http://[x/fhir"), 200, {}, "another server"),
    "circle": (searchset(patient(), more="/fhir/pages?kind=Patient"), 200, {}, "circle"),
}


@pytest.mark.parametrize(("body", "status", "headers", "why"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_and_asked_again(
    body: bytes,
    status: int,
    headers: dict[str, str],
    why: str,
    hospital: Hospital,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fhir_client, "REQUEST_S", 0.5)
    hospital.instead("Patient", body, status, **headers)
    hospital.wait_for_record()
    with caplog.at_level(logging.INFO):
        assert hospital.step() and not hospital.step(0.5), "not at once"
    state, problem = hospital.state()
    assert state == "waiting-record" and why in problem and "SENT" not in problem + caplog.text
    hospital.server.instead.clear()
    assert hospital.step() and hospital.state() == ("queued", "")


def test_endless_pages_and_endless_bodies_end(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    count = iter(range(10**6))
    hospital.server.instead["Patient"] = lambda _: (
        200,
        searchset(patient(), more=f"/fhir/pages?kind=Patient&n={next(count)}"),
        {},
    )
    hospital.wait_for_record()
    monkeypatch.setattr(fhir_client, "MOST_PAGES", 7)
    assert hospital.step() and "7 pages" in hospital.state()[1] and len(hospital.server.asked) == 7
    monkeypatch.setattr(fhir_client, "MAX_RECORD_BYTES", 2**20)
    hospital.instead("Patient", b" " * 2**22)
    assert hospital.step() and "1048576 bytes" in hospital.state()[1]

    def slowly(handler: FhirServer) -> Answer:
        handler.send_response(200)
        handler.end_headers()
        try:
            for _ in range(200):
                handler.wfile.write(b" ")
                time.sleep(0.02)
        except OSError:
            pass
        return 200, b"", {}

    monkeypatch.setattr(fhir_client, "REQUEST_S", 0.2)
    hospital.server.instead["Patient"] = slowly
    begun = time.monotonic()
    assert hospital.step() and "within 0.2 s" in hospital.state()[1] and time.monotonic() - begun < 2


def test_a_server_that_is_down_is_not_asked_for_each_study(hospital: Hospital) -> None:
    hospital.instead("Patient", b"", 503)
    for study in ("1.2.3", "1.2.4", "1.2.5"):
        hospital.wait_for_record(study)
    hospital.now += 200
    assert [hospital.step(0.1) for _ in range(5)] == [True, False, False, False, False]
    pauses = []
    for _ in range(9):
        begun = hospital.now
        while not hospital.step(1.0):
            pass
        pauses.append(hospital.now - begun)
    assert pauses[0] < 4 < pauses[3] and 90 <= pauses[-1] <= 151
    hospital.server.instead.clear()
    assert sum(hospital.step() for _ in range(9)) == 3
    assert {hospital.state(study)[0] for study in ("1.2.3", "1.2.4", "1.2.5")} == {"queued"}


def test_one_without_its_data_does_not_keep_others_waiting(hospital: Hospital) -> None:
    hospital.wait_for_record("1.2.2", PatientID="NOBODY")
    hospital.wait_for_record("1.2.4", PatientID="")
    hospital.wait_for_record()
    hospital.now += 10
    assert [hospital.step(0) for _ in range(4)] == [True, True, True, False]
    assert hospital.state() == ("queued", "")
    assert "no patient of" in hospital.state("1.2.2")[1] and "no PatientID" in hospital.state("1.2.4")[1]


def test_a_shadow_that_is_gone_keeps_no_other_bundle_waiting(hospital: Hospital) -> None:
    """It was taken out of the configuration while its answer waited, or cannot be loaded."""
    hospital.wait_for_record()
    hospital.memory.execute(
        "insert into answer(study, generation, bundle, shadow, state, rank, priority, created, changed) "
        "select study, 1, 'gone', 1, state, rank, 1, '', changed from answer"
    )
    assert hospital.step() and hospital.state()[0] == "queued"


def test_what_the_network_needs_is_waited_for(hospital: Hospital) -> None:
    """A value that is not entered yet is no reason to refuse the study for good."""
    hospital.server.held[0].pop("gender")
    hospital.wait_for_record()
    assert hospital.step()
    state, problem = hospital.state()
    assert state == "waiting-record" and "sex" in problem and "not usable" in problem
    hospital.server.held[0]["gender"] = "male"
    assert hospital.step() and hospital.state()[0] == "queued"


def test_when_its_time_is_over_it_says_why(hospital: Hospital) -> None:
    hospital.instead("Patient", OUTCOME, 403)
    hospital.wait_for_record()
    hospital.step()
    with transaction(hospital.memory):
        expire(hospital.memory, hospital.now + DEADLINE_S)
    state, problem = hospital.state()
    assert state == "expired" and "in time" in problem and "403" in problem
    assert not hospital.step()


def test_the_token_goes_to_the_server_alone(hospital: Hospital, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    hospital.searching = hospital.search(token_file=tmp_path / "token")
    hospital.wait_for_record()
    hospital.step()
    assert {headers.get("Authorization") for _, _, headers in hospital.server.asked} == {"Bearer s3cret"}
    (tmp_path / "token").unlink()
    hospital.wait_for_record("1.2.4")
    assert hospital.step() and "token" in hospital.state("1.2.4")[1]


def test_a_service_that_stops_does_not_wait_for_the_server(hospital: Hospital) -> None:
    def stop() -> None:
        raise CancelledError("The service stops.")

    hospital.searching._between = stop
    hospital.wait_for_record()
    with pytest.raises(CancelledError):
        hospital.step()
    assert hospital.server.asked == [] and hospital.state()[0] == "waiting-record"
