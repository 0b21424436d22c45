"""Where studies come from besides C-STORE, and who is asked how many images they have."""

import json
import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmwrite
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from dicom_factory import ct_slice, hounsfield
from engine.service.test_intake import encoded
from engine.service.test_receiver import KEY, PLENTY, Reserve, rows
from mmcaf_engine.errors import ServiceError, StudyError
from mmcaf_engine.service.config import Config
from mmcaf_engine.service.counts import counter_for
from mmcaf_engine.service.folder import REFUSED, WatchedFolder
from mmcaf_engine.service.headers import CutOffError, identify, matches, read_header
from mmcaf_engine.service.receipt import Receipt
from mmcaf_engine.service.settling import AGAIN_S, PATIENCE_S, SETTLED_S

pynetdicom = pytest.importorskip("pynetdicom")
VALUES = hounsfield(1, 8, 8)[0]


class Watched:
    """A watched folder, with a clock that the test moves."""

    def __init__(self, folder: Path, taking: Receipt) -> None:
        self.folder, self.now = folder, 100.0
        self.watched = WatchedFolder(folder, taking, KEY, clock=lambda: self.now)

    def look(self, later_s: float = SETTLED_S) -> int:
        """Before and after so much time."""
        taken = self.watched.look()
        self.now += later_s
        return taken + self.watched.look()


def put(folder: Path, name: str, content: bytes) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    folder = tmp_path / "spool"
    folder.mkdir()
    return folder


@pytest.fixture
def watched(spool: Path, tmp_path: Path) -> Iterator[Watched]:
    with Receipt(spool, PLENTY) as taking:
        yield Watched(tmp_path / "in", taking)


def test_files_are_taken_when_they_are_whole(watched: Watched, spool: Path, tmp_path: Path) -> None:
    one = put(tmp_path / "in", "a/b/1.dcm", encoded(ct_slice(VALUES)))
    hidden = put(tmp_path / "in", ".3.dcm", encoded(ct_slice(VALUES, 2)))
    assert watched.look(SETTLED_S / 2) == 0
    whole = encoded(ct_slice(VALUES, 1))
    written = put(tmp_path / "in", "2.dcm", whole + b"\0" * 9)
    assert watched.look(SETTLED_S / 2) == 1 and not one.exists() and written.exists() and hidden.exists()
    assert [row["source"] for row in rows(spool)] == ["folder"]
    put(tmp_path / "in", "2.dcm", whole)
    assert watched.look(SETTLED_S - 0.1) == 0 and watched.look() == 1 and len(rows(spool)) == 2


@pytest.mark.parametrize("clock_s", [-9e6, 9e6], ids=["behind", "ahead"])
def test_the_clock_of_a_server_of_files_does_not_matter(clock_s: float, watched: Watched, tmp_path: Path) -> None:
    file = put(tmp_path / "in", "1.dcm", encoded(ct_slice(VALUES)))
    when = file.stat().st_mtime + clock_s
    os.utime(file, (when, when))
    assert watched.look(SETTLED_S - 0.1) == 0 and watched.look(0.2) == 1


def test_what_cannot_be_moved_is_said_once_and_ends_nothing(
    watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    put(tmp_path / "in", "notes.txt", b"no image")
    put(tmp_path / "in", "one.dcm", encoded(ct_slice(VALUES)))
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", broken)
        assert watched.look() == 0 and watched.look() == 0
        assert watched.look(AGAIN_S) == 0
    assert caplog.text.count("cannot be taken: Permission denied") == 2, "of each file once"
    put(tmp_path / "in", "two.dcm", encoded(ct_slice(VALUES, 1)))
    assert watched.look() == 1 and watched.look(AGAIN_S) == 1
    assert [file.name.partition("-")[2] for file in (tmp_path / "in" / REFUSED).iterdir()] == ["notes.txt"]


def nested(syntax: str) -> bytes:
    """An image with a sequence in a sequence, each ended by a delimiter or by its length, and an unknown element."""
    image = ct_slice(VALUES)
    inner, outer = Dataset(), Dataset()
    inner.CodeValue, inner.CodeMeaning = "1", "inner"
    inner.is_undefined_length_sequence_item = True
    outer.PurposeOfReferenceCodeSequence = [inner, Dataset()]
    outer["PurposeOfReferenceCodeSequence"].is_undefined_length = True
    image.ReferencedImageSequence = [outer]
    image.ReferencedImageSequence[0].is_undefined_length_sequence_item = True
    image["ReferencedImageSequence"].is_undefined_length = syntax != ImplicitVRLittleEndian
    image.add_new(0x00091001, "UN", b"\1\2\3\4")
    if syntax == RLELossless:
        image.compress(RLELossless)
    image.file_meta.TransferSyntaxUID = syntax
    stream = BytesIO()
    endian = {"little_endian": syntax != ExplicitVRBigEndian, "implicit_vr": syntax == ImplicitVRLittleEndian}
    dcmwrite(
        stream,
        image,
        enforce_file_format=True,
        **({} if syntax in (RLELossless, DeflatedExplicitVRLittleEndian) else endian),
    )
    return stream.getvalue()


@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless, DeflatedExplicitVRLittleEndian],
)
def test_a_file_is_whole_with_its_last_byte_and_not_before(syntax: str) -> None:
    whole = nested(syntax)
    for end in (b"", b"\0", b"\n"):
        if syntax != DeflatedExplicitVRLittleEndian or not end:
            assert identify(whole + end, "It", "CT", KEY).arrival.size == len(whole + end)
    for length in {*range(0, len(whole), 13), 128, 130, 131, 132, len(whole) - 1}:
        with pytest.raises(StudyError) as caught:
            identify(whole[:length], "It", "CT", KEY)
        assert isinstance(caught.value, CutOffError) or syntax == DeflatedExplicitVRLittleEndian


@pytest.mark.parametrize("left", [0, 100, 140, 700, -2000], ids=["nothing", "prefix", "group 2", "header", "pixels"])
def test_a_part_of_a_file_is_waited_for_and_never_kept(
    left: int, watched: Watched, spool: Path, tmp_path: Path
) -> None:
    whole = encoded(ct_slice(hounsfield(1, 64, 64)[0]))
    file = put(tmp_path / "in", "1.dcm", whole[:left])
    assert watched.look() == 0 and watched.look(PATIENCE_S - 2 * SETTLED_S) == 0 and file.exists()
    put(tmp_path / "in", "1.dcm", whole)
    assert watched.look() == 1 and len(rows(spool)) == 1
    put(tmp_path / "in", "2.dcm", whole[:left])
    assert watched.look(PATIENCE_S) == 0 and [file.name[-5:] for file in (tmp_path / "in" / REFUSED).iterdir()] == [
        "2.dcm"
    ]


def test_what_cannot_be_taken_is_moved_aside(watched: Watched, spool: Path, tmp_path: Path) -> None:
    put(tmp_path / "in", "notes.txt", b"no image")
    put(tmp_path / "in", "1.dcm", encoded(ct_slice(VALUES)))
    assert watched.look() == 1
    put(tmp_path / "in", "other.dcm", encoded(ct_slice(VALUES + 1)))
    (tmp_path / "in" / "link").symlink_to("/etc/hostname")
    assert watched.look() == 0
    names = sorted(file.name.partition("-")[2] for file in (tmp_path / "in" / REFUSED).iterdir())
    assert names == ["link", "notes.txt", "other.dcm"] and watched.look() == 0
    assert Path("/etc/hostname").exists() and len(rows(spool)) == 1


def test_a_full_disk_leaves_the_file_where_it_is(spool: Path, tmp_path: Path) -> None:
    with Receipt(spool, Reserve(2**60, 0)) as taking:
        file = put(tmp_path / "in", "1.dcm", encoded(ct_slice(VALUES)))
        assert Watched(tmp_path / "in", taking).look() == 0 and file.exists()


# What a file says


@pytest.mark.parametrize("cut", [0, 100, 131, 140, 200, 330])
def test_what_is_no_dicom_file_is_refused(cut: int) -> None:
    with pytest.raises(StudyError):
        identify(encoded(ct_slice(VALUES))[:cut], "image", "CT1", KEY)


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_an_image_without_a_uid_is_refused(keyword: str) -> None:
    image = ct_slice(VALUES)
    setattr(image, keyword, "")
    image.file_meta.MediaStorageSOPInstanceUID = "1.2"
    with pytest.raises(StudyError, match=keyword):
        identify(encoded(image), "image", "CT1", KEY)


@pytest.mark.parametrize(
    ("patterns", "fits"),
    [
        ({}, True),
        ({"Modality": "CT"}, True),
        ({"Modality": "ct"}, True),
        ({"Modality": "C"}, False),
        ({"SeriesDescription": "*hes*", "Modality": "?T"}, True),
        ({"SeriesDescription": "*hes*", "Modality": "MR"}, False),
        ({"ImageType": "AXIAL"}, True),
        ({"StudyDescription": "?*"}, False),
        ({"StudyDescription": ""}, True),
    ],
)
def test_patterns_of_routes(patterns: dict[str, str], fits: bool) -> None:
    header, _ = read_header(encoded(ct_slice(VALUES, StudyDescription="")), "image", patterns)
    assert matches(header, patterns) == fits


# How many images a study has


def config(**archive: Any) -> Config:
    fields = {"spool": ".", "bundle": [{"name": "lung", "path": "x"}]}
    if archive:
        fields |= {"destination": [{"name": "pacs", **archive}], "completeness": {"count_from": "pacs"}}
    return Config.model_validate(fields)


def test_nobody_knows_where_no_archive_is_named() -> None:
    assert counter_for(config())("1.2.3") is None


def test_an_archive_is_asked_by_c_find() -> None:
    asked: list[str] = []

    def find(event: Any) -> Iterator[Any]:
        asked.append(str(event.identifier.StudyInstanceUID))
        answer = event.identifier
        answer.NumberOfStudyRelatedInstances = "12" if asked[-1] == "1.2.3" else None
        yield 0xFF00, answer

    entity = pynetdicom.AE("PACS")
    entity.add_supported_context("1.2.840.10008.5.1.4.1.2.2.1")
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(pynetdicom.evt.EVT_C_FIND, find)])
    try:
        port = server.socket.getsockname()[1]
        count = counter_for(config(kind="dicom", ae_title="PACS", host="127.0.0.1", port=port))
        assert (count("1.2.3"), count("1.2.4")) == (12, None) and asked == ["1.2.3", "1.2.4"]
    finally:
        server.shutdown()
    with pytest.raises(ServiceError, match="pacs"):
        count("1.2.3")


@pytest.mark.parametrize(
    ("status", "answer", "expected"),
    [
        (200, json.dumps([{"00201208": {"vr": "IS", "Value": [12]}}]), 12),
        (200, "[]", None),
        (204, "", None),
        (200, '{"a": 1}', None),
        (200, "<html>", ServiceError),
        (500, "", ServiceError),
    ],
)
def test_an_archive_is_asked_by_qido(status: int, answer: str, expected: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmcaf_engine.service import counts

    asked: list[str] = []

    class Caller:
        def __init__(self, _: object) -> None:
            pass

        def get(self, path: str) -> tuple[int, str]:
            asked.append(path)
            return status, answer

    monkeypatch.setattr(counts, "Caller", Caller)
    count = counter_for(config(kind="dicomweb", url="http://127.0.0.1:1"))
    if expected is ServiceError:
        with pytest.raises(ServiceError, match="pacs"):
            count("1.2.3")
    else:
        assert count("1.2.3") == expected and "StudyInstanceUID=1.2.3" in asked[0]
