"""What killed processes leave behind: removed or put back by the next one, and nothing that a living one works on."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmcaf_engine import load_bundle
from mmcaf_engine.bundle.bundle import check_output
from mmcaf_engine.outputs import (
    Output,
    StagedFile,
    new_staging_folder,
    remove,
    restore,
    scratch_beside,
    sweep,
    write_all,
)
from mmcaf_engine.outputs.leftovers import aside_path, hold, let_go, staging_path, sweep_once
from tiny_bundle import make_tiny_bundle

posix = pytest.mark.skipif(os.name != "posix", reason="locks of POSIX")

STOPS = """
import os, signal, sys
from pathlib import Path
from mmcaf_engine.outputs import StagedFile, commit_folder, new_staging_folder, staged
place = Path(sys.argv[2])
stop = lambda: (print("ready", flush=True), signal.pause())
if sys.argv[1] == "folder":
    made = new_staging_folder(place)
    (made / "within").mkdir()
    (made / "within" / "file").write_text("half")
elif sys.argv[1] == "file":
    made = StagedFile(place / "out")
    made.stream.write(b"half")
elif sys.argv[1] == "finished file":
    made = StagedFile(place / "out")
    made.finish()
else:
    made = new_staging_folder(place)
    (made / "new").touch()
    staged.exchange = lambda one, other: False
    rename = Path.rename
    def stops(self, target):
        if self == made:
            stop()
        return rename(self, target)
    Path.rename = stops
    commit_folder(made, place / "old", replace=True)
stop()
"""
"""A process that stops in the midst of its work on a folder."""


def stopped(what: str, place: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", STOPS, what, place], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def killed(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@posix
@pytest.mark.parametrize("what", ["folder", "file", "finished file"])
def test_what_a_killed_process_was_writing_goes_and_what_a_living_one_writes_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    process = stopped(what, tmp_path)
    (tmp_path / "other").touch()
    before = names(tmp_path)
    assert len(before) == 2
    sweep(tmp_path)
    assert names(tmp_path) == before
    killed(process)
    assert names(tmp_path) == before
    with caplog.at_level(logging.WARNING):
        sweep(tmp_path)
    assert names(tmp_path) == ["other"]
    (told,) = caplog.messages
    assert str(tmp_path / before[0]) in told and "interrupted" in told


@posix
def test_a_file_is_held_until_it_is_moved(tmp_path: Path) -> None:
    staged = StagedFile(tmp_path / "out")
    staged.finish()
    sweep(tmp_path)
    staged.commit()
    assert names(tmp_path) == ["out"]


@posix
def test_what_was_put_aside_comes_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "file").write_text("old")
    process = stopped("replacing", tmp_path)
    assert not (tmp_path / "old").exists()
    sweep(tmp_path)
    assert not restore(tmp_path / "old") and not (tmp_path / "old").exists()
    killed(process)
    assert not restore(tmp_path / "another")
    with caplog.at_level(logging.WARNING):
        assert restore(tmp_path / "old")
    assert (tmp_path / "old" / "file").read_text() == "old"
    assert str(tmp_path / "old") in caplog.text and "put back" in caplog.text
    sweep(tmp_path)
    assert names(tmp_path) == ["old"]


def put_aside(path: Path) -> None:
    """As a process that was killed in between leaves it."""
    aside = aside_path(path.parent)
    aside.mkdir()
    path.rename(aside / path.name)


@posix
def test_a_bundle_that_was_put_aside_is_found_by_the_next_run(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "kept" / "tiny.mmcaf")
    before = load_bundle(bundle).sha256
    put_aside(bundle)
    assert load_bundle(bundle).sha256 == before
    put_aside(bundle)
    check_output(bundle, force=True)
    assert load_bundle(bundle).sha256 == before and names(tmp_path / "kept") == ["tiny.mmcaf"]


@posix
def test_what_was_put_aside_replaces_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "old").write_text("old")
    put_aside(tmp_path / "old")
    (tmp_path / "old").write_text("of somebody")
    with caplog.at_level(logging.WARNING):
        sweep(tmp_path)
    assert (tmp_path / "old").read_text() == "of somebody"
    (aside,) = [path for path in tmp_path.iterdir() if path.name != "old"]
    assert (aside / "old").read_text() == "old" and str(aside / "old") in caplog.text


def through_scratch(folder: Path) -> None:
    with scratch_beside(Output("output", folder / "new", "whole")):
        pass


def through_write_all(folder: Path) -> None:
    write_all([(Output("output", folder / "new"), "text")])
    (folder / "new").unlink()


@posix
@pytest.mark.parametrize("write", [through_scratch, through_write_all])
def test_the_next_run_sweeps_where_it_writes(tmp_path: Path, write: Callable[[Path], None]) -> None:
    staging_path(tmp_path).mkdir()
    staging_path(tmp_path).write_text("half")
    sweep_once.cache_clear()
    write(tmp_path)
    assert names(tmp_path) == []


@posix
def test_a_name_of_ours_that_is_a_link_or_of_another_user_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "precious").mkdir()
    staging_path(tmp_path).symlink_to(tmp_path / "precious")
    os.mkfifo(staging_path(tmp_path))
    sweep(tmp_path)
    assert len(names(tmp_path)) == 3
    staging_path(tmp_path).mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    sweep(tmp_path)
    assert len(names(tmp_path)) == 4


@posix
def test_where_there_are_no_locks_only_what_is_old_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(descriptor: int, how: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", no_locks)
    young, old = new_staging_folder(tmp_path), new_staging_folder(tmp_path)
    os.utime(old, (1000, 1000))
    StagedFile(tmp_path / "out").discard()
    sweep(tmp_path)
    assert names(tmp_path) == [young.name] and remove(young)


@posix
def test_what_another_process_sweeps_is_not_held(tmp_path: Path) -> None:
    import fcntl

    assert not hold(tmp_path / "absent")
    (tmp_path / "folder").mkdir()
    descriptor = os.open(tmp_path / "folder", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert not hold(tmp_path / "folder")
    os.close(descriptor)
    assert hold(tmp_path / "folder")
    let_go(tmp_path / "folder")


@posix
def test_nothing_stays_open(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0

    before = descriptors()
    for _ in range(5):
        StagedFile(tmp_path / "file").commit()
        StagedFile(tmp_path / "file").discard()
        remove(new_staging_folder(tmp_path))
        through_scratch(tmp_path)
        sweep(tmp_path)
    assert descriptors() == before
