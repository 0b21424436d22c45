"""One series, read whole or slice by slice: the same values, and what each slice was made from."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import study_edits as forms
from dicom_factory import ct_series, enhanced_ct, hounsfield, save
from mmcaf_engine.errors import StudyError
from mmcaf_engine.study import open_study, read_study
from mmcaf_engine.volume import StudyFacts
from mmcaf_engine.workers import Scratch

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

VALUES = forms.REFERENCE


def streamed(path: Path, **options: Any) -> tuple[NDArray[Any], StudyFacts]:
    with open_study(path, **options) as opened:
        values = np.full(opened.shape, np.nan)

        def receive(index: int, plane: NDArray[Any], scratch: Scratch) -> None:
            assert np.isnan(values[index]).all()
            values[index] = plane

        facts = opened.stream(receive)
    return values, facts


@pytest.mark.parametrize(
    ("edit", "options"),
    [
        (forms.reverse, {}),
        (forms.shuffle, {}),
        (forms.half_turn, {}),
        (forms.sideways, {}),
        (forms.quarter_turn, {}),
        (forms.tilt(1), {"tilt": "resample"}),
        (forms.without(4), {"gaps": "interpolate"}),
        (forms.again(3, other=7), {"duplicates": "first"}),
    ],
    ids=["reversed", "shuffled", "turned", "sideways", "quarter-turned", "tilted", "gap", "copy"],
)
def test_slice_by_slice_is_the_volume(edit: forms.Edit, options: dict[str, Any], tmp_path: Path) -> None:
    path = save(edit(ct_series(VALUES)), tmp_path / "study")
    whole = read_study(path, **options)
    values, facts = streamed(path, **options)
    assert np.array_equal(values, whole.volume.values)
    assert (facts.slices, facts.spacing_mm, facts.images, facts.warnings, facts.uids) == (
        whole.slices,
        whole.spacing_mm,
        whole.images,
        whole.warnings,
        whole.uids,
    )


@pytest.mark.parametrize(
    "edit", [forms.reverse, forms.shuffle, forms.renumber], ids=["reversed", "shuffled", "numbers"]
)
def test_each_slice_tells_its_image(edit: forms.Edit, tmp_path: Path) -> None:
    images = edit(ct_series(VALUES))
    by_height = sorted(images, key=lambda image: float(image.ImagePositionPatient[2]))
    found = read_study(save(images, tmp_path / "study")).images
    assert [one.sop_instance_uid if one else None for one in found] == [one.SOPInstanceUID for one in by_height]
    assert all(one is not None and one.frame is None for one in found)


def test_frames_are_counted_from_one(tmp_path: Path) -> None:
    found = read_study(save([enhanced_ct(VALUES)], tmp_path / "study")).images
    assert [one.frame if one else None for one in found] == list(range(1, 13))


def test_an_interpolated_slice_is_of_no_image(tmp_path: Path) -> None:
    images = ct_series(VALUES)
    path = save([*images[:4], *images[5:]], tmp_path / "study")
    found = read_study(path, gaps="interpolate").images
    expected = [str(one.SOPInstanceUID) for one in images]
    assert [one.sop_instance_uid if one else None for one in found] == [*expected[:4], None, *expected[5:]]


def test_copies_that_differ_from_what_is_kept_are_remarked_on(tmp_path: Path) -> None:
    alike = save(forms.again(3)(ct_series(VALUES)), tmp_path / "alike")
    other = save(forms.again(3, other=7)(ct_series(VALUES)), tmp_path / "other")
    first, second = (read_study(path, duplicates="first") for path in (alike, other))
    assert np.array_equal(first.volume.values, VALUES) and np.array_equal(second.volume.values, VALUES)
    assert len(second.warnings) == len(first.warnings) + 1


@pytest.mark.parametrize("keyword", ["PatientID", "StudyInstanceUID", "FrameOfReferenceUID"])
def test_a_series_is_of_one_patient_one_study_and_one_frame_of_reference(keyword: str, tmp_path: Path) -> None:
    images = ct_series(VALUES, FrameOfReferenceUID="1.2.3")
    setattr(images[5], keyword, "1.2.4")
    with pytest.raises(StudyError, match=keyword):
        read_study(save(images, tmp_path / "study"))


@pytest.mark.parametrize(("spacing", "warned"), [([0.7, 0.8], False), ([0.8, 1.0], False), ([0.5, 0.9], True)])
def test_pixels_that_are_no_squares_are_warned_of(spacing: list[float], warned: bool, tmp_path: Path) -> None:
    for name, sides in (("one", spacing), ("other", spacing[::-1])):
        study = read_study(save(ct_series(hounsfield(5), PixelSpacing=sides), tmp_path / name))
        said = f"its pixels are {sides[0]:g} x {sides[1]:g} mm large, rows first"
        assert [said in text for text in study.warnings] == [True] * warned
