"""Every variant of the table gives the reference volume, or the refusal that it names."""

import logging
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

import study_edits as forms
import study_variants as table
from dicom_factory import PHI, ct_series, ct_slice, hounsfield, save, write
from mmcaf_engine.errors import StudyError, UsageError
from mmcaf_engine.study import Policies, list_series, read_study
from refusals import check_facts, refused
from study_edits import REFERENCE
from study_variants import VARIANTS, Variant

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

log = logging.getLogger(__name__)
BY_ID = {variant.id: variant for variant in VARIANTS}


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.id)
def test_variant(variant: Variant, tmp_path: Path) -> None:
    path = variant.build(tmp_path)
    if variant.expected is None:
        with refused(StudyError, *variant.refused, **variant.remedy) as caught:
            read_study(path, **variant.options)
        assert not [word for word in PHI.values() if word in str(caught.value)]
        assert caught.value.remedy
        return
    study = read_study(path, **variant.options)
    values = study.volume.values
    assert values.shape == variant.expected.shape
    error = float(np.abs(values.astype(np.float64) - variant.expected).max())
    log.info("%s: %g HU", variant.id, error)
    assert error <= variant.tolerance
    assert values.flags.c_contiguous
    assert study.volume.spacing_mm == pytest.approx((variant.spacing if len(values) > 1 else 0.0, 0.7, 0.8), abs=2e-6)
    assert len(study.warnings) == len(variant.warnings), study.warnings
    assert [part in warning for part, warning in zip(variant.warnings, study.warnings, strict=True)] == [True] * len(
        variant.warnings
    ), study.warnings
    assert len(study.remarks) == len(variant.remarks), study.remarks
    assert all(part in remark for part, remark in zip(variant.remarks, study.remarks, strict=True)), study.remarks


def test_the_table_is_large_and_each_row_says_what_it_expects() -> None:
    assert len(BY_ID) == len(VARIANTS) >= 60
    assert len(table.PAIRS) >= 30
    assert [variant.id for variant in VARIANTS if (variant.expected is None) == (not variant.refused)] == []


@pytest.mark.parametrize("name", ["tilted-resampled", "tilted-back-resampled", "drift-resampled"])
def test_a_straightened_volume_lies_where_its_middle_slice_was_imaged(name: str, tmp_path: Path) -> None:
    variant = BY_ID[name]
    volume = read_study(variant.build(tmp_path), **variant.options).volume
    along = np.array(volume.direction)
    assert np.allclose(along @ along.T, np.eye(3), atol=1e-6)
    degrees = 0.0 if name.startswith("drift") else float(np.degrees(np.arctan2(0.7, 2.5)))
    assert np.degrees(np.arccos(along[0, 2])) == pytest.approx(degrees, abs=1e-3)
    # `tilt` shears about slice 6, whose first pixel is at -100 + 6 * 2.5 mm before all lean.
    lean = {"tilted-resampled": degrees, "tilted-back-resampled": -degrees}.get(name, 0.0)
    middle = forms.leaning(lean) @ [-30.0, -20.0, -85.0]
    assert np.array(volume.origin_mm) + 6 * 2.5 * along[0] == pytest.approx(middle, abs=1e-4)


def test_part_of_a_pixel_is_blended(tmp_path: Path) -> None:
    """Rows that rise evenly: shearing by half a pixel and back is exact away from the edges."""
    rising = np.broadcast_to(np.arange(0, 32 * 20, 20)[None, :, None], REFERENCE.shape).astype(np.int16)
    path = save(forms.tilt(0.5)(ct_series(rising)), tmp_path / "study")
    values = read_study(path, tilt="resample").volume.values.astype(int)
    assert np.array_equal(values[:, 4:-4], rising[:, 4:-4])


def test_raw_values_are_interpolated_only_where_they_share_a_rescale(tmp_path: Path) -> None:
    path = save(forms.without(5)(ct_series(REFERENCE)), tmp_path / "study")
    values = read_study(path, intensity="stored", gaps="interpolate").volume.values
    assert np.array_equal(values, forms.filled(REFERENCE + 1024, 5, 5))
    other = save(forms.without(5)(forms.rescale_per_slice(ct_series(REFERENCE))), tmp_path / "other")
    with refused(StudyError, 11, "(0028,1053) RescaleSlope"):
        read_study(other, intensity="stored", gaps="interpolate")


@pytest.mark.parametrize(
    ("slices", "gone", "accepted"),
    [
        (40, (10, 11, 12), True),
        (40, (10, 11, 12, 13), False),
        (40, (5, 10, 20, 30), True),
        (40, (5, 9, 20, 30, 35), False),
    ],
    ids=["three-in-a-row", "four-in-a-row", "a-tenth", "more-than-a-tenth"],
)
def test_interpolation_has_limits(slices: int, gone: tuple[int, ...], accepted: bool, tmp_path: Path) -> None:
    path = save(forms.without(*gone)(ct_series(hounsfield(slices))), tmp_path / "study")
    if accepted:
        assert len(read_study(path, gaps="interpolate").volume.values) == slices
        return
    with refused(StudyError, 3, "10%", slices, len(gone)) as caught:
        read_study(path, gaps="interpolate")
    assert all(one.option is None for one in caught.value.remedies)


@pytest.mark.parametrize("degrees", [6, -12])
def test_an_oblique_volume_lies_as_it_was_imaged(degrees: int, tmp_path: Path) -> None:
    images = forms.turn(degrees)(forms.tagged(Modality="MR")(ct_series(REFERENCE)))
    along = np.array(read_study(save(images, tmp_path / "study"), oblique="accept").volume.direction)
    assert np.allclose(along @ along.T, np.eye(3), atol=1e-6)
    assert np.degrees(np.arccos(along[0, 2])) == pytest.approx(abs(degrees), abs=1e-3)


@pytest.mark.parametrize("option", ["gaps", "tilt", "duplicates", "oblique"])
def test_refuses_a_policy_of_another_name(option: str, tmp_path: Path) -> None:
    with refused(UsageError, option, "refuse", "yes"):
        read_study(tmp_path, **{option: "yes"})


def test_a_regular_series_is_the_same_under_every_policy(tmp_path: Path) -> None:
    path = save(ct_series(REFERENCE), tmp_path / "study")
    study = read_study(path, gaps="interpolate", tilt="resample", duplicates="first", oblique="accept")
    assert np.array_equal(study.volume.values, REFERENCE)
    assert study.warnings == ()


def test_the_kept_slice_does_not_depend_on_file_names(tmp_path: Path) -> None:
    images = forms.again(2, 7, other=1)(ct_series(REFERENCE))
    for pattern, order in (("a", images), ("b", images[::-1])):
        study = read_study(save(order, tmp_path / pattern), duplicates="first")
        assert np.array_equal(study.volume.values, REFERENCE)


def test_the_better_series_may_be_unreadable(tmp_path: Path) -> None:
    """Another one does not take its place in silence."""
    images = ct_series(REFERENCE)
    images[4].PixelSpacing = 0.7
    path = save(forms.beside(REFERENCE[:3])(images), tmp_path / "study")
    with refused(StudyError, "(0028,0030) PixelSpacing", 1, 2) as caught:
        read_study(path)
    assert [one.option for one in caught.value.remedies] == [None, "series", None]
    assert caught.value.remedies[2].command == f"mmcaf studies {path}"
    assert len(read_study(path, series="2").volume.values) == 3


def test_a_stray_repeated_slice_does_not_split_a_series(tmp_path: Path) -> None:
    """Parts that image types make of it would each be half a chest."""
    images = forms.again(5)(ct_series(REFERENCE))
    for image in images[:1] + images[7:]:
        image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL", "SPI"]
    with refused(StudyError, 1, 13, "IM0000", "IM0006", option="duplicates", value="first"):
        read_study(save(images, tmp_path / "study"))


# Listing

PLAIN = [variant for variant in VARIANTS if not variant.options]


@pytest.mark.parametrize("variant", [one for one in PLAIN if one.expected is None], ids=lambda one: one.id)
def test_a_list_says_what_an_answer_refuses(variant: Variant, tmp_path: Path) -> None:
    path = variant.build(tmp_path)
    try:
        problem = list_series(path).problem
    except StudyError as failure:
        problem = failure.problem
    assert problem is not None
    check_facts(problem, *variant.refused)


SAID = [one for one in PLAIN if (one.warnings or one.remarks) and one.expected is not None and np.ptp(one.expected)]
"""Variants that an answer says something of; one of a single value it refuses."""


@pytest.mark.parametrize("variant", SAID, ids=lambda variant: variant.id)
def test_a_list_says_what_an_answer_remarks_on(variant: Variant, tmp_path: Path) -> None:
    found = list_series(variant.build(tmp_path))
    assert found.problem is None
    said = " ".join([*found.warnings, *found.remarks, *(entry.reason for entry in found.series)])
    expected = [part for part in (*variant.warnings, *variant.remarks) if part != table.CHOSEN]
    assert [part for part in expected if part not in said] == []


def test_a_list_accepts_what_a_policy_accepts(tmp_path: Path) -> None:
    path = save(forms.turn(10)(ct_series(REFERENCE, Modality="MR")), tmp_path / "study")
    assert list_series(path).problem is not None
    assert list_series(path, policies=Policies(oblique="accept")).problem is None


@pytest.mark.parametrize("intensity", [None, "stored"])
def test_a_list_says_that_there_is_nothing_to_be_seen(intensity: Any, tmp_path: Path) -> None:
    """As an answer does, also without a bundle."""
    blank = np.full_like(REFERENCE, 7)
    problem = list_series(save(ct_series(blank), tmp_path / "study"), intensity=intensity).problem
    assert problem is not None
    check_facts(problem, 7 if intensity is None else 7 + 1024, blank.size, "nothing to be seen")


def test_a_list_names_values_that_are_no_numbers(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    values[1, 2, 3] = np.nan
    nib.save(nib.Nifti1Image(values, np.diag([-1.0, 1, 2, 1])), tmp_path / "t2.nii.gz")
    problem = list_series(tmp_path / "t2.nii.gz").problem
    assert problem is not None
    check_facts(problem, "t2.nii.gz", "1 of 20 pixels are NaN or infinite")


def test_a_list_says_what_the_headers_of_others_would_refuse(tmp_path: Path) -> None:
    images = forms.beside(REFERENCE[:9])(ct_series(REFERENCE))
    images = forms.without(15)(images)
    first, second = list_series(save(images, tmp_path / "study")).series
    assert first.chosen and first.refused is None
    assert not second.chosen and second.refused is not None
    check_facts(second.refused, 1, -95, -90, 2.5)


def test_lists_what_could_be_read_and_why(tmp_path: Path) -> None:
    images = ct_series(REFERENCE, ConvolutionKernel="Br40")
    for edit in (
        forms.beside(REFERENCE[:3]),
        forms.beside(REFERENCE[:1], Modality="SR", SeriesInstanceUID="1.2.3", SeriesNumber=9),
    ):
        images = edit(images)
    images[-1].SOPInstanceUID += ".5"
    found = list_series(save(images, tmp_path / "study"), modality="CT")
    assert found.problem is None
    assert found.left_out == {"structured report (SR)": 1}
    first, second = found.series
    assert (first.chosen, second.chosen) == (True, False)
    assert second.reason.startswith("covers 5.0 mm")
    assert (first.slices, first.rows, first.columns) == (12, 32, 34)
    assert first.spacing_mm == (2.5, 0.7, 0.8)
    assert (first.plane, first.kernel, first.original) == ("axial", "Br40", True)


def test_lists_equals_without_a_choice(tmp_path: Path) -> None:
    found = list_series(save(forms.beside(REFERENCE)(ct_series(REFERENCE)), tmp_path / "study"))
    assert [entry.chosen for entry in found.series] == [False, False]
    assert [entry.reason for entry in found.series] == ["as good as number 2", "as good as number 1"]
    assert found.problem is not None
    check_facts(found.problem, 2)


def test_a_foreign_file_that_begins_like_a_data_set_is_skipped(tmp_path: Path) -> None:
    path = save(ct_series(REFERENCE), tmp_path / "study")
    (path / "log.bin").write_bytes(b"\x08\x00\x05\x00CS\x0a\x00" + bytes(range(256)) * 8)
    study = read_study(path)
    assert np.array_equal(study.volume.values, REFERENCE)
    assert study.warnings == ()


def test_any_bytes_without_a_preamble_give_a_study_error(tmp_path: Path) -> None:
    path = sorted(forms.bare(ct_series(REFERENCE[:1]), tmp_path).iterdir())[0]
    sound = path.read_bytes()
    draw = np.random.default_rng(0)
    for _ in range(100):
        damaged = bytearray(sound)
        for at in draw.integers(0, 700, 6):
            damaged[at] = draw.integers(256)
        path.write_bytes(damaged)
        try:
            read_study(path)
        except StudyError as failure:
            assert not [word for word in PHI.values() if word in str(failure)]


def test_positions_beyond_all_numbers_are_refused(tmp_path: Path) -> None:
    images = ct_series(REFERENCE)
    images[3].ImagePositionPatient = [0, 0, 1e308]
    with refused(StudyError, "(0020,0032) ImagePositionPatient", "IM0003", 1e308, 100000):
        read_study(save(images, tmp_path / "study"))


# Oracles

REGULAR = ["plain", "shuffled", "misnumbered", "implicit", "signed-16", "deflated", "oblique-4-degrees"]


@pytest.mark.parametrize("name", REGULAR)
def test_highdicom_finds_the_same_geometry(name: str, tmp_path: Path) -> None:
    spatial = pytest.importorskip("highdicom.spatial", reason="highdicom is an oracle of the dev extra")
    import pydicom

    path = BY_ID[name].build(tmp_path)
    images = [pydicom.dcmread(file) for file in sorted(path.iterdir())]
    spacing, places = spatial.get_series_volume_positions(images)
    volume = read_study(path).volume
    assert spacing == pytest.approx(volume.spacing_mm[0], abs=1e-6)
    lowest = images[places.index(0)] if images[places.index(0)].ImagePositionPatient[2] < -90 else None
    lowest = lowest or images[places.index(len(places) - 1)]
    assert volume.origin_mm == pytest.approx([float(value) for value in lowest.ImagePositionPatient], abs=1e-6)


@pytest.mark.parametrize("name", ["plain", "shuffled", "implicit", "signed-16", "rescale-per-slice", "rle", "jpeg-ls"])
def test_simpleitk_reads_the_same_volume(name: str, tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is an oracle of the dev extra")
    path = BY_ID[name].build(tmp_path)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(path)))
    image = reader.Execute()
    volume = read_study(path).volume
    assert np.array_equal(sitk.GetArrayFromImage(image), volume.values)
    assert image.GetSpacing()[::-1] == pytest.approx(volume.spacing_mm, abs=1e-6)
    assert image.GetOrigin() == pytest.approx(volume.origin_mm, abs=1e-6)


def test_the_warning_of_a_choice_names_both_series(tmp_path: Path) -> None:
    path = save([*ct_series(REFERENCE), ct_slice(REFERENCE[0], series_uid="1.2.9", SeriesNumber=4)], tmp_path / "study")
    write(ct_slice(REFERENCE[0], series_uid="1.2.9", SeriesNumber=4, SOPInstanceUID="1.2.9.7"), path / "same")
    (warning,) = read_study(path).warnings
    check_facts(warning, "series 2", "12 slices", "series 4", "2 slices")
