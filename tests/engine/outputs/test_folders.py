"""A folder that is written is whole or not there, and takes the place of another in one step."""

import ctypes
import os
import stat
import sys
import threading
from errno import EINVAL, ENOSYS, EOPNOTSUPP
from pathlib import Path

import pytest

from mmcaf_engine.outputs import (
    commit_folder,
    is_staging,
    new_staging_folder,
    remove,
    staged_folder,
)
from mmcaf_engine.outputs.exchange import exchange
from obstacles import fill, link_to_folder, names, posix


def test_a_folder_appears_whole(place: Path) -> None:
    with staged_folder(place / "made") as made:
        fill(made, "new")
        assert [is_staging(name) for name in names(place)] == [True]
    assert (place / "made" / "sub" / "file").read_text() == "new" and names(place) == ["made"]


def test_a_failure_leaves_no_folder(place: Path) -> None:
    with pytest.raises(KeyboardInterrupt), staged_folder(place / "made") as made:
        fill(made, "half")
        raise KeyboardInterrupt
    assert names(place) == []


@pytest.mark.parametrize("old", ["a folder", "a file"])
def test_an_older_one_stays_unless_it_is_to_be_replaced(place: Path, old: str) -> None:
    if old == "a folder":
        (place / "made").mkdir()
        (place / "made" / "old").write_text("old")
    else:
        (place / "made").write_text("old")
    before = (place / "made").stat().st_ino
    with pytest.raises(OSError), staged_folder(place / "made") as made:
        fill(made, "new")
    assert (place / "made").stat().st_ino == before and names(place) == ["made"]
    with staged_folder(place / "made", replace=True) as made:
        fill(made, "new")
    assert names(place / "made") == ["sub"] and names(place) == ["made"]


one_step = pytest.mark.parametrize("in_one_step", [True, False], ids=["exchange", "two-steps"])
"""As the system does it that can have two names change places, and as all others do."""


def without_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmcaf_engine.outputs.staged.exchange", lambda one, other: False)


@pytest.mark.skipif(sys.platform != "linux", reason="a call of Linux")
@pytest.mark.parametrize("kinds", ["ff", "dd", "fd", "df"])
def test_two_names_change_places(place: Path, kinds: str) -> None:
    for name, kind in zip("ab", kinds, strict=True):
        (place / name).mkdir() if kind == "d" else (place / name).touch()
    before = [(place / name).stat().st_ino for name in "ab"]
    assert exchange(place / "a", place / "b")
    assert [(place / name).stat().st_ino for name in "ba"] == before


@pytest.mark.skipif(sys.platform != "linux", reason="a call of Linux")
def test_a_failing_change_of_places_is_an_error_of_the_system(place: Path) -> None:
    (place / "a").touch()
    with pytest.raises(FileNotFoundError):
        exchange(place / "a", place / "absent")


@pytest.mark.parametrize("number", [ENOSYS, EINVAL, EOPNOTSUPP])
def test_where_names_cannot_change_places(place: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuses(*_: object) -> int:
        ctypes.set_errno(number)
        return -1

    for answer in (refuses, None):
        monkeypatch.setattr("mmcaf_engine.outputs.exchange.system_call", lambda answer=answer: answer)
        assert not exchange(place / "a", place / "b")


def old_and_new(place: Path) -> Path:
    (place / "made").mkdir()
    (place / "made" / "old").write_text("old")
    fill(new := new_staging_folder(place), "new")
    return new


@one_step
def test_a_folder_takes_the_place_of_another(place: Path, monkeypatch: pytest.MonkeyPatch, in_one_step: bool) -> None:
    new = old_and_new(place)
    if not in_one_step:
        without_exchange(monkeypatch)
    elif sys.platform == "linux":  # At no moment does nothing stand there.
        monkeypatch.delattr("mmcaf_engine.outputs.staged._replace_in_two_steps")
    commit_folder(new, place / "made", replace=True)
    assert names(place) == ["made"] and names(place / "made") == ["sub"]


@one_step
@pytest.mark.parametrize("failure", [OSError(5, "Input/output error"), KeyboardInterrupt()], ids=["disk", "signal"])
def test_what_is_replaced_comes_back_if_its_successor_cannot_be_moved(
    place: Path, monkeypatch: pytest.MonkeyPatch, in_one_step: bool, failure: BaseException
) -> None:
    made = old_and_new(place)
    rename, calls = Path.rename, iter(range(9))

    def fails(*_: object) -> bool:
        raise failure

    def second_fails(self: Path, target: Path) -> Path:
        if next(calls) == 1:
            raise failure
        return rename(self, target)

    if in_one_step:
        monkeypatch.setattr("mmcaf_engine.outputs.staged.exchange", fails)
    else:
        without_exchange(monkeypatch)
        monkeypatch.setattr(Path, "rename", second_fails)
    with pytest.raises(type(failure)):
        commit_folder(made, place / "made", replace=True)
    monkeypatch.undo()
    assert (place / "made" / "old").read_text() == "old" and remove(made) and names(place) == ["made"]


@posix
def test_all_of_a_folder_is_on_the_disk_before_it_has_its_name(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    sync = os.fsync

    def note(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append(f"{path.name if not is_staging(path.name) else 'staging'}, {(place / 'made').exists()}")
        sync(descriptor)

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc to tell which file was put on the disk")
    with staged_folder(place / "made") as made:
        fill(made, "new")
        monkeypatch.setattr(os, "fsync", note)
    assert sorted(synced[:-1]) == ["file, False", "staging, False", "sub, False"] and synced[-1] == "place, True"


@posix
def test_rights_of_folders(place: Path) -> None:
    before = os.umask(0o022)
    try:
        for mode in (0o700, 0o777):
            with staged_folder(place / f"{mode:o}", mode=mode):
                pass
    finally:
        os.umask(before)
    assert [stat.S_IMODE((place / name).stat().st_mode) for name in ("700", "777")] == [0o700, 0o755]


@posix
def test_remove_takes_a_link_and_not_what_it_leads_to(place: Path) -> None:
    link_to_folder(place / "out")
    (place.parent / "elsewhere" / "file").write_text("precious")
    assert remove(place / "out") and remove(place / "absent")
    assert (place.parent / "elsewhere" / "file").read_text() == "precious" and names(place) == []


def test_a_thread_of_many_gets_a_folder_of_its_own(place: Path) -> None:
    made: list[Path] = []
    workers = [threading.Thread(target=lambda: made.append(new_staging_folder(place))) for _ in range(20)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(set(made)) == 20


@pytest.mark.parametrize("made", ["file", "folder"])
@pytest.mark.parametrize("there", ["file", "folder"])
def test_what_is_not_to_be_replaced_stays(made: str, there: str, tmp_path: Path) -> None:
    staging, target = tmp_path / "staging", tmp_path / "target"
    for path, kind, text in ((staging, made, "new"), (target, there, "old")):
        if kind == "folder":
            path.mkdir()
        (path / "within" if kind == "folder" else path).write_text(text)
    with pytest.raises(OSError):
        commit_folder(staging, target)
    assert (target / "within" if there == "folder" else target).read_text() == "old"
    assert names(tmp_path) == ["staging", "target"]
    commit_folder(staging, target, replace=True)
    assert (target / "within" if made == "folder" else target).read_text() == "new"
    assert names(tmp_path) == ["target"]
