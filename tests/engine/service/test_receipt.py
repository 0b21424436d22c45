"""Instances are on the disk before their sender hears of it, also where many come at once and the disk is full."""

import errno
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mmcaf_engine.errors import ServiceError
from mmcaf_engine.service import disk, receipt
from mmcaf_engine.service.database import open_database
from mmcaf_engine.service.disk import Reserve
from mmcaf_engine.service.receipt import INCOMING, Instance, Receipt, folder_of
from mmcaf_engine.service.studies import Arrival

PLENTY = Reserve(0, 0)


def instance(uid: str, study: str = "1.2", body: bytes = b"pixels", meta: bytes = b"meta") -> Instance:
    arrival = Arrival(uid, study, f"{study}.1", "1.3", sha256="", size=0, file="", source="CT")
    return Instance(meta + body, len(meta), arrival)


def files(spool: Path) -> list[Path]:
    return sorted(file for file in (spool / INCOMING).rglob("*") if file.is_file())


def rows(spool: Path) -> list[sqlite3.Row]:
    with closing(open_database(spool)) as memory:
        return memory.execute("select * from instance order by uid").fetchall()


@pytest.fixture
def taking(tmp_path: Path) -> Iterator[Receipt]:
    with Receipt(tmp_path, PLENTY) as found:
        yield found


def test_what_was_taken_is_there_whole(taking: Receipt, tmp_path: Path) -> None:
    assert taking.receive(instance("1.2.1")).kept == "new"
    [row], [file] = rows(tmp_path), files(tmp_path)
    assert file == tmp_path / row["file"] and file.read_bytes() == b"metapixels" and row["size"] == 10
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_same_again_changes_nothing_and_other_bytes_are_refused(taking: Receipt, tmp_path: Path) -> None:
    """The meta information says who wrote the file last, and is no part of the instance."""
    taking.receive(instance("1.2.1"))
    assert taking.receive(instance("1.2.1", meta=b"other")).kept == "same"
    assert taking.receive(instance("1.2.1", body=b"others")).kept == "other"
    [file] = files(tmp_path)
    assert file.read_bytes().endswith(b"pixels") and len(rows(tmp_path)) == 1


def test_many_at_once_are_all_kept_in_few_transactions(
    taking: Receipt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []
    keep = receipt.keep

    def counted(connection: Any, arrivals: Any, now: float) -> Any:
        groups.append(len(arrivals))
        return keep(connection, arrivals, now)

    monkeypatch.setattr(receipt, "keep", counted)
    uids = [f"1.2.{at}" for at in range(60)]
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda uid: taking.receive(instance(uid, study=uid[:4])), uids))
    assert {one.kept for one in found} == {"new"} and len(files(tmp_path)) == len(rows(tmp_path)) == 60
    assert sum(groups) == 60 and max(groups) > 1


def test_a_disk_below_its_reserve_takes_nothing_and_goes_on_later(tmp_path: Path) -> None:
    free = disk.shutil.disk_usage(tmp_path).free
    with Receipt(tmp_path, Reserve(free * 2, 0)) as taking:
        found = taking.receive(instance("1.2.1"))
        assert found.full and found.kept is None and not (tmp_path / INCOMING).exists()
    assert Reserve(free * 2, 0).room(tmp_path) == "low" and Reserve(free * 2, free * 2).room(tmp_path) == "none"
    assert PLENTY.room(tmp_path) == "enough" and Reserve(1000, 500).room(tmp_path, free * 2) == "none"


@pytest.mark.parametrize("step", ["write", "fsync", "rename", "folder"])
def test_a_full_disk_at_any_step_leaves_no_part_and_no_row(
    step: str, taking: Receipt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taking.receive(instance("1.2.0"))

    def full(*_: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        if step == "write":
            patched.setattr(receipt, "write_synced", full)
        elif step == "fsync":
            patched.setattr(os, "fsync", full)
        elif step == "rename":
            patched.setattr(Path, "replace", full)
        else:
            patched.setattr(receipt, "sync_folder", full)
        assert taking.receive(instance("1.2.1")).full
    assert len(files(tmp_path)) == 1, "neither a part nor a whole file that no row names"
    assert [row["uid"] for row in rows(tmp_path)] == ["1.2.0"]
    assert taking.receive(instance("1.2.1")).kept == "new", "it resumes by itself"


def test_what_was_refused_is_owed_until_it_comes_also_where_that_finds_no_room_at_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []
    owe = receipt.owe

    def full_at_first(*given: Any) -> None:
        tried.append(1)
        if len(tried) < 3:
            raise sqlite3.OperationalError("database or disk is full")
        owe(*given)

    def owed() -> list[str]:
        with closing(open_database(tmp_path)) as memory:
            return [row["uid"] for row in memory.execute("select uid from owed order by uid")]

    monkeypatch.setattr(receipt, "owe", full_at_first)
    monkeypatch.setattr(receipt, "OWED_S", 0.01)
    with Receipt(tmp_path, PLENTY) as taking:
        for step in ("write_synced", "sync_folder"):
            with monkeypatch.context() as patched:
                patched.setattr(receipt, step, _full)
                assert taking.receive(instance(f"1.2.{step}")).full
        ends = time.monotonic() + 10
        while len(owed()) < 2 and time.monotonic() < ends:
            time.sleep(0.01)
        assert owed() == ["1.2.sync_folder", "1.2.write_synced"] and len(tried) >= 3
        taking.receive(instance("1.2.write_synced"))
    assert owed() == ["1.2.sync_folder"]


def _full(*_: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_another_fault_is_raised_and_the_next_is_taken(
    taking: Receipt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(receipt, "keep", broken)
        with pytest.raises(sqlite3.OperationalError):
            taking.receive(instance("1.2.1"))
    assert taking.receive(instance("1.2.1")).kept == "new" and len(files(tmp_path)) == 1


def test_a_fault_that_nobody_thought_of_leaves_no_sender_waiting(
    taking: Receipt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise TypeError

    with monkeypatch.context() as patched:
        patched.setattr(receipt, "keep", broken)
        with pytest.raises(TypeError):
            taking.receive(instance("1.2.1"))
    assert taking.receive(instance("1.2.1")).kept == "new"


def test_a_memory_that_cannot_be_opened_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"no database" * 500)
    with pytest.raises(ServiceError, match=r"state\.db"):
        Receipt(tmp_path, PLENTY)


def test_a_new_memory_is_opened_by_many_at_once(tmp_path: Path) -> None:
    """SQLite refuses at once, without waiting, where two make a new file one with a write-ahead log."""
    faults: list[ServiceError] = []

    def opened(spool: Path) -> None:
        try:
            open_database(spool).close()
        except ServiceError as failure:
            faults.append(failure)

    for at in range(60):
        spool = tmp_path / str(at)
        spool.mkdir()
        threads = [threading.Thread(target=opened, args=(spool,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not faults


def test_what_a_dead_process_had_begun_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / INCOMING / "1.2"
    folder.mkdir(parents=True)
    (folder / ".receiver-abc.part").write_bytes(b"half")
    (folder / ".web-abc.part").write_bytes(b"another process writes it")
    with Receipt(tmp_path, PLENTY):
        assert [file.name for file in files(tmp_path)] == [".web-abc.part"]


def test_a_file_that_is_gone_is_taken_again(taking: Receipt, tmp_path: Path) -> None:
    """Its row alone is no image: whoever sends it again is not told that it is there."""
    taking.receive(instance("1.2.1"))
    files(tmp_path)[0].unlink()
    assert taking.receive(instance("1.2.1", meta=b"other")).kept == "same"
    [row], [file] = rows(tmp_path), files(tmp_path)
    assert file == tmp_path / row["file"] and file.read_bytes() == b"otherpixels" and row["size"] == 11
    assert taking.receive(instance("1.2.1")).kept == "same" and files(tmp_path) == [file]


@pytest.mark.parametrize("uid", ["../../etc/passwd", "", "1.2/3", "1..2", "x" * 300, "1.2\n", "\udcff", "."])
def test_no_uid_leads_out_of_the_spool(uid: str, taking: Receipt, tmp_path: Path) -> None:
    name = folder_of(uid)
    assert name.startswith("x") and name.isalnum() and len(name) == 41
    assert folder_of("1.2.840.10008") == "1.2.840.10008" and folder_of(uid + "1") != name
    if uid.isprintable():
        taking.receive(instance(uid or "1.2.1", study=uid))
        [file] = files(tmp_path)
        assert file.parent.parent == tmp_path / INCOMING


def test_names_are_synced_before_the_row_and_the_row_before_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    for name in ("write_synced", "sync_folder", "sync_folders", "keep"):
        was = getattr(receipt, name)

        def watched(*given: Any, name: str = name, was: Any = was) -> Any:
            order.append(name)
            return was(*given)

        monkeypatch.setattr(receipt, name, watched)
    with Receipt(tmp_path, PLENTY) as taking:
        taking.receive(instance("1.2.1"))
        order.append("answered")
    assert order == ["write_synced", "sync_folder", "sync_folders", "keep", "answered"]


def test_a_folder_that_another_made_is_synced_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its maker may have died, or not have got so far."""
    synced: list[Path] = []
    (tmp_path / INCOMING / "1.2").mkdir(parents=True)
    monkeypatch.setattr(receipt, "sync_folder", synced.append)
    monkeypatch.setattr(disk, "sync_folder", synced.append)
    with Receipt(tmp_path, PLENTY) as taking:
        for uid in ("1.2.1", "1.2.2"):
            taking.receive(instance(uid))
    folder = tmp_path / INCOMING / "1.2"
    assert synced == [folder, folder.parent, tmp_path, tmp_path.parent, folder]
