"""Several multi-frame images: parts of one, volumes that lie at the same places or within each other, and b-values."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset

from dicom_factory import change, ct_series, enhanced_ct, hounsfield, save
from mmcaf_engine.errors import StudyError
from mmcaf_engine.study import read_study
from mmcaf_engine.study.reading import open_headers
from mmcaf_engine.study.selection.series import Candidate
from refusals import refused

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

VALUES = hounsfield(8)


def image(values: Any, uid: int, first: int = 0, **elements: Any) -> FileDataset:
    """Slices from number `first` on, as an image of its own."""
    made = enhanced_ct(values, **elements)
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{uid}"
    for frame in made.PerFrameFunctionalGroupsSequence:
        frame.PlanePositionSequence[0].ImagePositionPatient[2] += 2.5 * first
    return made


def parts(*numbers: int, total: int | None = 2, of: str = "1.2.9") -> list[FileDataset]:
    """Parts of one image of eight slices, four in each."""
    told = {} if total is None else {"InConcatenationTotalNumber": total}
    return [
        image(
            VALUES[4 * (number - 1) : 4 * number] if number <= 2 else VALUES[:4] + 1,
            number,
            4 * (number - 1),
            ConcatenationUID=of,
            InConcatenationNumber=number,
            **told,
        )
        for number in numbers
    ]


def found(images: list[FileDataset], folder: Path) -> tuple[Candidate, ...]:
    with open_headers(save(images, folder / "study")) as headers:
        return headers.catalogue.candidates


@pytest.mark.parametrize("total", [2, None])
def test_all_parts_of_an_image_are_one_volume(total: int | None, tmp_path: Path) -> None:
    study = read_study(save(parts(2, 1, total=total), tmp_path / "study"))
    assert np.array_equal(study.volume.values, VALUES)
    assert study.warnings == ()
    assert ["(0020,9163) InConcatenationTotalNumber" in remark for remark in study.remarks] == [True] * (total is None)


def indexed(images: list[FileDataset], *, skip: int | None = None) -> list[FileDataset]:
    """Each frame with its place in the stack, and the indices of both; without one place, if one is skipped."""
    number = 0
    for part in images:
        for frame in part.PerFrameFunctionalGroupsSequence:
            number += 1 + (number + 1 == skip)
            content = change(Dataset(), StackID="1", InStackPositionNumber=number, DimensionIndexValues=[1, number])
            frame.FrameContentSequence = [content]
    return images


def placed(images: list[FileDataset], *offsets: int, source: str = "1.2.3.50") -> list[FileDataset]:
    """Each part with the number of its first frame, from 0, and the image that it is of."""
    for part, offset in zip(images, offsets, strict=True):
        part.ConcatenationFrameOffsetNumber, part.SOPInstanceUIDOfConcatenationSource = offset, source
    return images


@pytest.mark.parametrize(
    "images",
    [
        indexed(parts(1, 2, total=None)),
        placed(parts(1, 2, total=None), 0, 4),
        placed(
            [*parts(1, total=None), image(VALUES[4:7], 2, 4, ConcatenationUID="1.2.9", InConcatenationNumber=2)], 0, 4
        ),
        indexed(parts(1, 2), skip=3),
    ],
    ids=["indices", "offsets", "shorter-last", "total-known"],
)
def test_parts_whose_frames_are_complete(images: list[FileDataset], tmp_path: Path) -> None:
    found = read_study(save(images, tmp_path / "study"))
    assert np.array_equal(found.volume.values, VALUES[: len(found.volume.values)])
    assert len(found.remarks) >= all("InConcatenationTotalNumber" not in part for part in images)


@pytest.mark.parametrize(
    ("images", "facts"),
    [
        (placed(parts(1, 2), 0, 5), (6, 5, "(0020,9228) ConcatenationFrameOffsetNumber")),
        (placed(parts(1, 2, total=None), 4, 8), (5, 1)),
        (placed(parts(1, 2, total=None), 0, 3), (4, 5)),
        (indexed(parts(1, 2, total=None), skip=3), (9, 3, "(0020,9157) DimensionIndexValues")),
        ([*placed(parts(1), 0), *placed(parts(2), 4, source="1.2.3.51")], ("(0020,0242)",)),
    ],
    ids=["gap", "first-missing", "overlap", "index-gap", "two-sources"],
)
def test_frames_that_tell_of_a_missing_part(images: list[FileDataset], facts: tuple[Any, ...], tmp_path: Path) -> None:
    with refused(StudyError, "(0020,9161) ConcatenationUID", *facts):
        read_study(save(images, tmp_path / "study"))


def test_a_stack_that_has_some_places_more_often_lacks_a_part(tmp_path: Path) -> None:
    """Two echoes of four slices, of which the second lacks its last."""
    images = indexed(parts(1, 2, total=None))
    for number, frame in enumerate(images[1].PerFrameFunctionalGroupsSequence):
        frame.FrameContentSequence[0].InStackPositionNumber = number + 1
        frame.FrameContentSequence[0].DimensionIndexValues = [2, number + 1]
    del images[1].PerFrameFunctionalGroupsSequence[3:]
    images[1].NumberOfFrames, images[1].PixelData = 3, images[1].PixelData[: 3 * 2 * VALUES[0].size]
    with refused(StudyError, "(0020,9057) InStackPositionNumber", 4, 1, 2):
        read_study(save(images, tmp_path / "study"))


def test_parts_are_held_against_the_image_that_they_were_made_from(tmp_path: Path) -> None:
    whole = image(hounsfield(12), 50)
    path = save([*placed(parts(1, 2, total=None), 0, 4), whole], tmp_path / "study")
    assert np.array_equal(read_study(path).volume.values, hounsfield(12))
    with refused(StudyError, "(0020,9161) ConcatenationUID", 8, 12):
        read_study(path, series="2")


def test_only_the_series_that_is_read_is_remarked_on(tmp_path: Path) -> None:
    others = ct_series(hounsfield(20), series_uid="1.2.7")
    study = read_study(save([*parts(1, 2, total=None), *others], tmp_path / "study"))
    assert len(study.volume.values) == 20 and study.remarks == ()


@pytest.mark.parametrize(
    ("images", "facts"),
    [
        (parts(1), (1, 2)),
        (parts(2), (2, 1)),
        (parts(2, total=None), (2, 1)),
        (parts(1, 3, total=None), (1, 3)),
        (parts(1, 2, total=3), (1, 2, 3)),
        ([*parts(1), *parts(2, total=3)], (1, 2, 3)),
    ],
    ids=["first", "last", "last-of-unknown", "middle-of-unknown", "two-of-three", "two-totals"],
)
def test_half_a_concatenation_is_refused(images: list[FileDataset], facts: tuple[int, ...], tmp_path: Path) -> None:
    with refused(StudyError, "(0020,9161) ConcatenationUID", "(0020,9163) InConcatenationTotalNumber", *facts):
        read_study(save(images, tmp_path / "study"))


def test_a_part_without_a_number_is_refused(tmp_path: Path) -> None:
    one, other = parts(1, 2)
    del other.InConcatenationNumber
    with refused(StudyError, "(0020,9161) ConcatenationUID"):
        read_study(save([one, other], tmp_path / "study"))


def test_another_series_does_not_take_the_place_of_half_a_concatenation(tmp_path: Path) -> None:
    others = ct_series(VALUES[:3], series_uid="1.2.7")
    with refused(StudyError, "(0020,9161) ConcatenationUID"):
        read_study(save([*parts(1), *others], tmp_path / "study"))


TWO: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "acquisition-of-the-image": ({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}),
    "image": ({}, {}),
    "image-type": ({}, {"ImageType": ["DERIVED", "PRIMARY", "VOLUME", "ENERGY_PROP_WT"]}),
    "energy-of-the-image": ({"KVP": 80}, {"KVP": 140}),
}


@pytest.mark.parametrize("place", ["same", "between"])
@pytest.mark.parametrize("elements", TWO.values(), ids=TWO)
def test_two_volumes_in_one_series(elements: tuple[dict[str, Any], dict[str, Any]], place: str, tmp_path: Path) -> None:
    first, second = image(VALUES, 1, **elements[0]), image(VALUES[::-1], 2, **elements[1])
    if place == "between":
        for frame in second.PerFrameFunctionalGroupsSequence:
            frame.PlanePositionSequence[0].ImagePositionPatient[2] += 1.25
    folder = save([first, second], tmp_path / "study")
    with refused(StudyError, 2, "8 slices", option="series", value="1"):
        read_study(folder)
    assert np.array_equal(read_study(folder, series="1").volume.values, VALUES)
    assert np.array_equal(read_study(folder, series="2").volume.values, VALUES[::-1])


MACROS: dict[str, tuple[str, str, Any, Any]] = {
    "stack": ("FrameContentSequence", "StackID", "1", "2"),
    "acquisition": ("FrameContentSequence", "FrameAcquisitionNumber", 1, 2),
    "kind": (
        "CTImageFrameTypeSequence",
        "FrameType",
        ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
        ["ORIGINAL", "PRIMARY", "VOLUME", "ENERGY_PROP_WT"],
    ),
    "kernel": ("CTReconstructionSequence", "ConvolutionKernel", "Br40", "Br64"),
    "energy": ("CTXRayDetailsSequence", "KVP", 80, 140),
    "contrast": ("ContrastBolusUsageSequence", "ContrastBolusAgentAdministered", "NO", "YES"),
}


@pytest.mark.parametrize("macro", MACROS.values(), ids=MACROS)
def test_frames_of_two_volumes_that_alternate(macro: tuple[str, str, Any, Any], tmp_path: Path) -> None:
    sequence, keyword, *both = macro
    made = image(VALUES, 1)
    for at, frame in enumerate(made.PerFrameFunctionalGroupsSequence):
        item = Dataset()
        change(item, **{keyword: both[at % 2]})
        frame.pop(sequence, None)  # which the frames share
        setattr(frame, sequence, [item])
    folder = save([made], tmp_path / "study")
    with refused(StudyError, 2, "4 slices", option="series", value="1"):
        read_study(folder)
    read = [read_study(folder, series=number).volume.values for number in "12"]
    assert sorted(volume.tobytes() for volume in read) == sorted(VALUES[at::2].tobytes() for at in (0, 1))


@pytest.mark.parametrize(
    ("pointer", "volumes"),
    [(0x00189346, 2), (0x20051035, 2), (0x00189074, 1), (0x00209057, 1)],
    ids=["dose", "vendors-own", "time", "place"],
)
def test_a_dimension_that_alternates_tells_volumes_apart(pointer: int, volumes: int, tmp_path: Path) -> None:
    """By whatever the dimension is, but for those that are another for each slice (PS3.3 C.7.6.17)."""
    made = image(VALUES, 1)
    made.DimensionIndexSequence = [Dataset(), Dataset()]
    for item, tag in zip(made.DimensionIndexSequence, (0x00200032, pointer), strict=True):
        item.DimensionIndexPointer = tag
    for at, frame in enumerate(made.PerFrameFunctionalGroupsSequence):
        frame.FrameContentSequence = [Dataset()]
        frame.FrameContentSequence[0].DimensionIndexValues = [at + 1, at % 2 + 1]
    folder = save([made], tmp_path / "study")
    if volumes == 1:
        assert np.array_equal(read_study(folder).volume.values, VALUES)
        return
    with refused(StudyError, 2, "4 slices", "DimensionIndexValues", option="series", value="1"):
        read_study(folder)


def test_the_distance_that_an_enhanced_image_tells_is_compared(tmp_path: Path) -> None:
    made = image(VALUES, 1)
    for frame in made.PerFrameFunctionalGroupsSequence:
        frame.PixelMeasuresSequence[0].SpacingBetweenSlices = 1.25
    (warning,) = read_study(save([made], tmp_path / "study")).warnings
    assert "SpacingBetweenSlices is 1.25 mm, but the slices lie 2.5 mm apart" in warning


# b-values where vendors keep them


def with_b(value: Any, group: int, creator: str, element: int, representation: str) -> list[FileDataset]:
    made = ct_series(VALUES, Modality="MR", SOPClassUID="1.2.840.10008.5.1.4.1.1.4")
    for one in made:
        one.private_block(group, creator, create=True).add_new(element, representation, value)
    return made


KEPT: dict[str, tuple[tuple[Any, ...], float | None]] = {
    "GE": (([800, 8, 0, 0], 0x0043, "GEMS_PARM_01", 0x39, "IS"), 800.0),
    "GE-with-its-mark": (([1000000800, 8, 0, 0], 0x0043, "GEMS_PARM_01", 0x39, "IS"), 800.0),
    "GE-of-unknown-type": ((b"1000000050\\8\\0\\0 ", 0x0043, "GEMS_PARM_01", 0x39, "UN"), 50.0),
    "Siemens": (("800", 0x0019, "SIEMENS MR HEADER", 0x0C, "IS"), 800.0),
    "Philips": ((800.0, 0x2001, "Philips Imaging DD 001", 0x03, "FL"), 800.0),
    "another-creator": (([800, 8, 0, 0], 0x0043, "SOMEBODY ELSE", 0x39, "IS"), None),
    "no-number": ((b"abc ", 0x0043, "GEMS_PARM_01", 0x39, "UN"), None),
}


@pytest.mark.parametrize(("made", "expected"), KEPT.values(), ids=KEPT)
def test_b_values_of_vendors(made: tuple[Any, ...], expected: float | None, tmp_path: Path) -> None:
    (entry,) = found(with_b(*made), tmp_path)
    assert {frame.b_value for frame in entry.frames} == {expected}


def test_the_standard_element_comes_before_a_vendors(tmp_path: Path) -> None:
    images = with_b([800, 8, 0, 0], 0x0043, "GEMS_PARM_01", 0x39, "IS")
    for one in images:
        one.DiffusionBValue = 50.0
    (entry,) = found(images, tmp_path)
    assert {frame.b_value for frame in entry.frames} == {50.0}


def test_a_vendors_b_value_tells_two_volumes_apart(tmp_path: Path) -> None:
    images = with_b([50, 8, 0, 0], 0x0043, "GEMS_PARM_01", 0x39, "IS")
    more = with_b([800, 8, 0, 0], 0x0043, "GEMS_PARM_01", 0x39, "IS")
    for at, one in enumerate(more):
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{at}"
    assert [entry.slices for entry in found([*images, *more], tmp_path)] == [8, 8]
