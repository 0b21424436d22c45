"""Images over DICOM's network protocol: who may send them, what is answered, and what is then on the disk."""

import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from counterparts import need
from dicom_factory import change, ct_slice, hounsfield
from mmcaf_engine.errors import ServiceError
from mmcaf_engine.service import receipt
from mmcaf_engine.service.config import DicomSettings, Peer
from mmcaf_engine.service.database import open_database
from mmcaf_engine.service.dimse import prompt
from mmcaf_engine.service.dimse.carrier import COMMITMENT_INSTANCE
from mmcaf_engine.service.dimse.contexts import COMMITMENT
from mmcaf_engine.service.dimse.receiver import DUPLICATE, NO_DATA_SET, OUT_OF_RESOURCES, SUCCESS, Receiver
from mmcaf_engine.service.disk import Reserve
from mmcaf_engine.service.keys import keyed
from mmcaf_engine.service.receipt import INCOMING, Receipt

pynetdicom = pytest.importorskip("pynetdicom")
KEY = b"k" * 32
PLENTY = Reserve(0, 0)
VALUES = hounsfield(1, 16, 16)[0]


def image(uid: str = "1.2.3.1", **elements: Any) -> Any:
    return change(ct_slice(VALUES), SOPInstanceUID=uid, **{"StudyInstanceUID": "1.2.3", **elements})


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    folder = tmp_path / "spool"
    folder.mkdir()
    return folder


def listening(spool: Path, reserve: Reserve = PLENTY, **settings: Any) -> Iterator[Receiver]:
    found = DicomSettings(**{"port": 1, **settings}).model_copy(update={"port": 0})
    with Receipt(spool, reserve) as taking, Receiver(found, taking, reserve, KEY) as receiver:
        yield receiver


@pytest.fixture
def receiver(spool: Path) -> Iterator[Receiver]:
    yield from listening(spool)


def associate(receiver: Receiver, title: str = "CT1", called: str = "MMCAF") -> Any:
    entity = pynetdicom.AE(title)
    for syntax in (ImplicitVRLittleEndian, ExplicitVRLittleEndian):
        entity.add_requested_context(CTImageStorage, syntax)
    entity.add_requested_context("1.2.840.10008.1.1")
    return entity.associate("127.0.0.1", receiver.port, ae_title=called)


def send(receiver: Receiver, *images: Any, **how: Any) -> list[int]:
    association = associate(receiver, **how)
    assert association.is_established
    found = [int(association.send_c_store(one).Status) for one in images]
    association.release()
    return found


def rows(spool: Path) -> list[Any]:
    with closing(open_database(spool)) as memory:
        return memory.execute("select * from instance join study on study.uid = instance.study").fetchall()


def test_an_image_is_kept_as_it_was_sent(receiver: Receiver, spool: Path) -> None:
    sent = image(PatientID="A-1 ", AccessionNumber="17", RequestedProcedurePriority="STAT")
    assert send(receiver, sent) == [SUCCESS]
    [row] = rows(spool)
    found = dcmread(spool / row["file"])
    assert [element.tag for element in found] == [element.tag for element in sent]
    assert found.PixelData == sent.PixelData and found.SOPInstanceUID == sent.SOPInstanceUID
    assert (row["study"], row["sop_class"], row["source"], row["priority"]) == ("1.2.3", CTImageStorage, "CT1", 2)
    assert row["patient"] == keyed(KEY, "patient", "A-1") and row["accession"] == keyed(KEY, "accession", "17")


def test_the_same_image_twice_and_another_of_its_uid(receiver: Receiver, spool: Path) -> None:
    assert send(receiver, image(), image()) == [SUCCESS, SUCCESS]
    assert send(receiver, image(PatientID="other")) == [DUPLICATE]
    assert len(rows(spool)) == 1 and receiver.refused == {"same UID, other content": 1}


def test_an_echo_is_answered(receiver: Receiver) -> None:
    association = associate(receiver)
    assert association.send_c_echo().Status == SUCCESS
    association.release()


def test_a_study_is_busy_while_its_association_is_open(receiver: Receiver) -> None:
    association = associate(receiver)
    assert receiver.busy() == frozenset()
    association.send_c_store(image())
    assert receiver.busy() == {"1.2.3"}
    other = associate(receiver)
    other.send_c_store(image("1.2.4.1", StudyInstanceUID="1.2.4"))
    assert receiver.busy() == {"1.2.3", "1.2.4"}
    association.abort()
    other.release()
    ended = time.monotonic() + 10
    while receiver.busy() and time.monotonic() < ended:
        time.sleep(0.02)
    assert receiver.busy() == frozenset()


def test_only_known_peers_are_listened_to(spool: Path) -> None:
    peers = (Peer(ae_title="CT1", priority="batch"), Peer(ae_title="CT2", host="10.0.0.1"))
    for receiver in listening(spool, peers=peers):
        for title in ("CT2", "CT3"):
            refused = associate(receiver, title)
            assert refused.is_rejected and not refused.is_established
        assert send(receiver, image()) == [SUCCESS]
        assert receiver.refused == {"peer not known": 2}
    assert [row["priority"] for row in rows(spool)] == [0]


def test_another_called_title_is_refused_unless_any_will_do(spool: Path) -> None:
    for receiver in listening(spool):
        assert associate(receiver, called="OTHER").is_rejected
    for receiver in listening(spool, any_called_title=True):
        assert send(receiver, image(), called="OTHER") == [SUCCESS]


def test_a_full_disk_is_said_as_that(spool: Path) -> None:
    for receiver in listening(spool, Reserve(2**60, 0)):
        assert send(receiver, image()) == [OUT_OF_RESOURCES]
    assert rows(spool) == [] and not (spool / INCOMING).exists()
    for receiver in listening(spool, Reserve(2**60, 2**60)):
        assert associate(receiver).is_rejected and receiver.refused == {"disk full": 1}


def test_a_fault_of_ours_is_no_success_and_the_next_image_is_taken(
    receiver: Receiver, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr(receipt, "folder_of", broken)
        assert send(receiver, image()) == [OUT_OF_RESOURCES]
    assert send(receiver, image()) == [SUCCESS] and len(rows(spool)) == 1


def test_an_image_that_is_not_the_one_announced_is_refused(
    receiver: Receiver, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = pynetdicom.association.encode
    monkeypatch.setattr(pynetdicom.association, "encode", lambda _, *how: encode(image("1.9.9"), *how))
    assert send(receiver, image()) == [NO_DATA_SET] and rows(spool) == []


def test_a_port_that_is_taken_is_named(receiver: Receiver, spool: Path) -> None:
    with Receipt(spool, PLENTY) as taking, pytest.raises(ServiceError, match=str(receiver.port)):
        Receiver(DicomSettings(port=receiver.port), taking, PLENTY, KEY)


def test_dcmtk_sends_to_it(receiver: Receiver, spool: Path, tmp_path: Path) -> None:
    storescu = need("storescu")
    for at in range(5):
        image(f"1.2.3.{at + 1}").save_as(tmp_path / f"{at}.dcm", enforce_file_format=True)
    files = [str(tmp_path / f"{at}.dcm") for at in range(5)]
    called = [storescu, "-aet", "CT1", "-aec", "MMCAF", "127.0.0.1", str(receiver.port), *files]
    subprocess.run(called, check=True, timeout=60)
    assert len(rows(spool)) == 5


def test_an_archive_reports_and_may_send_nothing(spool: Path) -> None:
    """A storage commitment's N-EVENT-REPORT comes over an association of the archive's own (PS3.4 J.3.3)."""
    reports: list[tuple[str, int, list[str]]] = []

    def report(transaction: str, kept: int, lost: Sequence[str]) -> bool:
        reports.append((transaction, kept, list(lost)))
        return True

    settings = DicomSettings(port=1, peers=(Peer(ae_title="CT1"),)).model_copy(update={"port": 0})
    with (
        Receipt(spool, PLENTY) as taking,
        Receiver(settings, taking, PLENTY, KEY, archives=["PACS"], report=report) as receiver,
    ):
        entity = pynetdicom.AE("PACS")
        entity.add_requested_context(COMMITMENT)
        entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        role = pynetdicom.build_role(COMMITMENT, scp_role=True)
        association = entity.associate("127.0.0.1", receiver.port, ae_title="MMCAF", ext_neg=[role])
        said = Dataset()
        said.TransactionUID = "1.2.3.9"
        said.ReferencedSOPSequence = [reference("1.2.3.1"), reference("1.2.3.2")]
        said.FailedSOPSequence = [reference("1.2.3.3")]
        status, _ = association.send_n_event_report(said, 2, COMMITMENT, COMMITMENT_INSTANCE)
        assert status.Status == SUCCESS and reports == [("1.2.3.9", 2, ["1.2.3.3"])]
        assert association.send_c_store(image()).Status != SUCCESS and rows(spool) == []
        association.release()
        assert associate(receiver, "OTHER").is_rejected


def reference(uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CTImageStorage, uid
    return item


def test_an_open_association_that_sends_nothing_is_left_alone(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    association = associate(receiver)
    looks: list[float] = []
    select = prompt.select.select

    def counted(*given: Any) -> Any:
        looks.append(time.monotonic())
        return select(*given)

    monkeypatch.setattr(prompt, "select", SimpleNamespace(select=counted))
    time.sleep(0.3)
    association.release()
    assert 1 <= len(looks) < 60, "pynetdicom's own would have looked three hundred times"


def test_a_pdu_that_claims_to_be_longer_than_any_is_not_waited_for(receiver: Receiver, spool: Path) -> None:
    for claimed, kept in ((prompt.LONGEST_PDU + 1, False), (prompt.LONGEST_PDU, True)):
        with socket.create_connection(("127.0.0.1", receiver.port), timeout=5) as connection:
            connection.sendall(struct.pack(">BBL", 1, 0, claimed) + b"x" * 100)
            connection.settimeout(1)
            if kept:
                with pytest.raises(TimeoutError):
                    connection.recv(1)
            else:
                assert connection.recv(1) == b""
    assert send(receiver, image()) == [SUCCESS]


def test_who_falls_silent_in_the_middle_of_a_pdu_is_not_waited_for(spool: Path) -> None:
    for receiver in listening(spool, timeout_s=0.5):
        association = associate(receiver)
        association.dul.socket.socket.sendall(struct.pack(">BBL", 4, 0, 1000) + b"x" * 100)
        until = time.monotonic() + 6
        while association.is_established and time.monotonic() < until:
            time.sleep(0.02)
        assert not association.is_established
        assert send(receiver, image()) == [SUCCESS]
