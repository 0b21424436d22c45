"""Frozen results reach real receivers, once each, whatever these answer; and what they answer is understood."""

import gc
import hashlib
import http.server
import json
import socket
import sqlite3
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import ComprehensiveSRStorage, SecondaryCaptureImageStorage

from counterparts import need
from dicom_factory import ct_slice, hounsfield
from engine.service.test_intake import encoded
from mmcaf_engine.errors import ServiceError
from mmcaf_engine.service import answers, delivery, studies, views
from mmcaf_engine.service.answers import FrozenObject
from mmcaf_engine.service.config import Config, Destination
from mmcaf_engine.service.database import open_database
from mmcaf_engine.service.delivery import (
    DELIVERED,
    HELD_S,
    LONGEST_WAIT_S,
    Parcel,
    Sent,
    claim_due,
    commit,
    enter,
    wait_s,
)
from mmcaf_engine.service.dimse.carrier import StoreCarrier
from mmcaf_engine.service.http_carriers import FhirCarrier, StowCarrier
from mmcaf_engine.service.processes import AT_ONCE, send, side_by_side
from mmcaf_engine.service.sender import Sender
from mmcaf_engine.service.studies import Arrival, Wanted

pynetdicom = pytest.importorskip("pynetdicom")
NOW, UNTIL = 1000.0, 5000.0
VALUES = hounsfield(1, 8, 8)[0]


def result_object(kind: str) -> bytes:
    sop_class = ComprehensiveSRStorage if kind == "structured-report" else SecondaryCaptureImageStorage
    return encoded(ct_slice(VALUES, SOPClassUID=sop_class, SOPInstanceUID=UIDS[kind]))


UIDS = {"structured-report": "1.2.3.1", "secondary-capture": "1.2.3.2"}
OBJECTS = {"structured-report": ComprehensiveSRStorage, "secondary-capture": SecondaryCaptureImageStorage}


def parcels(folder: Path) -> list[Parcel]:
    found = []
    for kind, sop_class in OBJECTS.items():
        content = result_object(kind)
        file = folder / f"{kind}.dcm"
        file.write_bytes(content)
        found.append(Parcel(kind, sop_class, UIDS[kind], file, hashlib.sha256(content).hexdigest()))
    return found


class Archive:
    """A DICOM node that keeps what it is sent, or answers otherwise."""

    def __init__(self, *classes: str, status: int = 0, port: int = 0) -> None:
        self.got: list[tuple[str, bytes]] = []
        self.asked: list[Any] = []
        self.statuses: list[int] = []
        self.usual = status
        entity = pynetdicom.AE("PACS")
        entity.require_calling_aet = ["MMCAF"]
        for one in classes or tuple(OBJECTS.values()):
            entity.add_supported_context(one)
        entity.add_supported_context("1.2.840.10008.1.20.1")
        entity.add_supported_context("1.2.840.10008.1.1")
        handlers = [(pynetdicom.evt.EVT_C_STORE, self._store), (pynetdicom.evt.EVT_N_ACTION, self._ask)]
        self.server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
        self.port = int(self.server.socket.getsockname()[1])

    def _store(self, event: Any) -> int:
        self.got.append((str(event.request.AffectedSOPInstanceUID), event.request.DataSet.getvalue()))
        return self.statuses.pop(0) if self.statuses else self.usual

    def _ask(self, event: Any) -> tuple[int, None]:
        self.asked.append(event.action_information)
        return 0, None

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()

    def destination(self, **more: Any) -> Destination:
        fields = {"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": self.port}
        return Destination.model_validate({**fields, **more})


def carrier(archive: Archive, title: str = "MMCAF") -> StoreCarrier:
    return StoreCarrier(archive.destination(), title, timeout_s=5)


# DIMSE


def test_the_bytes_are_those_that_were_frozen(tmp_path: Path) -> None:
    with Archive() as archive:
        sent = parcels(tmp_path)
        assert carrier(archive).send(sent) == DELIVERED == carrier(archive).send(sent)
    assert len(archive.got) == 4 and archive.got[:2] == archive.got[2:]
    for (uid, content), parcel in zip(archive.got, sent, strict=False):
        assert uid == parcel.uid and parcel.file.read_bytes().endswith(content)


@pytest.mark.parametrize(
    ("status", "state", "retry"),
    [
        (0x0000, "delivered", False),
        (0xB000, "delivered", False),
        (0x0111, "delivered", False),
        (0xA700, "failed", True),
        (0xA702, "failed", True),
        (0x0110, "failed", True),
        (0xA900, "failed", False),
        (0xC123, "failed", False),
        (0x0122, "failed", False),
    ],
)
def test_what_an_archive_answers_is_understood(status: int, state: str, retry: bool, tmp_path: Path) -> None:
    with Archive(status=status) as archive:
        sent = carrier(archive).send(parcels(tmp_path))
    assert (sent.state, sent.retry) == (state, retry)
    assert state == "delivered" or f"{status:04X}" in sent.reason
    assert len(archive.got) == (2 if state == "delivered" else 1)


def test_an_archive_that_cannot_be_reached_or_will_not(tmp_path: Path) -> None:
    sent = parcels(tmp_path)
    with Archive() as archive:
        rejected = carrier(archive, "OTHER").send(sent)
        assert (rejected.state, rejected.retry) == ("failed", False) and "rejects" in rejected.reason
        assert carrier(archive).echo() is None and carrier(archive, "OTHER").echo() is not None
    down = carrier(archive).send(sent)
    assert (down.state, down.retry) == ("failed", True) and str(archive.port) in down.reason
    with Archive(SecondaryCaptureImageStorage) as archive:
        without = carrier(archive).send(sent)
        assert (without.state, without.retry) == ("failed", False) and "structured-report" in without.reason


def test_dcmtk_receives_it(tmp_path: Path) -> None:
    storescp, folder = need("storescp"), tmp_path / "in"
    folder.mkdir()
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with subprocess.Popen([storescp, "-od", str(folder), "+xe", str(port)]) as server:
        try:
            fields = {"name": "p", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": port}
            to = StoreCarrier(Destination.model_validate(fields), "MMCAF", timeout_s=5)
            ended = time.monotonic() + 20
            while (sent := to.send(parcels(tmp_path))) != DELIVERED and time.monotonic() < ended:
                time.sleep(0.1)
            assert sent == DELIVERED
        finally:
            server.kill()
    found = {str(dcmread(file).SOPInstanceUID) for file in folder.iterdir()}
    assert found == {parcel.uid for parcel in parcels(tmp_path)}


# HTTP


@contextmanager
def web_server(answer: Callable[[str, dict[str, str], bytes], tuple[int, str]]) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, text = answer(self.path, dict(self.headers), body)
            self.send_response(status)
            if status in (301, 302, 307):
                self.send_header("Location", "http://127.0.0.1:9/stolen")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def web(kind: str, url: str, **more: Any) -> Destination:
    return Destination.model_validate({"name": "web", "kind": kind, "url": url, **more})


def test_stow_sends_every_object_whole_with_its_token(tmp_path: Path) -> None:
    seen: list[tuple[str, dict[str, str], bytes]] = []
    (tmp_path / "token").write_text("s3cret\n")
    with web_server(lambda *request: (seen.append(request), (200, ""))[1]) as url:  # type: ignore[func-returns-value]
        sent = StowCarrier(web("dicomweb", f"{url}/dicom-web/", token_file=tmp_path / "token")).send(parcels(tmp_path))
    [(path, headers, body)] = seen
    assert sent == DELIVERED and path == "/dicom-web/studies" and headers["Authorization"] == "Bearer s3cret"
    boundary = headers["Content-Type"].rpartition("boundary=")[2]
    parts = body.split(f"\r\n--{boundary}".encode())
    assert parts[0] == b"" and parts[-1] == b"--\r\n"
    for part, parcel in zip(parts[1:-1], parcels(tmp_path), strict=True):
        head, _, content = part.partition(b"\r\n\r\n")
        assert head.strip() == b"Content-Type: application/dicom" and content == parcel.file.read_bytes()


def failures(*reasons: int) -> str:
    items = [{"00081197": {"vr": "US", "Value": [reason]}} for reason in reasons]
    return json.dumps({"00081198": {"vr": "SQ", "Value": items}})


@pytest.mark.parametrize(
    ("status", "answer", "state", "retry"),
    [
        (200, "", "delivered", False),
        (202, "{}", "delivered", False),
        (202, failures(0xA700), "failed", True),
        (409, failures(0x0111, 0x0111), "delivered", False),
        (409, failures(0x0111, 0xC000), "failed", False),
        (409, "<html>", "failed", False),
        (409, '[{"00081198": 5}]', "failed", False),
        (400, "", "failed", False),
        (401, "", "failed", False),
        (503, "", "failed", True),
        (429, "", "failed", True),
        (307, "", "failed", False),
    ],
)
def test_what_a_dicomweb_server_answers_is_understood(
    status: int, answer: str, state: str, retry: bool, tmp_path: Path
) -> None:
    with web_server(lambda *_: (status, answer)) as url:
        sent = StowCarrier(web("dicomweb", url)).send(parcels(tmp_path))
    assert (sent.state, sent.retry) == (state, retry)


@pytest.mark.parametrize(
    ("status", "state", "retry"), [(201, "delivered", False), (422, "failed", False), (502, "failed", True)]
)
def test_fhir_is_posted_to_the_servers_root(status: int, state: str, retry: bool, tmp_path: Path) -> None:
    file = tmp_path / "fhir.json"
    file.write_bytes(b'{"resourceType": "Bundle"}')
    seen: list[tuple[str, dict[str, str], bytes]] = []
    with web_server(lambda *request: (seen.append(request), (status, ""))[1]) as url:  # type: ignore[func-returns-value]
        sent = FhirCarrier(web("fhir", f"{url}/fhir/")).send([Parcel("fhir", "", "x", file, "")])
    assert (sent.state, sent.retry) == (state, retry)
    assert seen[0][0] == "/fhir" and seen[0][2] == file.read_bytes()
    assert seen[0][1]["Content-Type"] == "application/fhir+json"
    down = FhirCarrier(web("fhir", url)).send([Parcel("fhir", "", "x", file, "")])
    assert (down.state, down.retry) == ("failed", True)


@pytest.mark.parametrize("token", ["", "two words", "\x00", None])
def test_what_is_no_token_is_refused(token: str | None, tmp_path: Path) -> None:
    if token is not None:
        (tmp_path / "token").write_text(token)
    with pytest.raises(ServiceError, match="token"):
        FhirCarrier(web("fhir", "http://127.0.0.1", token_file=tmp_path / "token"))


def test_a_connection_that_ends_is_noticed_at_once(tmp_path: Path) -> None:
    def leave(event: Any) -> int:
        event.assoc.dul.socket.socket.shutdown(socket.SHUT_RDWR)
        return 0

    with Archive() as archive:
        archive.server.bind(pynetdicom.evt.EVT_C_STORE, leave)
        began = time.monotonic()
        sent = StoreCarrier(archive.destination(), "MMCAF", timeout_s=15).send(parcels(tmp_path))
    assert sent.state == "failed" and sent.retry and time.monotonic() - began < 5


def connections_open() -> int:
    return sum(
        str(link.readlink()).startswith("socket:") for link in Path("/proc/self/fd").iterdir() if link.is_symlink()
    )


def test_no_connection_stays_open_however_it_ends(tmp_path: Path) -> None:
    def reset(event: Any) -> int:
        connection = event.assoc.dul.socket.socket
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        return 0

    gc.disable()  # It would find them, some time.
    try:
        with Archive() as archive:
            to = StoreCarrier(archive.destination(), "MMCAF", timeout_s=15)
            assert to.send(parcels(tmp_path)) is DELIVERED
            before = connections_open()
            archive.server.bind(pynetdicom.evt.EVT_C_STORE, reset)
            assert [to.send(parcels(tmp_path)).state for _ in range(3)] == ["failed"] * 3
            until = time.monotonic() + 5
            while connections_open() > before and time.monotonic() < until:
                time.sleep(0.05)
            assert connections_open() <= before
    finally:
        gc.enable()


# Which delivery is due, and what becomes of its answer


class Scripted:
    """A carrier that answers as it is told."""

    def __init__(self, *outcomes: Sent) -> None:
        self.outcomes, self.sent = list(outcomes), 0

    def send(self, parcels: Sequence[Parcel]) -> Sent:
        self.sent += 1
        return self.outcomes.pop(0) if self.outcomes else DELIVERED


class Office:
    """A spool with one frozen answer, and a clock."""

    def __init__(self, spool: Path, memory: sqlite3.Connection) -> None:
        self.spool, self.memory, self.now = spool, memory, NOW
        arrival = Arrival("1.2.3", "1.2", "1.2.1", "1.3", "a", 1, "f", "CT")
        studies.keep(memory, [arrival], 1.0)
        [found] = studies.quiet(memory, 9.0, 1.0)
        assert studies.complete(memory, found, [Wanted("lung")], "now", 9.0)

    def freeze(self, *destinations: str, until: float = UNTIL) -> None:
        claimed = answers.claim(self.memory, "lung", "runner", self.now)
        assert claimed is not None
        place = self.spool / "results" / "1"
        place.mkdir(parents=True)
        (place / "fhir.json").write_bytes(b"{}")
        objects = [
            FrozenObject(one.kind, one.sop_class, one.uid, PurePosixPath("results/1", one.file.name), one.sha256)
            for one in parcels(place)
        ]
        objects.append(
            FrozenObject("fhir", "", "1/f", PurePosixPath("results/1/fhir.json"), hashlib.sha256(b"{}").hexdigest())
        )
        to = [(name, until) for name in destinations]
        assert answers.freeze(
            self.memory, claimed, "runner", self.now, objects, result_sha256="r", bundle_sha256="b", destinations=to
        )

    def sender(self, owner: str = "sender", commitment: bool = False, **carriers: Any) -> Sender:
        pacs = {"kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": 104, "commitment": commitment}
        fields = {
            "spool": self.spool,
            "bundle": [{"name": "lung", "path": "x"}],
            "destination": [{**pacs, "name": name} for name in carriers],
        }
        return Sender(Config.model_validate(fields), owner, carriers=carriers, clock=lambda: self.now)

    def state(self) -> str:
        return str(self.memory.execute("select state from answer").fetchone()[0])

    def problem(self) -> str:
        return str(self.memory.execute("select problem from answer").fetchone()[0])


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with closing(open_database(tmp_path)) as memory:
        yield Office(tmp_path, memory)


def test_an_answer_is_delivered_when_everybody_has_it(office: Office) -> None:
    office.freeze("a", "b")
    sender = office.sender(a=Scripted(), b=Scripted())
    assert sender.step(office.memory) and office.state() == "sending"
    assert sender.step(office.memory) and office.state() == "delivered"
    assert not sender.step(office.memory)


def test_what_may_go_better_later_is_tried_again_with_longer_waits(office: Office) -> None:
    later = Sent("failed", "out of resources", retry=True)
    office.freeze("a")
    carrier = Scripted(*[later] * 5)
    sender, waits = office.sender(a=carrier), []
    while office.state() == "sending":
        if sender.step(office.memory):
            due = office.memory.execute("select due from delivery").fetchone()[0]
            waits.append(due - office.now)
        office.now += 0.5
    assert carrier.sent == 6 and office.state() == "delivered"
    assert all(0.75 * 2**at <= waited <= 1.25 * 2**at for at, waited in enumerate(waits[:5]))
    assert max(wait_s(tries) for tries in range(200)) <= 1.25 * LONGEST_WAIT_S


def test_what_is_refused_for_good_is_not_tried_again(office: Office) -> None:
    office.freeze("a", "b")
    refusing = Scripted(Sent("failed", "0xC000"))
    sender = office.sender(a=refusing, b=Scripted())
    while sender.step(office.memory):
        office.now += 100
    assert refusing.sent == 1 and office.state() == "failed" and "a: 0xC000" in office.problem()
    assert answers.retry(office.memory, 1, office.now, office.now + 100)
    other = Scripted()
    again = office.sender(a=refusing, b=other)
    while again.step(office.memory):
        pass
    assert office.state() == "delivered" and (refusing.sent, other.sent) == (2, 0)


def test_what_waits_for_its_next_try_is_sent_at_once_where_a_person_asks(office: Office) -> None:
    office.freeze("a", until=9e9)
    carrier = Scripted(*[Sent("failed", "down", retry=True)] * 9)
    sender = office.sender(a=carrier)
    assert answers.retry(office.memory, 1, office.now, 9e9) and carrier.sent == 0, "it is due anyway"
    while carrier.sent < 9:
        office.now += 700
        sender.step(office.memory)
    assert not sender.step(office.memory) and office.state() == "sending"
    view = views.find_answer(office.memory, 1)
    assert view is not None and [one.do for one in view.actions] == ["send"]
    assert answers.retry(office.memory, 1, office.now, 9e9)
    assert sender.step(office.memory) and office.state() == "delivered"
    view = views.find_answer(office.memory, 1)
    assert view is not None and view.actions == [] and not answers.retry(office.memory, 1, office.now, 9e9)


def test_a_clock_that_was_set_back_keeps_no_delivery_waiting(office: Office) -> None:
    office.freeze("a")
    office.now += 3e3
    later = Sent("failed", "out of resources", retry=True)
    sender = office.sender(a=Scripted(later, later))
    assert sender.step(office.memory) and not sender.step(office.memory)
    office.now -= 3e3
    assert sender.step(office.memory), "else after almost an hour"
    assert not sender.step(office.memory) and office.state() == "sending"
    office.now += 1.25 * LONGEST_WAIT_S
    assert sender.step(office.memory) and office.state() == "delivered"


def test_a_delivery_whose_time_is_over_is_given_up(office: Office) -> None:
    office.freeze("a")
    sender = office.sender(a=Scripted(*[Sent("failed", "down", retry=True)] * 99))
    sender.step(office.memory)
    office.now = UNTIL
    assert not sender.step(office.memory)
    assert office.state() == "expired" and "a: down" in office.problem()


def test_a_sender_that_died_is_gone_on_from_and_nobody_sends_beside_it(office: Office) -> None:
    office.freeze("a")
    assert claim_due(office.memory, office.spool, ["a"], "one", NOW) is not None
    assert claim_due(office.memory, office.spool, ["a"], "two", NOW) is None
    again = claim_due(office.memory, office.spool, ["a"], "one", NOW)
    assert again is not None
    office.now += HELD_S + 1
    other = claim_due(office.memory, office.spool, ["a"], "two", office.now)
    assert other is not None
    enter(office.memory, again, "one", Sent("failed", "late"), office.now, committing=False)
    assert office.state() == "sending", "its lease had ended"
    enter(office.memory, other, "two", DELIVERED, office.now, committing=False)
    assert office.state() == "delivered"


def test_an_object_that_changed_is_not_sent(office: Office) -> None:
    office.freeze("a")
    (office.spool / "results" / "1" / "structured-report.dcm").write_bytes(b"other")
    carrier = Scripted()
    office.sender(a=carrier).step(office.memory)
    assert carrier.sent == 0 and office.state() == "failed" and "structured-report" in office.problem()


def test_an_answer_is_committed_when_its_archive_promises(office: Office) -> None:
    office.freeze("a")
    with Archive() as archive:
        to = StoreCarrier(archive.destination(commitment=True), "MMCAF", timeout_s=5)
        sender = office.sender(a=to, commitment=True)
        assert sender.step(office.memory) and office.state() == "delivered"
        [asked] = archive.asked
        uids = {str(item.ReferencedSOPInstanceUID) for item in asked.ReferencedSOPSequence}
        assert uids == {parcel.uid for parcel in parcels(office.spool)}
        assert not commit(office.memory, "1.9.9", 2, [], office.now)
        assert commit(office.memory, str(asked.TransactionUID), 1, ["1.2.3.1"], office.now)
        assert office.state() == "delivered", "one was lost: it is sent again"
        office.now += 10
        assert sender.step(office.memory) and len(archive.got) == 4
        assert commit(office.memory, str(archive.asked[1].TransactionUID), 2, [], office.now)
    assert office.state() == "committed"


def test_a_promise_that_does_not_come_is_asked_for_again(office: Office) -> None:
    office.freeze("a", until=1e6)
    with Archive() as archive:
        sender = office.sender(a=StoreCarrier(archive.destination(), "MMCAF", timeout_s=5), commitment=True)
        assert sender.step(office.memory) and not sender.step(office.memory)
        office.now += delivery.ASK_AGAIN_S
        assert sender.step(office.memory)
        assert len(archive.asked) == 2 and len(archive.got) == 2


def test_a_record_that_does_not_come_ends_the_waiting(tmp_path: Path) -> None:
    with closing(open_database(tmp_path)) as memory:
        office = Office(tmp_path, memory)
        memory.execute("update answer set state = 'waiting-record', deadline = ?", (NOW,))
        claim_due(memory, tmp_path, ["a"], "sender", NOW)
        assert office.state() == "expired" and "record" in office.problem()


def test_a_destination_that_says_nothing_keeps_no_other_waiting(office: Office) -> None:
    office.freeze("mute", "pacs", until=9e12)
    ended, connections = threading.Event(), []
    with Archive() as archive, socket.create_server(("127.0.0.1", 0)) as mute:
        mute_one = {"name": "mute", "port": mute.getsockname()[1]}
        fields = {
            "spool": office.spool,
            "bundle": [{"name": "lung", "path": "x"}],
            "destination": [archive.destination(**one).model_dump() for one in (mute_one, {})],
        }
        thread = threading.Thread(target=send, args=(Config.model_validate(fields), ended))
        thread.start()
        connections.append(mute.accept()[0])
        until = time.monotonic() + 10
        while len(archive.got) < 2 and time.monotonic() < until:
            time.sleep(0.02)
        assert len(archive.got) == 2 and len(connections) <= AT_ONCE
        ended.set()
        for one in connections:
            one.close()
        thread.join(10)
        assert not thread.is_alive() and office.state() == "sending"


def test_tasks_side_by_side_end_together_and_a_fault_is_raised() -> None:
    def broken(ended: threading.Event) -> None:
        raise ServiceError("broken")

    other = threading.Event()

    def patient(ended: threading.Event) -> None:
        assert ended.wait(10)
        other.set()

    with pytest.raises(ServiceError, match="broken"):
        side_by_side([patient, broken], lambda: None, threading.Event())
    assert other.is_set()
    over = threading.Event()
    over.set()
    side_by_side([patient], lambda: None, over)
