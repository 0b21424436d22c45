"""What result objects take over from a header: as it was sent, in UTF-8, without what cannot be read."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_factory import change, ct_series, enhanced_ct, hounsfield, save, write
from mmcaf_engine.image.opening import open_image
from mmcaf_engine.manifest import Manifest
from mmcaf_engine.study import read_study
from mmcaf_engine.study.dicom.source_header import KEYWORDS, MAX_BYTES
from mmcaf_engine.volume import SourceHeader
from tiny_image import radiograph, tiny_image_manifest

VALUES = hounsfield(3, 8, 8)
REQUEST = {"AccessionNumber": "A-7", "RequestedProcedureID": "P-7"}
SAID: dict[str, Any] = {
    "PatientName": "Quixano^Alonso",
    "PatientID": "Q-1",
    "PatientBirthDate": "19370823",
    "StudyDate": "20261130",
    "StudyTime": "090848.25",
    "StudyID": "7",
    "AccessionNumber": "A-7",
    "ReferringPhysicianName": "Cervantes^Miguel^^Dr",
    "StudyDescription": "CT chest",
    "SeriesNumber": 4,
    "Manufacturer": "Nobody",
    "SoftwareVersions": ["1", "2"],
    "DeviceSerialNumber": "S-1",
    "InstitutionName": "Synthetic",
}


def images(**more: Any) -> list[Any]:
    made = ct_series(VALUES, **{**SAID, **more})
    for image in made:
        item = Dataset()
        change(item, **REQUEST)
        image.RequestAttributesSequence = Sequence([item])
    return made


def header(study: Any) -> Dataset:
    found = read_study(study).header
    assert isinstance(found, SourceHeader)
    return found.dataset()


def check(found: Dataset) -> None:
    for keyword, value in SAID.items():
        assert found[keyword].value == value, keyword
    (request,) = found.RequestAttributesSequence
    assert {keyword: request[keyword].value for keyword in REQUEST} == REQUEST
    assert found.SpecificCharacterSet == "ISO_IR 192" and "PixelData" not in found


@pytest.mark.parametrize("form", ["explicit", "implicit", "deflated", "memory", "frames"])
def test_what_was_sent_is_taken_over(form: str, tmp_path: Path) -> None:
    made = images()
    if form == "frames":
        made = [enhanced_ct(VALUES, **SAID)]
        item = Dataset()
        change(item, **REQUEST)
        made[0].RequestAttributesSequence = Sequence([item])
    for image in made:
        if form == "implicit":
            image.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        if form == "deflated":
            image.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    found = header(made if form == "memory" else save(made, tmp_path / "study"))
    check(found)
    assert found.SOPInstanceUID == made[0].SOPInstanceUID and found.Rows == 8


def test_it_is_of_the_first_slice_and_nobody_changes_it(tmp_path: Path) -> None:
    made = images()
    whole = read_study(save(made[::-1], tmp_path / "study")).header
    assert whole is not None
    first = whole.dataset()
    assert first.SOPInstanceUID == made[0].SOPInstanceUID
    first.PatientName = "Another"
    check(whole.dataset())
    check(pickle.loads(pickle.dumps(whole)).dataset())
    assert "uixano" not in repr(whole) and "Q-1" not in repr(read_study(save(made, tmp_path / "again")))


@pytest.mark.parametrize("encoding", ["ISO_IR 100", "ISO_IR 192", "ISO_IR 144"])
def test_texts_come_in_utf_8_whatever_they_were_in(encoding: str, tmp_path: Path) -> None:
    name = "Дон^Кихот" if encoding == "ISO_IR 144" else "Müller^Jürgen"
    made = images(SpecificCharacterSet=encoding, PatientName=name, StudyDescription=name)
    for image in made:
        image.RequestAttributesSequence[0].RequestedProcedureDescription = name
    found = header(save(made, tmp_path / "study"))
    assert str(found.PatientName) == name and found.StudyDescription == name
    assert found.RequestAttributesSequence[0].RequestedProcedureDescription == name


def test_what_cannot_be_read_is_left_out_and_refuses_nothing(tmp_path: Path) -> None:
    """A number that is none, and a text of a length that no such element has."""
    folder = save(images(StudyDescription="x" * (MAX_BYTES + 2), PatientSize="1.75"), tmp_path / "study")
    for file in folder.iterdir():
        file.write_bytes(file.read_bytes().replace(b"1.75", b"1,7m"))
    found = header(folder)
    assert "StudyDescription" not in found and "PatientSize" not in found
    assert found.PatientID == "Q-1"


def test_nothing_else_is_taken_over(tmp_path: Path) -> None:
    found = header(save(images(PatientComments="secret", OperatorsName="Sancho"), tmp_path / "study"))
    assert {element.keyword for element in found} <= {*KEYWORDS, "SpecificCharacterSet"}
    assert "PatientComments" not in found and "OperatorsName" not in found


def test_of_a_radiograph_too(tmp_path: Path) -> None:
    path = write(radiograph(**{**SAID, "ViewPosition": "PA"}), tmp_path / "image.dcm")
    spec = Manifest.model_validate(
        {
            **tiny_image_manifest(),
            "files": {name: {"sha256": "0" * 64, "size": 1} for name in ("model.onnx", "golden.npz")},
        }
    ).image
    assert spec is not None
    with open_image(path, spec) as opened:
        facts = opened.read()[1]
    assert facts.header is not None and facts.header.dataset().PatientID == "Q-1"
    assert facts.header.dataset().ViewPosition == "PA"
