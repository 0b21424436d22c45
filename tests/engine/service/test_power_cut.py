"""Nobody hears of success before an image is on the disk, so that none is missing after a power cut at any moment."""

import hashlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from counterparts import need
from dicom_factory import ct_series, hounsfield, write
from engine.service.test_service import free_port
from mmcaf_engine.errors import StudyError
from mmcaf_engine.service.database import FILE, open_database
from mmcaf_engine.service.disk import Reserve
from mmcaf_engine.service.headers import read_header
from mmcaf_engine.service.receipt import INCOMING, Receipt
from power_cut import Disk, lay_out
from system_calls import Call, read_calls, traced
from tiny_bundle import make_tiny_bundle

pytest.importorskip("pynetdicom")
pytestmark = [pytest.mark.full, pytest.mark.skipif(sys.platform != "linux", reason="strace is Linux's")]

PROGRAM = Path(__file__).parents[2] / "taking_images.py"
LOG = f"{FILE}-wal"
STATUS_SUCCESS = b"\x00\x00\x00\x09\x02\x00\x00\x00\x00\x00"
"""(0000,0900) Status, as a response has it (PS3.7 9.3.1.2)."""
EVERY = 5
"""Of the moments, at so many once more with a part of what was not synced."""


@dataclass
class Recorded:
    """What the service did while it took images. sent: SOPInstanceUID -> data set and all, as it was sent."""

    spool: Path
    calls: list[Call]
    sent: dict[str, bytes]
    dicom: int
    http: int

    def answers(self) -> list[tuple[str, Call]]:
        """Each instance of which a sender heard that it is stored, and the call that told it."""
        found = []
        for call in self.calls:
            if call.name not in ("sendto", "write", "sendmsg") or not call.strings:
                continue
            said = call.strings[-1]
            by_dicom = f":{self.dicom}->" in call.target and said[:1] == b"\x04" and STATUS_SUCCESS in said
            if by_dicom or f":{self.http}->" in call.target:
                uids = re.findall(rb"(?<![\d.])1\.2\.9\.\d+\.1\.\d+(?![\d.])", said)
                found += [(uid.decode(), call) for uid in uids]
        return found


def record(folder: Path, fault: str, studies: int, repeat: bool) -> Recorded:
    dicom, http = free_port(), free_port()
    make_tiny_bundle(folder / "tiny.mmcaf")
    file = folder / "serve.toml"
    file.write_text(
        f"""
        spool = "spool"
        http = {{port = {http}}}
        dicom = {{port = {dicom}}}
        completeness = {{quiet_s = 3600}}
        disk = {{reserve_mib = 1, hard_mib = 0}}
        bundle = [{{name = "tiny", path = "tiny.mmcaf"}}]
        """
    )
    sent: dict[str, bytes] = {}
    groups: list[list[Path]] = []
    for at in range(studies + 1):
        uid = f"1.2.9.{at + 1}"
        groups.append([])
        for number, image in enumerate(ct_series(hounsfield(3), StudyInstanceUID=uid, series_uid=f"{uid}.1")):
            image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"{uid}.1.{number + 1}"
            groups[-1].append(write(image, folder / f"{at}-{number}.dcm"))
            sent[image.SOPInstanceUID] = groups[-1][-1].read_bytes()
    calling = [need("storescu"), "-aec", "MMCAF", "127.0.0.1", str(dicom)]
    with traced([sys.executable, str(PROGRAM), str(file), *([fault] if fault else [])], folder / "trace") as running:
        assert running.stdout is not None and running.stdout.readline() == "ready\n"
        for group in groups[:-1] + (groups[:1] if repeat else []):
            subprocess.run([*calling, *map(str, group)], check=True, timeout=60)
        parts = [b"--p\r\nContent-Type: application/dicom\r\n\r\n" + one.read_bytes() + b"\r\n" for one in groups[-1]]
        kind = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=p'}
        with urlopen(Request(f"http://127.0.0.1:{http}/dicom-web/studies", b"".join(parts) + b"--p--", kind)) as answer:
            assert answer.status == 200
    return Recorded(folder / "spool", read_calls(folder / "trace"), sent, dicom, http)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return record(tmp_path_factory.mktemp("whole"), "", 2, True)


@pytest.fixture(scope="module")
def early(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return record(tmp_path_factory.mktemp("early"), "early", 1, False)


@pytest.fixture(scope="module")
def unsynced(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return record(tmp_path_factory.mktemp("unsynced"), "unsynced", 1, False)


def missing_step(found: Recorded, uid: str, answer: Call) -> str | None:
    """Which step was not done before its sender heard of it: bytes, name, folder, row, in this order."""
    before = [call for call in found.calls if call.ended < answer.began]
    after = 0
    names = [
        one for one in before if one.name.startswith("rename") and Path(one.paths()[-1]).name.startswith(f"{uid}.")
    ]
    if not names:
        return "it has no name"
    part, name = names[0].paths()[0], names[0].paths()[-1]
    written = max(one.ended for one in before if one.target == part and one.name == "write")
    after = first([one for one in before if is_sync(one, part)], written)
    if not written < after < names[0].began:
        return "its bytes were not synced before its name"
    after = first([one for one in before if is_sync(one, str(Path(name).parent))], names[0].ended)
    if not after:
        return "its folder was not synced"
    log = str(found.spool / LOG)
    rows = [one for one in before if one.name == "pwrite64" and one.target == log and uid.encode() in one.strings[0]]
    after = first(rows, after)
    if not after:
        return "its row was not written after its name was synced"
    return None if first([one for one in before if is_sync(one, log)], after) else "its row was not synced"


def is_sync(call: Call, path: str) -> bool:
    return call.name in ("fsync", "fdatasync") and call.target == path


def first(calls: Sequence[Call], after: int) -> int:
    """When the first that began later had ended; 0 where there is none."""
    return next((one.ended for one in calls if one.began > after), 0)


def test_bytes_name_folder_and_row_are_synced_before_the_answer(recorded: Recorded) -> None:
    answers = recorded.answers()
    assert {uid for uid, _ in answers} == recorded.sent.keys() and len(answers) == 12, "three images came twice"
    assert [step for uid, answer in answers if (step := missing_step(recorded, uid, answer))] == []


def test_who_answers_early_is_found_out(early: Recorded, unsynced: Recorded) -> None:
    assert {missing_step(early, uid, answer) for uid, answer in early.answers()} == {"it has no name"}
    assert {missing_step(unsynced, uid, answer) for uid, answer in unsynced.answers()} == {"its folder was not synced"}


def cuts(found: Recorded) -> Iterator[tuple[Disk, set[str]]]:
    """The disk after each call that changes it, and what was acknowledged by then."""
    disk, answers = Disk(found.spool.parent), found.answers()
    for call in found.calls:
        if not call.target.endswith("-shm") and disk.follow(call):
            yield disk, {uid for uid, answer in answers if answer.began <= call.ended}


def faults(found: Recorded, every: int = EVERY) -> list[str]:
    """What is missing or half there after a power cut at any moment."""
    draw = random.Random(0)
    told = []
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as place:
        for at, (disk, acknowledged) in enumerate(cuts(found)):
            for drawn in (None, draw) if at % every == 0 else (None,):
                folder = Path(place, "disk")
                folder.mkdir()
                lay_out(disk, found.spool.parent, folder, drawn, without=(f"{FILE}-shm",))
                told += [f"{at}: {fault}" for fault in faults_of(folder / "spool", found, acknowledged)]
                shutil.rmtree(folder)
    return told


def faults_of(spool: Path, found: Recorded, acknowledged: set[str]) -> Iterator[str]:
    if not spool.is_dir():
        if acknowledged:
            yield "the spool is gone"
        return
    with Receipt(spool, Reserve(0, 0)), closing(open_database(spool)) as memory:
        if (checked := memory.execute("pragma quick_check").fetchone()[0]) != "ok":
            yield f"the memory is damaged: {checked}"
        rows = {row["uid"]: row for row in memory.execute("select * from instance").fetchall()}
    yield from (f"{uid} was acknowledged and is gone" for uid in sorted(acknowledged - rows.keys()))
    for uid, row in rows.items():
        file = spool / str(row["file"])
        if not file.is_file():
            yield f"{uid} has no file"
        elif not row["sha256"] == digest(found.sent[uid]) == digest(file.read_bytes()):
            yield f"{uid} is not as it was sent"
    if parts := list((spool / INCOMING).glob("*/.receiver-*")):
        yield f"{len(parts)} parts are left"


def digest(content: bytes) -> str:
    """Of the data set; what stands before it is whose wrote it last."""
    try:
        body = read_header(content, "image", [])[1]
    except StudyError:
        return "none"
    return hashlib.sha256(content[body:]).hexdigest()


def test_after_a_power_cut_at_any_moment_all_that_was_acknowledged_is_there(recorded: Recorded) -> None:
    assert len(list(cuts(recorded))) > 200
    assert faults(recorded) == []


def test_a_power_cut_finds_who_answers_early(early: Recorded, unsynced: Recorded) -> None:
    for found in (early, unsynced):
        assert any("was acknowledged and is gone" in fault or "has no file" in fault for fault in faults(found))
