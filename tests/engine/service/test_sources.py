"""Where studies come from besides C-STORE, and who is asked how many images they have."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dicom_factory import ct_slice, hounsfield
from engine.service.test_intake import encoded
from engine.service.test_receiver import KEY, PLENTY, Reserve, rows
from mmcaf_engine.errors import ServiceError, StudyError
from mmcaf_engine.service.config import Config
from mmcaf_engine.service.counts import counter_for
from mmcaf_engine.service.folder import REFUSED, SETTLED_S, WatchedFolder
from mmcaf_engine.service.headers import identify, matches, read_header
from mmcaf_engine.service.receipt import Receipt

pynetdicom = pytest.importorskip("pynetdicom")
VALUES = hounsfield(1, 8, 8)[0]


def put(folder: Path, name: str, content: bytes, *, age_s: float = SETTLED_S + 1) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    when = file.stat().st_mtime - age_s
    os.utime(file, (when, when))
    return file


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    folder = tmp_path / "spool"
    folder.mkdir()
    return folder


@pytest.fixture
def watched(spool: Path, tmp_path: Path) -> Iterator[WatchedFolder]:
    with Receipt(spool, PLENTY) as taking:
        yield WatchedFolder(tmp_path / "in", taking, KEY)


def test_files_are_taken_when_they_are_whole(watched: WatchedFolder, spool: Path, tmp_path: Path) -> None:
    one = put(tmp_path / "in", "a/b/1.dcm", encoded(ct_slice(VALUES)))
    written = put(tmp_path / "in", "2.dcm", encoded(ct_slice(VALUES, 1)), age_s=0)
    hidden = put(tmp_path / "in", ".3.dcm", encoded(ct_slice(VALUES, 2)))
    assert watched.look() == 1 and not one.exists() and written.exists() and hidden.exists()
    assert [row["source"] for row in rows(spool)] == ["folder"]


def test_what_cannot_be_taken_is_moved_aside(watched: WatchedFolder, spool: Path, tmp_path: Path) -> None:
    put(tmp_path / "in", "notes.txt", b"no image")
    put(tmp_path / "in", "1.dcm", encoded(ct_slice(VALUES)))
    assert watched.look() == 1
    put(tmp_path / "in", "other.dcm", encoded(ct_slice(VALUES + 1)))
    (tmp_path / "in" / "link").symlink_to("/etc/hostname")
    os.utime(tmp_path / "in" / "link", (1, 1), follow_symlinks=False)
    assert watched.look() == 0
    names = sorted(file.name.partition("-")[2] for file in (tmp_path / "in" / REFUSED).iterdir())
    assert names == ["link", "notes.txt", "other.dcm"] and watched.look() == 0
    assert Path("/etc/hostname").exists() and len(rows(spool)) == 1


def test_a_full_disk_leaves_the_file_where_it_is(spool: Path, tmp_path: Path) -> None:
    with Receipt(spool, Reserve(2**60, 0)) as taking:
        file = put(tmp_path / "in", "1.dcm", encoded(ct_slice(VALUES)))
        assert WatchedFolder(tmp_path / "in", taking, KEY).look() == 0 and file.exists()


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
