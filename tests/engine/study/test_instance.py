"""Whether a file is DICOM, and where its pixels lie."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicom_factory import change, ct_series, ct_slice, hounsfield, save, write
from mmcaf_engine.errors import StudyError
from mmcaf_engine.study import read_study
from mmcaf_engine.study.dicom import instance
from mmcaf_engine.study.dicom.instance import Instance, read_instance
from mmcaf_engine.study.files import file_source
from refusals import refused

VALUES = hounsfield(1, 20, 30)[0]


def bare(path: Path, *, implicit: bool, little: bool = True, **elements: Any) -> Path:
    """A data set without preamble and file meta."""
    image = change(ct_slice(VALUES), **elements)
    if not little:
        image.PixelData = np.frombuffer(image.PixelData, "<u2").astype(">u2").tobytes()
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = implicit, little
    write_dataset(stream, Dataset(image))
    path.write_bytes(stream.getvalue())
    return path


def parsed(path: Path) -> Instance | None:
    return read_instance(file_source(path), {})


def pixels(found: Instance) -> bytes:
    assert found.pixels is not None
    with found.open_pixels() as stream:
        return stream.read(found.pixels.length)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_pixels_lie_where_the_header_ends(syntax: str, tmp_path: Path) -> None:
    image = ct_slice(VALUES)
    image.file_meta.TransferSyntaxUID = syntax
    found = parsed(write(image, tmp_path / "image"))
    assert found is not None and found.syntax == syntax and not found.legacy
    assert found.tags.text("Modality") == "CT"
    assert found.pixels is not None and found.pixels.length == found.pixels.available == VALUES.size * 2
    assert np.array_equal(np.frombuffer(pixels(found), "<u2").reshape(VALUES.shape), VALUES + 1024)


@pytest.mark.parametrize("implicit", [True, False])
def test_a_data_set_alone_of_a_known_kind_is_dicom(implicit: bool, tmp_path: Path) -> None:
    found = parsed(bare(tmp_path / "image", implicit=implicit))
    assert found is not None and found.legacy
    assert np.array_equal(np.frombuffer(pixels(found), "<u2").reshape(VALUES.shape), VALUES + 1024)


def test_one_in_big_endian_is_read(tmp_path: Path) -> None:
    found = parsed(bare(tmp_path / "image", implicit=False, little=False))
    assert found is not None and found.legacy and found.syntax == ExplicitVRBigEndian
    assert np.array_equal(np.frombuffer(pixels(found), ">u2").reshape(VALUES.shape), VALUES + 1024)
    study = read_study(tmp_path)
    assert np.array_equal(study.volume.values[0], VALUES)
    assert any("Explicit VR Big Endian" in warning for warning in study.warnings)


def test_one_in_implicit_big_endian_is_named(tmp_path: Path) -> None:
    with refused(StudyError, "image", "big endian", "DICOM"):
        parsed(bare(tmp_path / "image", implicit=True, little=False))


@pytest.mark.parametrize("little", [True, False], ids=["little", "big"])
@pytest.mark.parametrize("recognition", ["ACR-NEMA 1.0", "ACR-NEMA 2.0"])
def test_one_of_before_dicom_is_named(recognition: str, little: bool, tmp_path: Path) -> None:
    path = bare(tmp_path / "image", implicit=True, little=little, SOPClassUID=None, RecognitionCode=recognition)
    with refused(StudyError, "image", recognition, "DICOM"):
        parsed(path)
    beside = save(ct_series(hounsfield(3)), tmp_path / "study")
    (beside / "other").write_bytes(path.read_bytes())
    with refused(StudyError, "other", recognition):
        read_study(beside)


@pytest.mark.parametrize("kind", ["1.2.3.4", "1.2.840.10008.1.2", None], ids=["private", "a-transfer-syntax", "none"])
@pytest.mark.parametrize("implicit", [True, False])
def test_one_of_an_unknown_kind_is_not(implicit: bool, kind: str | None, tmp_path: Path) -> None:
    path = bare(tmp_path / "image", implicit=implicit, SOPClassUID=ct_slice(VALUES).SOPClassUID)
    data = path.read_bytes()
    known = str(ct_slice(VALUES).SOPClassUID).encode()
    path.write_bytes(data.replace(known, (kind or "").encode().ljust(len(known), b"\0")))
    assert parsed(path) is None


@pytest.mark.parametrize("data", [b"", b"\x08\x00", b"\x08\x00" + bytes(500), b"DICN" * 100, bytes(131) + b"DICM"])
def test_what_is_no_dicom_file(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(data)
    assert parsed(tmp_path / "file") is None


def test_without_a_transfer_syntax_its_encoding_is_unknown(tmp_path: Path) -> None:
    path = write(ct_slice(VALUES), tmp_path / "image")
    path.write_bytes(path.read_bytes().replace(b"\x02\x00\x10\x00UI", b"\x02\x00\x11\x00UI"))
    with pytest.raises(StudyError, match="TransferSyntaxUID"):
        parsed(path)


def test_deflated_bytes_are_inflated_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = ct_slice(VALUES)
    image.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = write(image, tmp_path / "image")
    plain = write(ct_slice(VALUES), tmp_path / "plain").read_bytes()
    inflated = len(zlib.decompress(path.read_bytes()[_body(path.read_bytes()) :], -15))
    monkeypatch.setattr(instance, "MAX_INFLATED_BYTES", inflated)
    assert parsed(path) is not None and len(plain) > inflated
    monkeypatch.setattr(instance, "MAX_INFLATED_BYTES", inflated - 1)
    with pytest.raises(StudyError):
        parsed(path)


def _body(data: bytes) -> int:
    """Where the data set begins: after the file meta, whose length is its first element."""
    return 144 + int.from_bytes(data[140:144], "little")
