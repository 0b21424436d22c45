"""What is written: whole or not at all, under a name that nobody guesses, and never over what must stay."""

import ctypes
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from errno import EINVAL, ENOSYS, EOPNOTSUPP
from pathlib import Path

import pytest

from mmcaf_engine.errors import UsageError
from mmcaf_engine.outputs import (
    Output,
    StagedFile,
    check_writable,
    commit_folder,
    is_staging,
    new_staging_folder,
    remove,
    scratch_folder,
    staged_file,
    staged_folder,
    write_all,
    write_file,
)
from mmcaf_engine.outputs.exchange import exchange
from privileges import as_ordinary_user
from refusals import refused

posix = pytest.mark.skipif(os.name != "posix", reason="links, FIFOs and rights of POSIX")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# One file


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


# What stands in the way


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def fifo(path: Path) -> None:
    os.mkfifo(path)


def link(path: Path) -> None:
    (path.parent.parent / "elsewhere").write_text("precious")
    path.symlink_to(path.parent.parent / "elsewhere")


def dangling_link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "elsewhere")


def link_to_folder(path: Path) -> None:
    (path.parent.parent / "elsewhere").mkdir()
    path.symlink_to(path.parent.parent / "elsewhere")


def unix_socket(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # A socket's path may have 100 bytes only.
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(before)


def folder(path: Path) -> None:
    path.mkdir()


@posix
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (fifo, "FIFO"), (link, "link"), (dangling_link, "link"), (link_to_folder, "link"),
        (unix_socket, "socket"), (folder, "directory"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)  # fmt: skip
def test_only_a_file_is_replaced(place: Path, make: Callable[[Path], None], said: str) -> None:
    make(place / "out")
    before = (place / "out").lstat()
    output = Output("out", place / "out")
    with refused(UsageError, str(place / "out"), said, option="out"):
        check_writable([output], force=True)
    with refused(UsageError, str(place / "out"), said, option="out"):
        write_all([(output, "new")], force=True)
    with pytest.raises(FileExistsError, match=said):
        write_file(place / "out", "new")
    assert (place / "out").lstat() == before and names(place) == ["out"]
    elsewhere = place.parent / "elsewhere"
    assert not elsewhere.is_file() or elsewhere.read_text() == "precious"


@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFBLK])
def test_a_device_is_never_replaced(place: Path, monkeypatch: pytest.MonkeyPatch, kind: int) -> None:
    """Not a real one: the file's type is all that is looked at."""
    (place / "out").write_text("a device")
    found = os.stat_result((kind | 0o666, *(place / "out").lstat()[1:]))
    for module in ("named", "staged"):
        monkeypatch.setattr(f"mmcaf_engine.outputs.{module}.found_at", lambda path: found)
    with refused(UsageError, str(place / "out"), "device", option="out"):
        check_writable([Output("out", place / "out")], force=True)
    with pytest.raises(FileExistsError, match="device"):
        write_file(place / "out", "new")
    with scratch_folder(place) as made, pytest.raises(FileExistsError, match="device"):
        commit_folder(made, place / "out", replace=True)
    assert (place / "out").read_text() == "a device" and names(place) == ["out"]


@posix
def test_what_comes_to_stand_there_during_the_work_stays(place: Path) -> None:
    with pytest.raises(FileExistsError, match="FIFO"), staged_file(place / "out") as stream:
        stream.write(b"new")
        fifo(place / "out")
    assert stat.S_ISFIFO((place / "out").lstat().st_mode) and names(place) == ["out"]


def test_a_file_that_appears_during_the_work_stays_without_force(place: Path) -> None:
    output = Output("out", place / "out")
    check_writable([output])
    (place / "out").write_text("of another program")
    with refused(UsageError, str(place / "out"), option="force"):
        write_all([(output, "new")])
    staged = StagedFile(place / "other", replace=False)
    (place / "other").write_text("of another program")
    with pytest.raises(FileExistsError, match="file"):
        staged.commit()
    staged.discard()
    assert {path.read_text() for path in place.iterdir()} == {"of another program"}


# What a caller names


def test_the_check_touches_nothing(place: Path) -> None:
    (place / "old").write_text("old")
    before = (place / "old").stat()
    check_writable([Output("out", place / "old"), Output("html", place / "new")], force=True)
    assert (place / "old").stat() == before and names(place) == ["old"]


def test_an_existing_file_needs_force(place: Path) -> None:
    (place / "old").write_text("old")
    with refused(UsageError, str(place / "old"), option="force") as caught:
        check_writable([Output("out", place / "old")])
    assert [remedy.option for remedy in caught.value.remedies] == ["force"]
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("kind", ["folder", "whole"])
def test_a_folder_needs_force_if_it_is_not_empty(place: Path, kind: str) -> None:
    (place / "out").mkdir()
    output = Output("save", place / "out", kind, own=lambda folder: {"file"})  # type: ignore[arg-type]
    check_writable([output])
    (place / "out" / "file").write_text("old")
    with refused(UsageError, str(place / "out"), option="force"):
        check_writable([output])
    check_writable([output], force=True)
    assert names(place / "out") == ["file"]


def test_only_a_folder_of_its_kind_is_replaced_as_a_whole(place: Path) -> None:
    own: list[set[str] | None] = [None]
    output = Output("output", place / "out", "whole", "manifest.json", lambda folder: own[0])
    check_writable([output])
    (place / "out").mkdir()
    check_writable([output])
    (place / "out" / "within").mkdir()
    (place / "out" / "within" / "thesis.tex").write_text("precious")
    with refused(UsageError, str(place / "out"), "manifest.json", option="output"):
        check_writable([output], force=True)
    own[0] = {"thesis.tex"}
    for plain in (output, Output("output", place / "out", "whole")):
        with refused(UsageError, str(place / "out"), "thesis.tex", option="output"):
            check_writable([plain], force=True)
    own[0] = {"within/thesis.tex"}
    check_writable([output], force=True)
    (place / "out" / "link").symlink_to(place)
    with refused(UsageError, str(place / "out"), "link", option="output"):
        check_writable([output], force=True)


def the_same(study: Path) -> Path:
    return study / "1.dcm"


def other_spelling(study: Path) -> Path:
    return study / ".." / study.name / "1.dcm"


def hard_link(study: Path) -> Path:
    os.link(study / "1.dcm", study.parent / "hard")
    return study.parent / "hard"


@pytest.mark.parametrize("spelled", [the_same, other_spelling, hard_link])
@pytest.mark.parametrize("by_link", [False, True], ids=["plain", "read-by-a-link"])
def test_an_input_is_never_replaced(place: Path, spelled: Callable[[Path], Path], by_link: bool) -> None:
    study = place / "study"
    study.mkdir()
    (study / "1.dcm").write_bytes(b"slice")
    named = study / "1.dcm"
    if by_link:
        (place / "link").symlink_to(named)
        named = place / "link"
    with refused(UsageError, "input", option="out"):
        check_writable([Output("out", spelled(study))], inputs=[None, "absent", named], force=True)
    assert (study / "1.dcm").read_bytes() == b"slice"


def test_what_lies_in_an_input_folder_is_never_replaced_and_nothing_is_added(place: Path) -> None:
    (place / "1.dcm").write_bytes(b"slice")
    with refused(UsageError, str(place / "1.dcm"), "input", option="out"):
        check_writable([Output("out", place / "1.dcm")], inputs=[place], force=True)
    for option, name in (("out", "result.json"), ("output", "further/new.mmcaf")):
        (place / name).parent.mkdir(exist_ok=True)
        with refused(UsageError, str(place / name), "input", option=option):
            check_writable([Output(option, place / name)], inputs=[place], force=True)
    check_writable([Output("out", place.parent / "result.json")], inputs=[place])


def test_a_folder_that_holds_an_input_is_never_replaced(place: Path) -> None:
    (place / "checkpoint.pth").write_bytes(b"weights")
    with refused(UsageError, str(place), "input", "checkpoint.pth", option="output"):
        output = Output("output", place, "whole", own=lambda folder: {"checkpoint.pth"})
        check_writable([output], inputs=[place / "checkpoint.pth"], force=True)
    check_writable([Output("save", place, "folder")], inputs=[place / "checkpoint.pth"], force=True)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("absent/file", "No such file or directory"),
        ("file/below", "Not a directory"),
        ("n" * 300, "File name too long"),
        ("zero\0byte", "zero byte"),
        (".", "directory"),
    ],
    ids=["missing-folder", "below-a-file", "too-long", "zero-byte", "here"],
)
@posix
def test_paths_that_cannot_be_written(place: Path, monkeypatch: pytest.MonkeyPatch, path: str, said: str) -> None:
    (place / "file").write_text("")
    monkeypatch.chdir(place)
    with refused(UsageError, said, option="out") as caught:
        check_writable([Output("out", Path(path))], force=True)
    assert "\0" not in str(caught.value) and caught.value.remedies[0].option == "out"


@posix
def test_a_folder_without_the_right_to_write(place: Path) -> None:
    place.chmod(0o500)
    with refused(UsageError, str(place / "file"), "Permission denied", option="out"):
        as_ordinary_user(lambda: check_writable([Output("out", place / "file")]))


@pytest.mark.parametrize("kind", ["folder", "whole"])
def test_folders_above_a_folder_may_be_missing(place: Path, kind: str) -> None:
    check_writable([Output("save", place / "a" / "b", kind)])  # type: ignore[arg-type]
    assert names(place) == []
    (place / "a").write_text("a file")
    with refused(UsageError, "Not a directory", option="save"):
        check_writable([Output("save", place / "a" / "b", kind)])  # type: ignore[arg-type]


def test_no_path_is_named_twice(place: Path) -> None:
    twice = [Output("json", place / "file"), Output("html", place / ".." / "place" / "file")]
    with refused(UsageError, "twice", "json", "html"):
        check_writable(twice)


def test_all_are_written_or_none(place: Path) -> None:
    (place / "first").write_text("old")
    outputs = [Output("out", place / "first"), Output("roc", place / "absent" / "second")]
    with refused(UsageError, str(place / "absent" / "second"), "No such file or directory", option="roc"):
        write_all([(output, "new") for output in outputs], force=True)
    assert (place / "first").read_text() == "old" and names(place) == ["first"]
    (place / "absent").mkdir()
    write_all([(outputs[0], "new"), (outputs[1], b"\x89PNG")], force=True)
    assert (place / "first").read_text() == "new" and (place / "absent" / "second").read_bytes() == b"\x89PNG"


def test_a_disk_that_fills_up_at_the_second_file_leaves_the_first_alone(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, files = os.fsync, iter(range(9))

    def second_fails(descriptor: int) -> None:
        if next(files) == 1:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    (place / "first").write_text("old")
    monkeypatch.setattr(os, "fsync", second_fails)
    with refused(UsageError, str(place / "second"), "No space left on device", option="roc"):
        write_all([(Output("out", place / "first"), "new"), (Output("roc", place / "second"), "new")], force=True)
    assert (place / "first").read_text() == "old" and names(place) == ["first"]


def test_a_file_that_appears_while_ours_is_written_stays_without_force(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def meanwhile(descriptor: int) -> None:
        sync(descriptor)
        (place / "out").write_text("of another program")

    monkeypatch.setattr(os, "fsync", meanwhile)
    with refused(UsageError, str(place / "out"), option="out"):
        write_all([(Output("out", place / "out"), "new")])
    assert (place / "out").read_text() == "of another program" and names(place) == ["out"]


# Folders


def fill(made: Path, text: str) -> None:
    (made / "sub").mkdir()
    (made / "sub" / "file").write_text(text)


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


@pytest.mark.parametrize("kind", ["whole", "file"])
def test_a_mount_point_is_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    output = Output("output", tmp_path / "mounted", kind)  # type: ignore[arg-type]
    (tmp_path / "mounted").mkdir() if kind == "whole" else (tmp_path / "mounted").touch()
    check_writable([output], force=True)
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path).name == "mounted")
    for force in (False, True):
        with refused(UsageError, str(output.path), "mount point"):
            check_writable([output], force=force)


def test_into_a_mounted_folder_files_are_put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == tmp_path)
    check_writable([Output("output", tmp_path, "folder")], force=True)


LISTED = """\
23 1 254:0 / / rw,relatime - ext4 /dev/root rw
41 23 254:0 /srv/answers {place} rw - ext4 /dev/root rw
42 23 0:33 / /proc rw - proc proc rw
"""


@posix
@pytest.mark.parametrize("mounted", ["bound here", "bound here/data"])
def test_what_is_bound_into_a_container_is_a_mount_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounted: str
) -> None:
    """Of the same file system, so that neither device nor number tells."""
    (tmp_path / mounted).mkdir(parents=True)
    listing = tmp_path / "mountinfo"
    listing.write_text(LISTED.format(place=str(tmp_path.resolve() / mounted).replace(" ", "\\040")))
    monkeypatch.setattr("mmcaf_engine.outputs.mounts._MOUNTS", listing)
    with refused(UsageError, str(tmp_path / mounted), "mount point"):
        check_writable([Output("output", tmp_path / "bound here", "whole")], force=True)
    check_writable([Output("output", tmp_path / "bound", "whole")], force=True)
    monkeypatch.setattr("mmcaf_engine.outputs.mounts._MOUNTS", tmp_path / "absent")
    check_writable([Output("output", tmp_path / "bound here", "whole")], force=True)
