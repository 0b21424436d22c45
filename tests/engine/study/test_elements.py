"""Elements that contradict their own data set: one that stands twice, or is encoded as another kind of value."""

import struct
from pathlib import Path

import pytest

from dicom_factory import PHI, ct_slice, enhanced_ct, hounsfield, write
from fuzzing.elements import Element, File, copied, encode, parse
from mmcaf_engine.errors import StudyError
from mmcaf_engine.study import read_study
from refusals import refused

VALUES = hounsfield(3)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # as at import, which pytest undoes

SLOPE, SPACING, ROWS, UNREAD = 0x00281053, 0x00280030, 0x00280010, 0x00080090
SHARED, TRANSFORMATION, MEASURES = 0x52009229, 0x00289145, 0x00289110


def taken_apart(folder: Path, *, frames: bool) -> File:
    image = enhanced_ct(VALUES, per_frame=False) if frames else ct_slice(VALUES[0])
    return parse(write(image, folder / "sound").read_bytes())


def put(file: File, folder: Path, *, implicit: bool = False) -> Path:
    path = folder / "study"
    head = file.head.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0\0\0") if implicit else file.head
    path.write_bytes(encode(File(head, file.elements), implicit=implicit))
    return path


def inside(elements: list[Element], *tags: int) -> list[Element]:
    """The content of the first item of a sequence in a sequence."""
    for tag in tags:
        elements = next(one for one in elements if one.tag == tag).items[0]
    return elements


def place(elements: list[Element], tag: int) -> int:
    return next(at for at, one in enumerate(elements) if one.tag == tag)


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("value", [b"2 ", b"1 "], ids=["another", "the-same"])
@pytest.mark.parametrize("where", ["after", "first", "last"])
def test_an_element_that_stands_twice_is_refused(where: str, value: bytes, implicit: bool, tmp_path: Path) -> None:
    file = taken_apart(tmp_path, frames=False)
    at = {"after": place(file.elements, SLOPE) + 1, "first": 0, "last": len(file.elements) - 1}[where]
    file.elements.insert(at, Element(SLOPE, b"DS", value))
    with refused(StudyError, "study", "(0028,1053) RescaleSlope", "twice"):
        read_study(put(file, tmp_path, implicit=implicit))


def test_a_data_set_in_another_form_than_its_file_says_is_read(tmp_path: Path) -> None:
    """pydicom looks at its first element twice."""
    for frames in (False, True):
        file = taken_apart(tmp_path, frames=frames)
        (tmp_path / "study").write_bytes(encode(file, implicit=True))
        assert (read_study(tmp_path / "study").volume.values == VALUES[: 3 if frames else 1]).all()
        head = file.head.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0\0\0")
        (tmp_path / "study").write_bytes(encode(File(head, file.elements)))
        assert (read_study(tmp_path / "study").volume.values == VALUES[: 3 if frames else 1]).all()


@pytest.mark.parametrize("undefined", [False, True], ids=["lengths", "delimiters"])
@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("tag", [SHARED, TRANSFORMATION], ids=hex)
def test_a_sequence_that_stands_twice_is_refused(tag: int, implicit: bool, undefined: bool, tmp_path: Path) -> None:
    file = taken_apart(tmp_path, frames=True)
    holder = file.elements if tag == SHARED else inside(file.elements, SHARED)
    holder.insert(place(holder, tag), holder[place(holder, tag)])
    for element in file.elements:
        element.undefined = undefined and bool(element.items)
    with refused(StudyError, "study", f"({tag >> 16:04X},{tag & 0xFFFF:04X})", "twice"):
        read_study(put(file, tmp_path, implicit=implicit))


@pytest.mark.parametrize("undefined", [False, True], ids=["lengths", "delimiters"])
def test_functional_groups_that_end_early_are_refused(undefined: bool, tmp_path: Path) -> None:
    file = taken_apart(tmp_path, frames=True)
    at = place(file.elements, SHARED)
    file.elements[at].undefined, file.elements[at].ended = undefined, False
    file.elements[at].length = None if undefined else 5000
    del file.elements[at + 1 :]
    with refused(StudyError, "study", "early"):
        read_study(put(file, tmp_path))
    file.elements[at].value = struct.pack("<HHI", 0xFFFE, 0xE000, 4000) + bytes(40)
    with refused(StudyError, "study", "functional groups that end early"):
        read_study(put(file, tmp_path))
    file.elements[at].value = b"1.2.840.10008.1.2.1\0"
    file.elements[at].length = None
    with refused(StudyError, "study", "holds no items"):
        read_study(put(file, tmp_path))


@pytest.mark.parametrize("undefined", [False, True], ids=["lengths", "delimiters"])
@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("where", ["begin", "first", "before", "after", "last"])
def test_one_that_stands_twice_in_an_item_is_refused(
    where: str, implicit: bool, undefined: bool, tmp_path: Path
) -> None:
    file = taken_apart(tmp_path, frames=True)
    for element in file.elements:
        element.undefined = undefined and bool(element.items)
    sound = read_study(put(File(file.head, copied(file.elements)), tmp_path, implicit=implicit))
    assert sound.warnings == ()
    content = inside(file.elements, SHARED, TRANSFORMATION)
    at = place(content, SLOPE)
    twin = Element(content[0].tag, b"DS", b"0 ") if where == "begin" else Element(SLOPE, b"DS", b"2 ")
    content.insert({"begin": 0, "first": 0, "before": at, "after": at + 1, "last": len(content)}[where], twin)
    with refused(StudyError, "study", "(0028,9145) PixelValueTransformationSequence", "twice"):
        read_study(put(file, tmp_path, implicit=implicit))


def test_one_that_is_not_read_may_stand_twice(tmp_path: Path) -> None:
    file = taken_apart(tmp_path, frames=False)
    file.elements[1:1] = [Element(UNREAD, b"LO", b"A "), Element(UNREAD, b"LO", b"B ")]
    assert (read_study(put(file, tmp_path)).volume.values == VALUES[0]).all()


@pytest.mark.parametrize(
    ("tag", "vr", "value", "facts"),
    [
        (SLOPE, b"FL", b"1.0 ", ("(0028,1053) RescaleSlope", "real number", "VR FL", "text")),
        (SLOPE, b"FD", struct.pack("<d", 2), ("(0028,1053) RescaleSlope", "VR FD")),
        (SLOPE, b"US", b"1 ", ("(0028,1053) RescaleSlope", "whole number")),
        (SPACING, b"FD", b"0.7\\0.8 ", ("(0028,0030) PixelSpacing", "VR FD")),
        (ROWS, b"DS", b"6 ", ("(0028,0010) Rows", "VR DS", "whole number")),
    ],
)
def test_an_element_of_another_kind_is_refused(
    tag: int, vr: bytes, value: bytes, facts: tuple[str, ...], tmp_path: Path
) -> None:
    file = taken_apart(tmp_path, frames=False)
    at = place(file.elements, tag)
    file.elements[at] = Element(tag, vr, value)
    with refused(StudyError, "study", *facts) as caught:
        read_study(put(file, tmp_path))
    assert not [word for word in PHI.values() if word in str(caught.value)]


def test_other_names_of_one_kind_are_read(tmp_path: Path) -> None:
    """Texts of any VR say the same; one of unknown VR is what the dictionary says."""
    file = taken_apart(tmp_path, frames=False)
    for tag, vr in ((SLOPE, b"LO"), (SPACING, b"UN"), (ROWS, b"SS")):
        file.elements[place(file.elements, tag)].vr = vr
    assert (read_study(put(file, tmp_path)).volume.values == VALUES[0]).all()


def test_a_weight_that_is_written_as_a_tag_is_none(tmp_path: Path) -> None:
    file = taken_apart(tmp_path, frames=False)
    file.elements[place(file.elements, 0x00101030)].vr = b"AT"
    assert read_study(put(file, tmp_path)).patient.weight is None


def test_what_only_tells_series_apart_counts_as_absent(tmp_path: Path) -> None:
    file = taken_apart(tmp_path, frames=False)
    file.elements.insert(place(file.elements, SLOPE), Element(0x00200012, b"FD", struct.pack("<d", 7)))
    assert (read_study(put(file, tmp_path)).volume.values == VALUES[0]).all()
