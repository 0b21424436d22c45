"""Elements of a header: what is absent, what is unreadable, and who minds."""

import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from mmcaf_engine.errors import StudyError
from mmcaf_engine.study.dicom.tags import Tags
from refusals import refused

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def header() -> Tags:
    """Readable, empty and absent elements, and numbers that are none."""
    dataset = Dataset()
    dataset.Modality = " CT "
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.SeriesDescription = "Chest\nwith\tcontrast"
    dataset.StudyDescription = "Chest\x10\0\x10\0PN\x08\0DOE^JANE"
    dataset.ProtocolName = ""
    dataset.SeriesNumber = 7
    dataset.PatientWeight = 71.5
    for keyword in (0x00280010, 0x00101020):  # Rows of three bytes; PatientSize in words
        tag = Tag(keyword)
        held = RawDataElement(tag, "US" if keyword == 0x00280010 else "DS", 3, b"abc", 0, False, True)
        dataset[tag] = held
    return Tags(dataset, "study.dcm")


@pytest.mark.parametrize("text", [b"0,7\\0,7", b"0,7 ", b"-1,5E-03", b"5,"])
@pytest.mark.parametrize("keyword", ["PixelSpacing", "WindowCenter", "InstanceNumber"])
def test_a_decimal_comma_is_named_and_not_quoted(keyword: str, text: bytes) -> None:
    dataset = Dataset()
    tag = Tag(keyword)
    held = RawDataElement(tag, "IS" if keyword == "InstanceNumber" else "DS", len(text), text, 0, False, True)
    dataset[tag] = held
    with refused(StudyError, "study.dcm", keyword, "decimal comma") as caught:
        Tags(dataset, "study.dcm").numbers(keyword, text.count(b"\\") + 1)
    assert text.decode().strip() not in str(caught.value)


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


def test_labels_are_one_line_of_text() -> None:
    assert header().label("SeriesDescription") == "Chest with contrast"
    assert header().label("BodyPartExamined") == header().label("Rows") == header().label("StudyDescription") == ""


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


def numbers(keyword: str, representation: str, value: bytes) -> Tags:
    dataset = Dataset()
    tag = Tag(keyword)
    dataset[tag] = RawDataElement(tag, representation, len(value), value, 0, False, True)
    return Tags(dataset, "study.dcm")


@pytest.mark.parametrize(("value", "read"), [(b"0.7\\0.8 ", (0.7, 0.8)), (b"1e-3\\7", (0.001, 7.0)), (b"", None)])
def test_so_many_numbers(value: bytes, read: tuple[float, ...] | None) -> None:
    assert numbers("PixelSpacing", "DS", value).numbers("PixelSpacing", 2) == read


@pytest.mark.parametrize(
    "value", [b"0.7", b"1\\2\\3 ", b"nan\\1 ", b"1\\inf ", b"1e999\\1", b"a\\1 ", b"\\1"], ids=repr
)
def test_other_numbers_are_refused(value: bytes) -> None:
    with pytest.raises(StudyError, match="PixelSpacing"):
        numbers("PixelSpacing", "DS", value).numbers("PixelSpacing", 2)


def test_a_fraction_is_no_whole_number() -> None:
    assert numbers("SliceThickness", "DS", b"7.0 ").whole("SliceThickness") == 7
    with pytest.raises(StudyError, match="whole number"):
        numbers("SliceThickness", "DS", b"7.5 ").whole("SliceThickness")
