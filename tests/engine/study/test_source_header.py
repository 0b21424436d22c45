"""What result objects take over from a header: as it was sent, in UTF-8, without what cannot be read."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
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


ODD: dict[str, tuple[str, str, str, Any]] = {
    "no sex of DICOM": ("PatientSex", "CS", "U", None),
    "a sex in words": ("PatientSex", "CS", "female", None),
    "a sex": ("PatientSex", "CS", "O", "O"),
    "no day": ("PatientBirthDate", "DA", "19501399", None),
    "no day of that month": ("StudyDate", "DA", "20260229", None),
    "a leap day": ("StudyDate", "DA", "20240229", "20240229"),
    "zeros": ("PatientBirthDate", "DA", "00000000", None),
    "a year": ("PatientBirthDate", "DA", "1950", None),
    "a day before DICOM": ("StudyDate", "DA", "2026.11.30", "20261130"),
    "no time": ("StudyTime", "TM", "256199", None),
    "a time before DICOM": ("StudyTime", "TM", "12:30:11", "123011"),
    "a fraction of a second": ("StudyTime", "TM", "123011.25", "123011.25"),
    "an age without a unit": ("PatientAge", "AS", "63", None),
    "a long number": ("PatientWeight", "DS", "70.1250000000000000001", 70.125),
    "no number": ("PatientSize", "DS", "inf", None),
    "a code in small letters": ("BodyPartExamined", "CS", "chest", None),
    "a long text": ("StudyDescription", "LO", "x" * 100, "x" * 64),
    "two sexes": ("PatientSex", "CS", "M\\F", None),
    "two names": ("PatientName", "PN", "A^B\\C^D", None),
    "a zone in letters": ("TimezoneOffsetFromUTC", "SH", "CET", None),
    "a zone with a colon": ("TimezoneOffsetFromUTC", "SH", "+01:00", None),
    "no zone on earth": ("TimezoneOffsetFromUTC", "SH", "+9900", None),
    "a zone": ("TimezoneOffsetFromUTC", "SH", "-0330", "-0330"),
    "another identifier is another's": ("AccessionNumber", "SH", "A" * 40, "A" * 40),
    "of patients too": ("PatientID", "LO", "P" * 80, "P" * 80),
}
"""Name -> element, its value representation, what was sent, and what is taken over; None is nothing."""


@pytest.mark.parametrize("case", ODD)
def test_no_object_is_made_of_values_that_dicom_does_not_allow(case: str) -> None:
    """PS3.5 table 6.2-1, PS3.3 C.7.1.1 and C.12.1."""
    keyword, representation, sent, expected = ODD[case]
    made, written, tag = images(), sent.encode(), Tag(keyword)
    for image in made:
        image._dict[tag] = RawDataElement(tag, representation, len(written), written, 0, False, True)
    assert header(made).get(keyword) == expected


@pytest.mark.parametrize(
    ("centre", "width", "kept"),
    [(40, 400, True), ([40, 50], [400, 80], True), (40, 0, False), ([40, 50], 400, False), (40, None, False)],
)
def test_a_window_of_grey_values_that_shows_nothing_is_none(centre: Any, width: Any, kept: bool) -> None:
    found = header(images(WindowCenter=centre) if width is None else images(WindowCenter=centre, WindowWidth=width))
    assert ("WindowCenter" in found, "WindowWidth" in found) == (kept, kept)


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
