"""What somebody named to be read and is no file: refused at once, or waited for within the caller's limits."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mmcaf_engine import load_bundle, read_study
from mmcaf_engine.cancel import limited
from mmcaf_engine.errors import (
    BundleError,
    DeadlineError,
    ExportError,
    MmcafError,
    RecordError,
    StudyError,
    UsageError,
)
from mmcaf_engine.evaluation.cohort_table import read_cohort
from mmcaf_engine.files import look_at, read_bounded, read_stream, require_file, shown_path, unreadable
from mmcaf_engine.profile.baseline import read_baseline
from mmcaf_engine.profile.subject import given_study
from mmcaf_engine.record.record import read_record
from mmcaf_engine.record.report import read_report
from refusals import refused
from tiny_bundle import make_tiny_bundle

posix = pytest.mark.skipif(os.name != "posix", reason="FIFOs of POSIX")


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "fifo.dcm")
    return tmp_path / "fifo.dcm"


WAITED_FOR: dict[str, Callable[[Path, Path], object]] = {
    "record": lambda fifo, bundle: read_record(fifo, load_bundle(bundle).manifest.table),
    "report": lambda fifo, bundle: read_report(fifo),
    "cohort": lambda fifo, bundle: read_cohort(fifo, load_bundle(bundle).manifest),
    "baseline": lambda fifo, bundle: read_baseline(fifo, runs=1),
}


@posix
@pytest.mark.parametrize("what", WAITED_FOR)
def test_a_fifo_that_is_read_ends_with_the_deadline(what: str, fifo: Path, tiny_bundle: Path) -> None:
    with pytest.raises(DeadlineError), limited(deadline=0.1):
        WAITED_FOR[what](fifo, tiny_bundle)


def _manifest(fifo: Path, bundle: Path) -> object:
    (bundle / "manifest.json").unlink()
    fifo.rename(bundle / "manifest.json")
    return load_bundle(bundle)


def _model(fifo: Path, bundle: Path) -> object:
    (bundle / "model.onnx").unlink()
    fifo.rename(bundle / "model.onnx")
    return load_bundle(bundle)


def _after_loading(fifo: Path, bundle: Path) -> object:
    loaded = load_bundle(bundle)
    (bundle / "model.onnx").unlink()
    fifo.rename(bundle / "model.onnx")
    return loaded.read("model.onnx", 10**9)


def _checkpoint(fifo: Path, bundle: Path) -> object:
    pytest.importorskip("torch")
    from mmcaf_export.checkpoint import load_checkpoint

    return load_checkpoint(fifo)


def _row(fifo: Path, bundle: Path) -> object:
    (fifo.parent / "study").mkdir()
    (fifo.parent / "cohort.csv").write_text(f"study,record\nstudy,{fifo.name}\n")
    return read_cohort(fifo.parent / "cohort.csv", load_bundle(bundle).manifest)


REFUSED: dict[str, tuple[type[MmcafError], Callable[[Path, Path], object]]] = {
    "study": (StudyError, lambda fifo, bundle: read_study(fifo)),
    "folder of a study": (StudyError, lambda fifo, bundle: read_study(fifo.parent)),
    "bundle": (BundleError, lambda fifo, bundle: load_bundle(fifo)),
    "manifest": (BundleError, _manifest),
    "model": (BundleError, _model),
    "model, after loading": (BundleError, _after_loading),
    "checkpoint": (ExportError, _checkpoint),
    "record of a cohort": (UsageError, _row),
    "record of a profile": (RecordError, lambda fifo, bundle: given_study(load_bundle(bundle), fifo.parent, fifo)),
}


@posix
@pytest.mark.parametrize("what", REFUSED)
def test_a_fifo_is_refused_where_a_file_is_needed(
    what: str, fifo: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    error, read = REFUSED[what]
    bundle = make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny.mmcaf")
    with pytest.raises(error), limited(deadline=20):
        read(fifo, bundle)


@posix
def test_what_a_stream_holds(tmp_path: Path) -> None:
    source, target = os.pipe()
    os.write(target, b"12345")
    assert read_stream(source, 3) == b"1234"
    os.close(target)
    assert read_stream(source, 3) == b"5"
    os.close(source)
    assert read_bounded(Path("/dev/zero"), error=UsageError, max_bytes=3, streams=True) == b"\0" * 4
    with refused(UsageError, "/dev/zero", "device"):
        read_bounded(Path("/dev/zero"), error=UsageError, max_bytes=3)


UNREADABLE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "absent": (lambda folder: folder / "absent", "no such file"),
    "long": (lambda folder: folder / ("x" * 300), "File name too long"),
    "below a file": (lambda folder: folder / "file" / "below", "Not a directory"),
    "a circle of links": (lambda folder: folder / "circle", "Too many levels of symbolic links"),
    "a zero byte": (lambda folder: folder / "zero\0byte", "not a path that a file can have"),
    "a directory": (lambda folder: folder, "directory"),
}


@posix
@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_cannot_be_read(kind: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    made, said = UNREADABLE[kind]
    for error in (RecordError, BundleError):
        with refused(error, said) as caught:
            read_bounded(made(tmp_path), error=error, max_bytes=9)
        assert str(caught.value).isprintable() and caught.value.remedies and len(str(caught.value)) < 400
        with refused(error, said):
            require_file(made(tmp_path), error=error)
        if kind not in ("absent", "a directory"):
            with refused(error, said):
                look_at(made(tmp_path), error)


@pytest.mark.parametrize(("size", "read"), [(0, 0), (3, 3), (4, 4), (5, 5), (6, 5), (5000, 5)])
def test_a_byte_more_than_is_read_tells_that_there_is_more(size: int, read: int, tmp_path: Path) -> None:
    data = bytes(at % 251 for at in range(size))
    (tmp_path / "file").write_bytes(data)
    assert read_bounded(tmp_path / "file", error=UsageError, max_bytes=4) == data[:read]


def test_a_failure_names_the_file_that_it_is_of() -> None:
    named = unreadable("folder", FileNotFoundError(2, "No such file", "folder/within"), UsageError)
    assert str(named).startswith("folder/within: ")
    spelled = unreadable("folder", PermissionError(13, "Permission denied", b"folder/bytes"), UsageError)
    assert str(spelled).startswith("folder/bytes: ")
    assert str(unreadable("folder", OSError("no more"), UsageError)).startswith("folder: ")


def test_a_path_is_shown_short_and_on_one_line() -> None:
    assert shown_path("a/b c") == "a/b c"
    shown = shown_path("a\n\x1b[31m" + "x" * 5000)
    assert shown.isprintable() and len(shown) < 200


@posix
def test_what_comes_after_the_last_byte_that_is_read_is_noticed() -> None:
    source, target = os.pipe()

    def write() -> None:
        os.write(target, b"123")
        time.sleep(0.1)
        os.write(target, b"45")
        os.close(target)

    writer = threading.Thread(target=write)
    writer.start()
    assert read_stream(source, 3) == b"1234"
    writer.join()
    os.close(source)
