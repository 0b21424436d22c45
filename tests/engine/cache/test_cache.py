"""The cache by itself: what lies in it, how it is told, what is swept away, and whose it must be."""

import os
import time
from pathlib import Path

import pytest

from mmcaf_engine.cache.cache import CacheKind, cache_folder, mark_used, open_own, read_own_json
from mmcaf_engine.errors import UsageError

posix = pytest.mark.skipif(os.name != "posix", reason="file owners are of POSIX")
STAGING = f".mmcaf-{'0' * 32}.staging"


def described(path: Path) -> str:
    if path.name == "c" * 4:
        raise KeyError("damaged")
    return f"what\x1b[31m of {path.name}"


KIND = CacheKind("things", "thing", "[a-z]{4}", described)


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def put(folder: Path, name: str, data: bytes, used: float) -> Path:
    (folder / name).write_bytes(data)
    os.utime(folder / name, (used, used))
    return folder / name


def test_looking_makes_no_folder(root: Path) -> None:
    assert KIND.items() == []
    assert not root.exists()


def test_a_new_folder_is_for_this_user_alone(root: Path) -> None:
    assert KIND.folder() == cache_folder("things") == root / "things"
    assert (root / "things").stat().st_mode & 0o777 == 0o700


def test_what_lies_there_the_least_recently_used_first() -> None:
    folder = KIND.folder()
    put(folder, "aaaa", b"12345", 3000)
    put(folder, "bbbb", b"1", 1000)
    put(folder, "cccc", b"", 2000)
    put(folder, STAGING, b"123", 4000)
    for other in ("aaaaa", "AAAA", "aaaa.json", "mmcaf"):
        put(folder, other, b"1", 500)
    assert [(item.what, item.size, item.last_used, item.path.name) for item in KIND.items()] == [
        ("what?[31m of bbbb", 1, 1000, "bbbb"),
        ("not recognised", 0, 2000, "cccc"),
        ("what?[31m of aaaa", 5, 3000, "aaaa"),
        ("left behind by an interrupted process", 3, 4000, STAGING),
    ]
    assert {item.kind for item in KIND.items()} == {"things"}


def test_the_size_of_a_folder_is_that_of_its_files() -> None:
    entry = KIND.folder() / "aaaa"
    (entry / "within").mkdir(parents=True)
    (entry / "engine").write_bytes(b"1" * 1000)
    (entry / "within" / "more").write_bytes(b"1" * 234)
    (entry / "link").symlink_to("engine")
    assert [item.size for item in KIND.items()] == [1234]


def test_what_is_used_goes_last() -> None:
    path = put(KIND.folder(), "aaaa", b"1", 1000)
    mark_used(path)
    assert time.time() - path.stat().st_mtime < 60
    mark_used(path.with_name("missing"))


@posix
@pytest.mark.parametrize("mode", [0o770, 0o720, 0o707, 0o702, 0o777])
def test_a_folder_that_others_may_write_to(mode: int) -> None:
    KIND.folder().chmod(mode)
    with pytest.raises(UsageError):
        KIND.folder()


@posix
@pytest.mark.parametrize("mode", [0o700, 0o750, 0o755])
def test_a_folder_that_others_may_read(mode: int) -> None:
    KIND.folder().chmod(mode)
    assert KIND.folder().exists()


@posix
def test_what_belongs_to_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(KIND.folder(), "aaaa", b"{}", 1000)
    assert read_own_json(path) == {}
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(UsageError):
        KIND.folder()
    with pytest.raises(PermissionError):
        open_own(path)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="Linux lists open files")
def test_what_is_no_file_is_closed_again() -> None:
    folder = KIND.folder()
    os.mkfifo(folder / "aaaa")
    before = sorted(Path("/proc/self/fd").iterdir())
    for path in (folder, folder / "aaaa"):
        with pytest.raises(PermissionError):
            open_own(path)
    assert sorted(Path("/proc/self/fd").iterdir()) == before


@posix
def test_links_are_never_followed(root: Path, tmp_path: Path) -> None:
    folder = KIND.folder()
    (tmp_path / "elsewhere").write_bytes(b"{}")
    (folder / "aaaa").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        open_own(folder / "aaaa")
    (tmp_path / "folder").mkdir(mode=0o700)
    (root / "other").symlink_to(tmp_path / "folder")
    with pytest.raises(UsageError):
        cache_folder("other")


def test_a_file_in_the_place_of_the_folder(root: Path) -> None:
    root.mkdir()
    (root / "things").write_bytes(b"")
    with pytest.raises(UsageError):
        KIND.folder()
