"""A copy of a running service, and what it brings back: here, elsewhere, and over what came since."""

import hashlib
import io
import json
import shutil
import sqlite3
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from engine.service.test_intake import DEADLINE_S, KEY, NO_RECORD, QUIET_S, SLICES, Desk, images
from mmcaf_engine.errors import ServiceError
from mmcaf_engine.service import answers, backup, restore
from mmcaf_engine.service.alone import only_service
from mmcaf_engine.service.backup import MANIFEST, write_backup
from mmcaf_engine.service.config import Config
from mmcaf_engine.service.database import FILE, open_database
from mmcaf_engine.service.delivery import claim_due
from mmcaf_engine.service.disk import Reserve
from mmcaf_engine.service.keys import FILE as KEY_FILE
from mmcaf_engine.service.receipt import INCOMING, Receipt
from mmcaf_engine.service.records import FOLDER, keep_record, read_given
from mmcaf_engine.service.restore import STAGED, finish_restore
from mmcaf_engine.service.runner import RESULTS, frozen_object

NOW, COMING = 2000.0, "1.2.3"
PACS = {"name": "pacs", "kind": "dicom", "ae_title": "P", "host": "127.0.0.1", "port": 104}


def configured(spool: Path) -> Config:
    return Config.model_validate({"spool": spool, "bundle": [{"name": "lung", "path": "x"}], "destination": [PACS]})


class Clinic(Desk):
    """A spool whose studies are at different points."""

    def __init__(self, spool: Path, taking: Receipt, memory: sqlite3.Connection) -> None:
        super().__init__(spool, taking, memory)
        (spool / KEY_FILE).write_bytes(KEY)
        self.queues = self.intake(**NO_RECORD)

    def queue(self, study: str) -> None:
        self.take(*images(study))
        assert self.queues.look(self.memory, {COMING}, self.now + QUIET_S) == 1

    def freeze(self) -> int:
        """The most urgent is answered."""
        claimed = answers.claim(self.memory, "lung", "runner lung", NOW)
        assert claimed is not None
        objects = [
            frozen_object(PurePosixPath(RESULTS, f"{claimed.id}-0", name), content)
            for name, content in self.write(claimed.id, claimed.study, claimed.created).items()
        ]
        assert answers.freeze(
            self.memory,
            claimed,
            "runner lung",
            NOW,
            objects,
            result_sha256="r",
            bundle_sha256="b",
            destinations=[("pacs", 9e9)],
        )
        return claimed.id

    def write(self, answer: int, study: str, created: str) -> dict[str, bytes]:
        result = {"created": created, "study": {"uids": {"study": study}}, "model": {"bundle_sha256": "b"}}
        contents = {"fhir.json": b"{}", "result.json": json.dumps(result).encode()}
        (self.spool / RESULTS / f"{answer}-0").mkdir(parents=True)
        for name, content in contents.items():
            (self.spool / RESULTS / f"{answer}-0" / name).write_bytes(content)
        return contents

    def record(self, patient: str) -> None:
        content = json.dumps({"patient_id": patient, "age": 60}).encode()
        keep_record(self.memory, self.spool, read_given(content, KEY), source="http", now=NOW)

    def back_up(self, archive: Path, *, with_images: bool = False) -> backup.Contents:
        with archive.open("wb") as stream:
            scratch = archive.with_name(f"{archive.name}.scratch")
            scratch.mkdir()
            return write_backup(self.spool, stream, scratch, images=with_images, now=NOW)


@contextmanager
def opened(spool: Path) -> Iterator[Clinic]:
    with Receipt(spool, Reserve(0, 0)) as taking, closing(open_database(spool)) as memory:
        yield Clinic(spool, taking, memory)


@pytest.fixture
def clinic(tmp_path: Path) -> Iterator[Clinic]:
    (tmp_path / "spool").mkdir(mode=0o700)
    with opened(tmp_path / "spool") as clinic:
        yield clinic


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spool with a study that was answered, one that is queued and one that is coming, and a record; its backup."""
    folder = tmp_path_factory.mktemp("clinic")
    (folder / "spool").mkdir(mode=0o700)
    with opened(folder / "spool") as clinic:
        clinic.queue("1.2.1")
        clinic.freeze()
        clinic.queue("1.2.2")
        clinic.take(*images(COMING)[:2])
        clinic.record("P-1")
        contents = clinic.back_up(folder / "backup.tar", with_images=True)
    assert contents.missing == [] and contents.images and len(contents.files) == 2 + 2 * SLICES + 2 + 1 + 2
    return folder


@pytest.fixture
def archive(made: Path, tmp_path: Path) -> Path:
    """The backup, beside the spool that it is of."""
    shutil.copytree(made / "spool", tmp_path / "spool")
    return Path(shutil.copy(made / "backup.tar", tmp_path))


@pytest.fixture
def spool(archive: Path) -> Path:
    """That spool."""
    return archive.with_name("spool")


def states(spool: Path) -> dict[str, tuple[str, str | None]]:
    """Study -> its state and that of its newest answer."""
    with closing(open_database(spool)) as memory:
        rows = memory.execute(
            "select uid, study.state, (select state from answer where study = uid order by id desc limit 1) as answer "
            "from study order by uid"
        )
        return {row["uid"]: (row["state"], row["answer"]) for row in rows.fetchall()}


def dangling(spool: Path) -> list[str]:
    """Files that rows name and that are not there."""
    with closing(open_database(spool)) as memory:
        named = [
            row[0]
            for table in ("instance", "object", "record")
            for row in memory.execute(f"select file from {table} where file <> ''").fetchall()
        ]
    return [file for file in named if not (spool / file).is_file()]


def test_a_backup_on_another_machine(archive: Path, tmp_path: Path) -> None:
    elsewhere = configured(tmp_path / "elsewhere" / "spool")
    done = restore.restore(elsewhere, archive, NOW)
    assert (done.made, done.studies, done.answers, done.aside) == ("1970-01-01T00:33:20Z", 3, 2, None)
    assert done.reconciled == restore.Reconciled()
    before, after = tmp_path / "spool", elsewhere.spool
    for name in (INCOMING, RESULTS, FOLDER):
        files = {str(file.relative_to(before)): file for file in (before / name).rglob("*") if file.is_file()}
        assert files and all((after / file).read_bytes() == there.read_bytes() for file, there in files.items())
        assert all((after / file).stat().st_mode & 0o777 == 0o600 for file in files)
    assert (after / KEY_FILE).read_bytes() == KEY and after.stat().st_mode & 0o777 == 0o700
    assert states(after) == {
        "1.2.1": ("complete", "sending"),
        "1.2.2": ("complete", "queued"),
        "1.2.3": ("received", None),
    }
    assert dangling(after) == [] and not (after / STAGED).exists()
    with closing(open_database(after)) as memory:
        due = claim_due(memory, after, ["pacs"], "sender", NOW)
        assert due is not None
        assert all(hashlib.sha256(one.file.read_bytes()).hexdigest() == one.sha256 for one in due.parcels)


def test_what_the_spool_held_is_moved_aside_and_what_it_had_more_is_kept(spool: Path, archive: Path) -> None:
    """Results that were frozen since are the answers; images and records that were acknowledged are not lost."""
    with opened(spool) as clinic:
        second = clinic.freeze()
        clinic.queue("1.2.4")
        clinic.freeze()
        clinic.take(*images(COMING)[2:])
        clinic.record("P-2")
    now_there = {str(file.relative_to(spool)) for file in spool.rglob("*.*") if file.is_file()}
    done = restore.restore(configured(spool), archive, NOW)
    found = done.reconciled
    assert (found.adopted, found.images, found.records, found.waiting) == (1, SLICES + SLICES - 2, 1, 0)
    assert done.aside == "before-restore-19700101T003320Z"
    aside = spool / done.aside
    assert {str(file.relative_to(aside)) for file in aside.rglob("*.*") if file.is_file()} >= now_there
    assert states(spool) == {
        "1.2.1": ("complete", "sending"),
        "1.2.2": ("complete", "sending"),
        "1.2.3": ("received", None),
        "1.2.4": ("received", None),
    }
    assert dangling(spool) == []
    with closing(open_database(spool)) as memory:
        assert memory.execute("select count(*) from record").fetchone()[0] == 2
        for row in memory.execute("select * from object where answer = ?", (second,)).fetchall():
            assert hashlib.sha256((spool / row["file"]).read_bytes()).hexdigest() == row["sha256"]
            assert (spool / row["file"]).read_bytes() == (aside / row["file"]).read_bytes()
        assert memory.execute("select destination from delivery where answer = ?", (second,)).fetchall()
        assert len(memory.execute("select * from instance where study = ?", (COMING,)).fetchall()) == SLICES


@pytest.mark.parametrize("wrong", ["another time", "another study", "cut off", "none"])
def test_a_result_of_something_else_is_not_taken_for_the_answer(wrong: str, spool: Path, archive: Path) -> None:
    with opened(spool) as clinic:
        created = clinic.memory.execute("select created from answer where study = '1.2.2'").fetchone()[0]
        if wrong != "none":
            study = "1.2.9" if wrong == "another study" else "1.2.2"
            clinic.write(2, study, "2020-01-01T00:00:00Z" if wrong == "another time" else created)
        if wrong == "cut off":
            (spool / RESULTS / "2-0" / "result.json").unlink()
    done = restore.restore(configured(spool), archive, NOW)
    assert done.reconciled.adopted == 0 and states(spool)["1.2.2"] == ("complete", "queued")
    assert not (spool / RESULTS / "2-0").exists()


def test_without_images_a_study_in_work_waits_for_all_of_them(clinic: Clinic, tmp_path: Path) -> None:
    clinic.queue("1.2.1")
    clinic.freeze()
    clinic.queue("1.2.2")
    clinic.take(*images("1.2.3")[:2])
    contents = clinic.back_up(tmp_path / "small.tar")
    assert not contents.images and not any(name.startswith(INCOMING) for name in contents.files)
    elsewhere = configured(tmp_path / "elsewhere")
    found = restore.restore(elsewhere, tmp_path / "small.tar", NOW).reconciled
    assert (found.waiting, found.pruned) == (2, 1) and dangling(elsewhere.spool) == []
    with Receipt(elsewhere.spool, Reserve(0, 0)) as taking, closing(open_database(elsewhere.spool)) as memory:
        desk = Desk(elsewhere.spool, taking, memory)
        desk.now = NOW
        assert "send all of the study again" in str(desk.problem("1.2.2"))
        intake = desk.intake(**NO_RECORD)
        assert intake.look(memory, set(), NOW + DEADLINE_S) == 0, "of nothing, nothing is answered"
        desk.take(*images("1.2.2")[:-1])
        assert intake.look(memory, set(), NOW + QUIET_S) == 0 and "5 of 6" in str(desk.problem("1.2.2"))
        desk.take(*images("1.2.2")[-1:], *images("1.2.1"))
        assert intake.look(memory, set(), NOW + QUIET_S) == 1
        assert desk.sets("1.2.2") == [(1, 0, "superseded"), (2, SLICES, "queued")]
        assert [state for _, _, state in desk.sets("1.2.1")] == ["sending"]


def test_without_images_where_the_spool_has_them_still(clinic: Clinic, tmp_path: Path) -> None:
    clinic.queue("1.2.2")
    clinic.back_up(tmp_path / "small.tar")
    found = restore.restore(configured(clinic.spool), tmp_path / "small.tar", NOW).reconciled
    assert (found.linked, found.waiting) == (SLICES, 0) and dangling(clinic.spool) == []
    assert states(clinic.spool) == {"1.2.2": ("complete", "queued")}


def test_what_was_removed_while_a_backup_was_made(spool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory forgets first: a second copy of it no longer names the file."""
    real: Callable[..., None] = backup.back_up
    calls = []
    with opened(spool) as clinic:
        [named] = clinic.memory.execute("select file from record").fetchall()

        def forget(spool: Path, file: Path) -> None:
            real(spool, file)
            calls.append(file)
            clinic.memory.execute("delete from record_key")
            clinic.memory.execute("delete from record")
            (spool / named["file"]).unlink(missing_ok=True)

        monkeypatch.setattr(backup, "back_up", forget)
        contents = clinic.back_up(tmp_path / "again.tar")
        assert len(calls) == 2 and contents.missing == [] and named["file"] not in contents.files
        result = next((spool / RESULTS).rglob("result.json"))
        result.unlink()
        contents = clinic.back_up(tmp_path / "lacks.tar")
        assert contents.missing == [str(result.relative_to(spool))]


def test_it_is_not_restored_under_a_running_service(spool: Path, archive: Path) -> None:
    with only_service(spool), pytest.raises(ServiceError, match="Another service runs"):
        restore.restore(configured(spool), archive, NOW)
    assert states(spool)["1.2.2"] == ("complete", "queued")


def test_what_the_last_service_had_not_folded_in_goes_aside_with_its_memory(spool: Path, archive: Path) -> None:
    """After a power cut state.db-wal lies beside state.db; it is no part of the one that is brought back."""
    with closing(open_database(spool)) as memory:
        memory.execute("update study set state = 'received', problem = 'of the last service'")
        died = spool.with_name("died")
        shutil.copytree(spool, died)
    done = restore.restore(configured(died), archive, NOW)
    assert states(died)["1.2.2"] == ("complete", "queued")
    assert (died / str(done.aside) / f"{FILE}-wal").stat().st_size > 0
    with closing(open_database(died / str(done.aside))) as old:
        assert old.execute("select distinct problem from study").fetchall()[0][0] == "of the last service"


# What is no backup


def rewritten(archive: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The archive with other members."""
    with tarfile.open(archive) as tar:
        members = {one.name: tar.extractfile(one).read() for one in tar}  # type: ignore[union-attr]
    change(members)
    other = archive.with_name("other.tar")
    with tarfile.open(other, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return other


def told(members: dict[str, bytes], **changes: Any) -> None:
    """With a manifest that fits the members."""
    files = {name: hashlib.sha256(content).hexdigest() for name, content in members.items() if name != MANIFEST}
    members[MANIFEST] = json.dumps({**json.loads(members[MANIFEST]), "files": files, **changes}).encode()


def memory_of(members: dict[str, bytes], folder: Path, statement: str) -> None:
    """Change what its memory holds."""
    (folder / "changed.db").write_bytes(members[FILE])
    with closing(sqlite3.connect(folder / "changed.db")) as memory:
        memory.execute(statement)
        memory.commit()
    members[FILE] = (folder / "changed.db").read_bytes()
    told(members)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda found, _: found.update({"../outside": b"x"}), "outside"),
        (lambda found, _: found.update({"results/../../outside": b"x"}), "outside"),
        (lambda found, _: found.update({"serve.toml": b"x"}), "serve.toml"),
        (lambda found, _: found.update({"images/1.2/9.dcm": b"x"}), "damaged: images/1.2/9.dcm"),
        (lambda found, _: found.update({KEY_FILE: b"x" * 32}), "damaged: key"),
        (lambda found, _: found.pop(KEY_FILE), "damaged: key"),
        (lambda found, _: (found.pop(KEY_FILE), told(found)), "lacks state.db or key"),
        (lambda found, _: (found.update({KEY_FILE: b"x"}), told(found)), "32 are expected"),
        (lambda found, _: found.pop(MANIFEST), "cut off"),
        (lambda found, _: told(found, format=2), "newer version"),
        (lambda found, _: found.update({MANIFEST: b"[]"}), "cut off"),
        (
            lambda found, _: (found.update({FILE: found[FILE][:-5000] + bytes(5000)}), told(found)),
            "state.db is damaged",
        ),
        (lambda found, folder: memory_of(found, folder, "pragma user_version = 99"), "version 99"),
        (
            lambda found, folder: memory_of(found, folder, "update answer set study = 'x' where id = 1"),
            "state.db is damaged",
        ),
    ],
)
def test_what_is_no_backup_changes_nothing(
    change: Callable[[dict[str, bytes], Path], Any], words: str, spool: Path, archive: Path, tmp_path: Path
) -> None:
    other = rewritten(archive, lambda members: change(members, tmp_path))
    with pytest.raises(ServiceError, match=words) as refusal:
        restore.restore(configured(spool), other, NOW)
    assert refusal.value.exit_code == 9
    assert states(spool)["1.2.2"] == ("complete", "queued") and dangling(spool) == []
    assert not (spool / STAGED).exists() and not list(spool.glob("before-*"))
    assert not (tmp_path / "outside").exists()


def test_links_and_cut_archives_are_refused(spool: Path, archive: Path, tmp_path: Path) -> None:
    other = tmp_path / "link.tar"
    with tarfile.open(other, "w") as tar:
        link = tarfile.TarInfo(f"{RESULTS}/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(ServiceError, match="which no backup does"):
        restore.restore(configured(spool), other, NOW)
    whole = archive.read_bytes()
    for size in (0, 100, len(whole) // 2, len(whole) - 30_000):
        other.write_bytes(whole[:size])
        with pytest.raises(ServiceError, match=r"damaged|cut off"):
            restore.restore(configured(spool), other, NOW)
    with pytest.raises(ServiceError, match="no such file"):
        restore.restore(configured(spool), tmp_path / "missing.tar", NOW)
    assert states(spool)["1.2.2"] == ("complete", "queued")


# Crashes


class Died(BaseException):
    """As a process does."""


def test_a_restore_that_dies_is_finished_or_never_was(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each of its renames: whoever comes next finds the one or the other, whole, and nothing is lost."""
    spool = tmp_path / "spool"
    real = Path.rename
    dies_at, died = 0, True
    while died:
        again = tmp_path / f"again-{dies_at}"
        shutil.copytree(spool, again)
        left = dies_at

        def rename(self: Path, target: Path) -> Path:
            nonlocal left
            if left == 0:
                raise Died
            left -= 1
            return real(self, target)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "rename", rename)
            try:
                restore.restore(configured(again), archive, NOW)
                died = False
            except Died:
                died = True
        with only_service(again):
            finish_restore(again)
        assert states(again)["1.2.2"] == ("complete", "queued") and dangling(again) == []
        [aside] = again.glob("before-*")
        assert {one.name for one in aside.iterdir()} >= {FILE, KEY_FILE, INCOMING, RESULTS, FOLDER}
        dies_at += 1
    assert dies_at > 8


def test_a_full_disk_leaves_the_spool_as_it_was(spool: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(restore, "write_synced", full)
    with pytest.raises(ServiceError, match="No space left on device; it is as it was"):
        restore.restore(configured(spool), archive, NOW)
    assert states(spool)["1.2.2"] == ("complete", "queued") and not (spool / STAGED).exists()
