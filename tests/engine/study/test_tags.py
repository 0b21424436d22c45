"""Elements of a header: what is absent, what is unreadable, and who minds."""

import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from mmcaf_engine.errors import StudyError
from mmcaf_engine.study.dicom.tags import Tags
from refusals import refused


def header() -> Tags:
    """Readable, empty and absent elements, and numbers that are none."""
    dataset = Dataset()
    dataset.Modality = " CT "
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.SeriesDescription = "Chest\nwith\x07contrast"
    dataset.ProtocolName = ""
    dataset.SeriesNumber = 7
    dataset.PatientWeight = 71.5
    for keyword in (0x00280010, 0x00101020):  # Rows of three bytes; PatientSize in words
        tag = Tag(keyword)
        held = RawDataElement(tag, "US" if keyword == 0x00280010 else "DS", 3, b"abc", 0, False, True)
        dataset[tag] = held
    return Tags(dataset, "study.dcm")


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("Modality", "CT"),
        ("ImageType", "ORIGINAL\\PRIMARY"),
        ("ProtocolName", "none"),
        ("BodyPartExamined", "none"),
        ("Rows", "none"),
    ],
    ids=["value", "values", "empty", "absent", "unreadable"],
)
def test_text_or(keyword: str, text: str) -> None:
    assert header().text_or(keyword, "none") == text


def test_labels_are_one_line_without_control_characters() -> None:
    assert header().label("SeriesDescription") == "Chest with contrast"
    assert header().label("BodyPartExamined") == header().label("Rows") == ""


def test_numbers_or_none() -> None:
    tags = header()
    assert (tags.whole_or_none("SeriesNumber"), tags.number_or_none("PatientWeight")) == (7, 71.5)
    assert tags.whole_or_none("PatientWeight") is tags.whole_or_none("Columns") is tags.whole_or_none("Rows") is None
    assert tags.number_or_none("PatientSize") is tags.number_or_none("SliceThickness") is None


@pytest.mark.parametrize("read", [Tags.text, Tags.whole], ids=["text", "whole"])
def test_what_must_be_readable_is_refused_by_its_tag(read: object) -> None:
    with refused(StudyError, "study.dcm", "(0028,0010) Rows") as caught:
        read(header(), "Rows")  # type: ignore[operator]
    assert "abc" not in str(caught.value)
