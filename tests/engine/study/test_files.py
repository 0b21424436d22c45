"""Files at a path: which are listed, which links are followed, and which zips are never unpacked."""

import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmcaf_engine.errors import StudyError
from mmcaf_engine.study import files
from mmcaf_engine.study.files import open_path


def listed(path: Path) -> tuple[str, dict[str, bytes], int]:
    """What kind of thing it is, each file with its bytes, and links that lead out of it."""
    with open_path(path) as found:
        assert all(source.size == len(source.open().read()) for source in found.sources)
        assert all(source.open_header().read() == source.open().read() for source in found.sources)
        return found.kind, {source.name: source.open().read() for source in found.sources}, found.skipped_links


def zipped(path: Path, members: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_one_file(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"pixels")
    assert listed(tmp_path / "a.dcm") == ("file", {"a.dcm": b"pixels"}, 0)


def test_a_directory_with_its_folders_in_order(tmp_path: Path) -> None:
    for name in ("b/2", "b/1", "a/4", "3"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    kind, found, _ = listed(tmp_path)
    assert (kind, list(found)) == ("directory", ["3", "4", "1", "2"])


def test_links_are_never_followed_and_those_that_lead_out_are_counted(tmp_path: Path) -> None:
    study = tmp_path / "study"
    (study / "inside").mkdir(parents=True)
    (study / "inside" / "a").write_bytes(b"a")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "b").write_bytes(b"b")
    (study / "to a").symlink_to("inside/a")
    (study / "to folder").symlink_to("inside")
    (study / "to b").symlink_to("../outside/b")
    (study / "to outside").symlink_to(tmp_path / "outside")
    (study / "to nothing").symlink_to("/nowhere/at/all")
    assert listed(study) == ("directory", {"a": b"a"}, 3)


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip(kind: int, tmp_path: Path) -> None:
    path = zipped(tmp_path / "study", {"patient/1.dcm": b"one", "patient/": b"", "p\\2.dcm": b"two"}, kind)
    assert listed(path) == ("zip", {"1.dcm": b"one", "2.dcm": b"two"}, 0)
    assert listed(zipped(tmp_path / "empty", {})) == ("zip", {}, 0)


def test_a_dicom_file_that_begins_like_a_zip_is_dicom(tmp_path: Path) -> None:
    data = b"PK\x03\x04".ljust(128, b"\0") + b"DICM" + b"the rest"
    (tmp_path / "a.dcm").write_bytes(data)
    assert listed(tmp_path / "a.dcm") == ("file", {"a.dcm": data}, 0)


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in {"MAX_FILES": 3, "MAX_MEMBER_BYTES": 4000, "MAX_UNPACKED_BYTES": 9000}.items():
        monkeypatch.setattr(files, name, value)
    monkeypatch.setattr(files, "RATIO_FROM_BYTES", 2000)
    monkeypatch.setattr(files, "MAX_RATIO", 10)
    yield


NOISE = bytes(range(256)) * 16
"""Of 4096 bytes; a stored zip is as large as its members."""


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize(
    ("members", "kind", "read"),
    [
        ([10, 10, 10], zipfile.ZIP_STORED, True),
        ([10, 10, 10, 10], zipfile.ZIP_STORED, False),
        ([4000], zipfile.ZIP_STORED, True),
        ([4001], zipfile.ZIP_STORED, False),
        ([3000, 3000, 3000], zipfile.ZIP_STORED, True),
        ([3000, 3000, 3001], zipfile.ZIP_STORED, False),
        ([2000], zipfile.ZIP_DEFLATED, True),
        ([4000], zipfile.ZIP_DEFLATED, False),
    ],
    ids=[
        "files",
        "a-file-more",
        "member",
        "a-byte-more",
        "all",
        "a-byte-more-of-all",
        "small-enough",
        "packed-too-well",
    ],
)
def test_limits_of_a_zip(members: list[int], kind: int, read: bool, tmp_path: Path) -> None:
    contents = {
        str(at): b"\0" * size if kind == zipfile.ZIP_DEFLATED else NOISE[:size] for at, size in enumerate(members)
    }
    path = zipped(tmp_path / "study.zip", contents, kind)
    if read:
        assert len(listed(path)[1]) == len(members)
    else:
        with pytest.raises(StudyError):
            listed(path)


@pytest.mark.usefixtures("small_limits")
def test_a_directory_of_too_many_files(tmp_path: Path) -> None:
    for at in range(3):
        (tmp_path / str(at)).touch()
    assert len(listed(tmp_path)[1]) == 3
    (tmp_path / "3").touch()
    with pytest.raises(StudyError):
        listed(tmp_path)


def test_an_encrypted_zip(tmp_path: Path) -> None:
    data = bytearray(zipped(tmp_path / "a.zip", {"1.dcm": b"one"}).read_bytes())
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        struct.pack_into("<H", data, data.index(signature) + at, 1)
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(StudyError):
        listed(tmp_path / "a.zip")


def test_nothing_and_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(StudyError):
        listed(tmp_path / "missing")
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(StudyError):
        listed(tmp_path / "broken.zip")
