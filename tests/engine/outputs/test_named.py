"""What a caller names to be written: never over what must stay, and all of it or none."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from mmcaf_engine.errors import UsageError
from mmcaf_engine.outputs import (
    Output,
    StagedFile,
    check_writable,
    commit_folder,
    scratch_folder,
    staged_file,
    within,
    write_all,
    write_file,
)
from obstacles import dangling_link, fifo, folder, link, link_to_folder, names, posix, unix_socket
from privileges import as_ordinary_user
from refusals import refused


def what_stands(path: Path) -> tuple[int, ...]:
    """What tells it from another that took its place; when it was read last, which a look changes, does not."""
    found = path.lstat()
    return found.st_mode, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


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
    before = what_stands(place / "out")
    output = Output("out", place / "out")
    with refused(UsageError, str(place / "out"), said, option="out"):
        check_writable([output], force=True)
    with refused(UsageError, str(place / "out"), said, option="out"):
        write_all([(output, "new")], force=True)
    with pytest.raises(FileExistsError, match=said):
        write_file(place / "out", "new")
    assert what_stands(place / "out") == before and names(place) == ["out"]
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


def test_a_file_does_not_take_the_place_of_one_within_a_folder(place: Path) -> None:
    """Whose names are known when they are written; nothing is, then."""
    files = [*within(Output("objects", place, kind="folder"), {"a.dcm": b"a"}), (Output("page", place / "a.dcm"), "b")]
    with refused(UsageError, "a.dcm", "twice", "objects", "page", option="page"):
        write_all(files, force=True)
    assert not any(place.iterdir())


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
