"""The candidates of a study: what belongs together, what does not, and what is left out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import ExplicitVRBigEndian

from dicom_factory import change, compress, ct_series, enhanced_ct, hounsfield, save
from mmcaf_engine.errors import StudyError
from mmcaf_engine.study import read_study
from mmcaf_engine.study.nifti import NIFTI
from mmcaf_engine.study.reading import open_headers
from mmcaf_engine.study.selection.series import Candidate, Catalogue
from refusals import refused

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

VALUES = hounsfield(10)
MOSAIC = "Siemens mosaic (slices of a volume as tiles of one image)"


def found(images: list[FileDataset], folder: Path) -> Catalogue:
    with open_headers(save(images, folder / "study")) as headers:
        return headers.catalogue


def twice(count: int = 10, **second: Any) -> list[FileDataset]:
    """Ten slices, and the first so many at the same places with other elements."""
    images = ct_series(VALUES)
    again = ct_series(VALUES[:count])
    for at, image in enumerate(again):
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{at}"
        change(image, **second)
    return [*images, *again]


KINDS: dict[str, dict[str, Any]] = {
    "image type": {"ImageType": ["DERIVED", "PRIMARY", "AXIAL"]},
    "acquisition": {"AcquisitionNumber": 2},
    "b-value": {"DiffusionBValue": 800.0},
    "echo": {"EchoTime": "80"},
    "phase": {"TemporalPositionIdentifier": "2"},
}


@pytest.mark.parametrize("second", KINDS.values(), ids=KINDS)
def test_what_explains_a_second_set_of_places_tells_two_apart(second: dict[str, Any], tmp_path: Path) -> None:
    assert [entry.slices for entry in found(twice(**second), tmp_path).candidates] == [10, 10]


def test_what_nothing_explains_stays_together(tmp_path: Path) -> None:
    assert [entry.slices for entry in found(twice(), tmp_path).candidates] == [20]


def test_a_kind_that_repeats_a_place_of_its_own_explains_nothing(tmp_path: Path) -> None:
    images = twice(2, AcquisitionNumber=2)
    images[-1].ImagePositionPatient = images[-2].ImagePositionPatient
    assert [entry.slices for entry in found(images, tmp_path).candidates] == [12]


def test_what_covers_too_little_explains_nothing(tmp_path: Path) -> None:
    images = ct_series(VALUES)
    for image in images[5:]:
        image.AcquisitionNumber = 2
    stray = twice(1, AcquisitionNumber=2)[-1]
    assert [entry.slices for entry in found([*images, stray], tmp_path).candidates] == [11]


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "SCOUT"]}, "localizer"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "secondary capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.2"}, "secondary capture"),
        ({"SamplesPerPixel": 3}, "colour image"),
        ({"Modality": "SEG"}, "segmentation (SEG)"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]}, MOSAIC),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_the_volume_is_left_out(elements: dict[str, Any], reason: str, tmp_path: Path) -> None:
    study = found([*ct_series(VALUES), *ct_series(VALUES[:2], series_uid="1.2.3", **elements)], tmp_path)
    assert [entry.slices for entry in study.candidates] == [10]
    assert study.left_out == {reason: 2} and study.left_out_series == {"1.2.3": reason}


@pytest.mark.parametrize("told", ["image-type", "private"])
def test_a_study_of_mosaics_alone_is_refused_by_name(told: str, tmp_path: Path) -> None:
    images = ct_series(VALUES[:2], Modality="MR", SOPClassUID="1.2.840.10008.5.1.4.1.1.4")
    for image in images:
        if told == "image-type":
            image.ImageType = ["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE", "ND", "MOSAIC"]
        else:
            image.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", 25)
    with refused(StudyError, "2 Siemens mosaics"):
        read_study(save(images, tmp_path / "study"))


def test_a_slice_without_pixels_is_refused(tmp_path: Path) -> None:
    images = ct_series(VALUES)
    del images[3].PixelData
    with pytest.raises(StudyError, match="PixelData"):
        found(images, tmp_path)


def test_an_image_that_cannot_be_read_counts_and_stays_a_fault(tmp_path: Path) -> None:
    images = ct_series(VALUES)
    images[3].PixelSpacing = [0.7, 0.7]
    images[3]["PixelSpacing"]._value = ["0.7"]
    (entry,) = found(images, tmp_path).candidates
    assert entry.slices == 10 and entry.fault is not None and len(entry.frames) == 9


def test_facts_of_a_candidate(tmp_path: Path) -> None:
    (entry,) = found(ct_series(VALUES, ConvolutionKernel="LUNG"), tmp_path).candidates
    assert (entry.modality, entry.series_number, entry.description, entry.kernel) == ("CT", 2, "Chest", "LUNG")
    assert (entry.plane, entry.slices, entry.matrix, entry.number) == (2, 10, (6, 7), 1)
    assert (entry.step_mm, entry.extent_mm, entry.oblique_degrees) == pytest.approx((2.5, 22.5, 0.0))
    assert not entry.derived and entry.fault is None


@pytest.mark.parametrize("lay", [[1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1]], ids=["coronal", "sagittal"])
def test_slices_of_another_plane_are_another_candidate(lay: list[int], tmp_path: Path) -> None:
    others = ct_series(VALUES[:4])
    for at, image in enumerate(others):
        image.ImageOrientationPatient, image.ImagePositionPatient = lay, [at, at, 0]
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{at}"
    entries = found([*ct_series(VALUES), *others], tmp_path).candidates
    assert sorted(entry.slices for entry in entries) == [4, 10]


def fitting(modality: str) -> Callable[[str | None], bool]:
    return Candidate("", "", None, modality, "", "", 2, (), 1).fits


def test_a_nifti_file_can_be_of_any_modality_but_ct() -> None:
    assert [fitting(NIFTI)(wanted) for wanted in (None, "MR", "CT", NIFTI)] == [True, True, False, True]
    assert [fitting("CT")(wanted) for wanted in (None, "MR", "CT")] == [True, False, True]


def test_frames_of_a_survey_are_left_out_of_their_image(tmp_path: Path) -> None:
    image = enhanced_ct(VALUES)
    for group in image.PerFrameFunctionalGroupsSequence[:2]:
        kind = Dataset()
        kind.FrameType = ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]
        del group.CTImageFrameTypeSequence  # which the frames share
        group.CTImageFrameTypeSequence = [kind]
    (entry,) = found([image], tmp_path).candidates
    assert entry.slices == 8 and {frame.index for frame in entry.frames} == set(range(2, 10))


@pytest.mark.parametrize(("left", "step"), [((0, 1, 3), 2.5), ((0, 2, 3), 2.5), ((0, 1, 2, 9), 2.5), ((4,), 0.0)])
def test_the_usual_step_is_no_gap_beside_it(left: tuple[int, ...], step: float, tmp_path: Path) -> None:
    (entry,) = found([ct_series(VALUES)[at] for at in left], tmp_path).candidates
    assert entry.step_mm == pytest.approx(step)
    assert entry.extent_mm == pytest.approx(2.5 * (left[-1] - left[0]))


@pytest.mark.parametrize("swapped", [True, False])
def test_a_copy_in_another_byte_order_has_the_same_pixels_or_is_none(swapped: bool, tmp_path: Path) -> None:
    images = ct_series(VALUES)
    other = compress(ct_series(VALUES)[4], ExplicitVRBigEndian)
    if not swapped:
        other.PixelData = images[4].PixelData  # The same bytes, which are other numbers here.
    path = save([*images, other], tmp_path / "study")
    if swapped:
        study = read_study(path)
        assert (study.volume.values == VALUES).all() and "1 file is a copy" in study.remarks[0]
    else:
        with refused(StudyError, "IM0004", "IM0010", "(0008,0018) SOPInstanceUID", "(7FE0,0010) PixelData"):
            read_study(path)
