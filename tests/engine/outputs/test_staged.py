"""A file that is written is whole or not there, under a name that nobody guesses."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mmcaf_engine.outputs import (
    Output,
    StagedFile,
    is_staging,
    staged_file,
    write_all,
    write_file,
)
from obstacles import names, posix


@pytest.mark.parametrize(
    "content", ["text \u00e9\n", b"\x00\xff", "", b"x" * 3_000_001], ids=lambda content: str(len(content))
)
def test_what_is_written_is_there(tmp_path: Path, content: str | bytes) -> None:
    write_file(tmp_path / "file", content)
    assert (tmp_path / "file").read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert names(tmp_path) == ["file"]


def test_nothing_is_seen_before_the_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with staged_file(tmp_path / "file") as stream:
        stream.write(b"new" * 100_000)
        stream.flush()
        assert (tmp_path / "file").read_text() == "old"
        (other,) = [name for name in names(tmp_path) if name != "file"]
        assert is_staging(other) and str(os.getpid()) not in other
    assert (tmp_path / "file").read_bytes() == b"new" * 100_000 and names(tmp_path) == ["file"]


@pytest.mark.parametrize("failure", [ValueError, OSError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_failure_leaves_the_old_file_alone(tmp_path: Path, failure: type[BaseException]) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(failure), staged_file(tmp_path / "file") as stream:
        stream.write(b"half")
        raise failure
    assert names(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "old"


def test_a_full_disk_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "file").write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_file(tmp_path / "file", "new")
    assert names(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "old"


@posix
def test_it_is_on_the_disk_before_it_has_its_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync = os.fsync

    def note(descriptor: int) -> None:
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        done.append(f"{'folder' if folder else 'file'}, {(tmp_path / 'file').exists()}")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    write_file(tmp_path / "file", "new")
    assert done == ["file, False", "folder, True"]


@posix
def test_a_link_at_the_staging_name_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda count: "0" * 2 * count)
    (tmp_path / "victim").write_text("precious")
    (tmp_path / f".mmcaf-{'0' * 32}.staging").symlink_to(tmp_path / "victim")
    with pytest.raises(FileExistsError):
        write_file(tmp_path / "file", "new")
    assert (tmp_path / "victim").read_text() == "precious" and not (tmp_path / "file").exists()


def test_no_two_names_are_equal(tmp_path: Path) -> None:
    staged = [StagedFile(tmp_path / "file") for _ in range(50)]
    assert len(names(tmp_path)) == 50 and all(map(is_staging, names(tmp_path)))
    for one in staged:
        one.discard()
    assert names(tmp_path) == []


def test_a_name_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    name = "n" * os.pathconf(tmp_path, "PC_NAME_MAX") if hasattr(os, "pathconf") else "n" * 200
    write_file(tmp_path / name, "text")
    assert names(tmp_path) == [name]


@posix
@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_rights(tmp_path: Path, umask: int) -> None:
    """Of the user alone, also where an older file was open to others."""
    (tmp_path / "replaced").touch()
    (tmp_path / "replaced").chmod(0o666)
    before = os.umask(umask)
    try:
        write_file(tmp_path / "file", "")
        write_file(tmp_path / "replaced", "")
        write_all([(Output("output", tmp_path / "named"), "")])
        with staged_file(tmp_path / "none") as stream:
            assert os.fstat(stream.fileno()).st_mode & 0o777 == 0o600
    finally:
        os.umask(before)
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert found == dict.fromkeys(("file", "replaced", "named", "none"), 0o600)


KILLED = """
import os, sys
from pathlib import Path
from mmcaf_engine.outputs import staged_file
with staged_file(Path(sys.argv[1])) as stream:
    stream.write(b"half")
    stream.flush()
    os._exit(9)
"""


def test_a_killed_process_leaves_the_old_file_and_a_name_that_is_known(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    assert subprocess.run([sys.executable, "-c", KILLED, tmp_path / "file"], check=False).returncode == 9
    (left,) = [name for name in names(tmp_path) if name != "file"]
    assert is_staging(left) and (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize(
    "name", [".mmcaf-.staging", "file", f".mmcaf-{'0' * 32}.staging.txt", f"mmcaf-{'0' * 32}.staging"]
)
def test_other_names_are_not_taken_for_left_overs(name: str) -> None:
    assert not is_staging(name)


WRITE_OFTEN = """
import sys, threading
from pathlib import Path
from mmcaf_engine.outputs import write_file
def work(letter):
    for _ in range(40):
        write_file(Path(sys.argv[1]), letter * 20_000)
threads = [threading.Thread(target=work, args=(letter,)) for letter in sys.argv[2]]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


def test_threads_and_processes_that_write_at_once_never_mix(tmp_path: Path) -> None:
    file = tmp_path / "file"
    workers = [subprocess.Popen([sys.executable, "-c", WRITE_OFTEN, file, letters]) for letters in ("AB", "CD")]
    seen = set()
    while any(worker.poll() is None for worker in workers):
        if file.exists():
            seen.add(file.read_text())
    assert [worker.returncode for worker in workers] == [0, 0]
    assert seen and all(len(text) == 20_000 and len(set(text)) == 1 for text in seen)
    assert names(tmp_path) == ["file"]
