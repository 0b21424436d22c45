"""Frames of an Enhanced image: each with its own values, else those that all share."""

from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from dicom_factory import ct_slice, enhanced_ct, hounsfield, write
from mmcaf_engine.errors import StudyError
from mmcaf_engine.study import read_study
from mmcaf_engine.study.reading import open_headers

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

VALUES = hounsfield(4)


def measures(*spacing: float) -> list[Dataset]:
    item = Dataset()
    item.PixelSpacing, item.SliceThickness = list(spacing), 2.5
    return [item]


@pytest.mark.parametrize("per_frame", [True, False], ids=["of-each", "shared"])
def test_values_of_each_frame_or_of_all(per_frame: bool, tmp_path: Path) -> None:
    study = read_study(write(enhanced_ct(VALUES, per_frame=per_frame), tmp_path / "image"))
    assert (study.volume.values == VALUES).all()
    assert study.spacing_mm == (2.5, 0.7, 0.8)


def test_a_frames_own_value_comes_before_what_all_share(tmp_path: Path) -> None:
    image = enhanced_ct(VALUES, per_frame=True)
    image.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence = measures(1.5, 1.6)
    assert read_study(write(image, tmp_path / "image")).spacing_mm == (2.5, 0.7, 0.8)


@pytest.mark.parametrize(
    ("elements", "acquired"),
    [
        ({"AcquisitionDateTime": "20240506101500.5+0200"}, "20240506101500.5"),
        ({"AcquisitionDateTime": "20240506101500-0500"}, "20240506101500"),
        ({"AcquisitionDateTime": "20240506101500", "AcquisitionTime": "090000"}, "20240506101500"),
        ({"AcquisitionDate": "20240506", "AcquisitionTime": "101500.25"}, "20240506101500.25"),
        ({"AcquisitionTime": "101500"}, "101500"),
        ({"AcquisitionDate": "20240506"}, ""),
        ({}, ""),
    ],
    ids=str,
)
def test_when_a_slice_was_acquired(elements: dict[str, str], acquired: str, tmp_path: Path) -> None:
    """Without its zone, so that texts sort as times do."""
    with open_headers(write(ct_slice(VALUES[0], **elements), tmp_path / "image")) as headers:
        (frame,) = headers.catalogue.candidates[0].frames
    assert frame.acquired == acquired


@pytest.mark.parametrize("count", [1, 3, 5])
def test_there_is_an_item_for_each_frame(count: int, tmp_path: Path) -> None:
    image = enhanced_ct(VALUES)
    image.NumberOfFrames = count
    image.PixelData = (2 * image.PixelData)[: count * len(image.PixelData) // len(VALUES)]
    with pytest.raises(StudyError, match="NumberOfFrames"):
        read_study(write(image, tmp_path / "image"))


@pytest.mark.parametrize(
    "elements", [{"Rows": 0}, {"Columns": 4097}, {"NumberOfFrames": 4097}, {"Rows": 4097}], ids=str
)
def test_sizes_beyond_any_scanner(elements: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(StudyError):
        read_study(write(enhanced_ct(VALUES, **elements), tmp_path / "image"))
