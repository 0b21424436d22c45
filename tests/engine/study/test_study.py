"""One study in all its forms gives one volume; what cannot be the volume is left out or refused."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from dicom_factory import (
    PHI,
    SERIES_UID,
    change,
    ct_series,
    ct_slice,
    enhanced_ct,
    hounsfield,
    save,
    save_dicomdir,
    save_zip,
    write,
)
from mmcaf_engine.errors import StudyError
from mmcaf_engine.study import read_study
from refusals import check_facts, refused

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

VALUES = hounsfield(5, 34, 37)


def refusal(path: Path, **options: Any) -> str:
    """The problem that a study is refused with; nothing of it holds patient data."""
    with refused(StudyError) as caught:
        read_study(path, **options)
    message = str(caught.value)
    assert not [word for word in PHI.values() if word in message]
    assert str(path) in message or path.name in message
    assert caught.value.remedy
    return caught.value.problem


def single_frames(folder: Path) -> Path:
    return save(ct_series(VALUES), folder / "study")


def nested(folder: Path) -> Path:
    images = ct_series(VALUES)
    save(images[:2], folder / "study" / "a", "{}")
    save(images[2:], folder / "study" / "b" / "c", "{}.whatever")
    (folder / "study" / "README.txt").write_text("not an image")
    return folder / "study"


def zipped(folder: Path) -> Path:
    return save_zip(single_frames(folder), folder / "study.zip", prefix="any/../folder/")


def medium(folder: Path) -> Path:
    save(ct_series(VALUES), folder / "IMAGES", "IM{}")
    return save_dicomdir(folder / "DICOMDIR", [("IMAGES", f"IM{number}") for number in range(len(VALUES))])


def lower_case_medium(folder: Path) -> Path:
    save(ct_series(VALUES), folder / "images", "im{}.;1")
    return save_dicomdir(folder / "dicomdir", [("IMAGES", f"IM{number}") for number in range(len(VALUES))])


def folder_with_dicomdir(folder: Path) -> Path:
    return medium(folder).parent


def enhanced_per_frame(folder: Path) -> Path:
    return write(enhanced_ct(VALUES), folder / "enhanced")


def enhanced_shared(folder: Path) -> Path:
    return write(enhanced_ct(VALUES, per_frame=False), folder / "enhanced")


def enhanced_zipped(folder: Path) -> Path:
    return save_zip(save(enhanced_ct(VALUES), folder / "study"), folder / "study.zip")


def reversed_order(folder: Path) -> Path:
    return save(ct_series(VALUES)[::-1], folder / "study")


def misleading_numbers(folder: Path) -> Path:
    images = ct_series(VALUES)
    for image, number in zip(images, (3, 1, 5, 2, 4), strict=True):
        image.InstanceNumber = number
    return save(images, folder / "study")


def stored_feet_up(folder: Path) -> Path:
    """Rows run to the front, columns to the right: the images of a patient turned on the slice's axis."""
    images = ct_series(VALUES[:, ::-1, ::-1])
    for image in images:
        x, y, z = image.ImagePositionPatient
        corner = [x + 0.8 * (VALUES.shape[2] - 1), y + 0.7 * (VALUES.shape[1] - 1), z]
        change(image, ImageOrientationPatient=[-1, 0, 0, 0, -1, 0], ImagePositionPatient=corner)
    return save(images, folder / "study")


def stored_mirrored(folder: Path) -> Path:
    """Seen from the head, as feet-first raw images are: columns run to the patient's right."""
    images = ct_series(VALUES[:, :, ::-1])
    for image in images:
        x, y, z = image.ImagePositionPatient
        corner = [x + 0.8 * (VALUES.shape[2] - 1), y, z]
        change(image, ImageOrientationPatient=[-1, 0, 0, 0, 1, 0], ImagePositionPatient=corner)
    return save(images, folder / "study")


def stored_sideways(folder: Path) -> Path:
    """Rows and columns exchanged."""
    images = ct_series(VALUES.transpose(0, 2, 1))
    for image in images:
        change(image, ImageOrientationPatient=[0, 1, 0, 1, 0, 0], PixelSpacing=[0.8, 0.7])
    return save(images, folder / "study")


def encoded(syntax: str) -> Callable[[Path], Path]:
    def form(folder: Path) -> Path:
        images = ct_series(VALUES)
        for image in images:
            compress(image, syntax)
        return save(images, folder / "study")

    form.__name__ = syntax.keyword  # type: ignore[attr-defined]
    return form


def compress(image: FileDataset, syntax: str) -> None:
    if syntax in (JPEG2000Lossless, JPEGLSLossless, RLELossless):
        pytest.importorskip({JPEG2000Lossless: "openjpeg", JPEGLSLossless: "jpeg_ls"}.get(syntax, "numpy"))
        image.compress(syntax)
        return
    if syntax == ExplicitVRBigEndian:
        image.PixelData = np.frombuffer(image.PixelData, "<u2").astype(">u2").tobytes()
    image.file_meta.TransferSyntaxUID = syntax


def enhanced_compressed(folder: Path) -> Path:
    image = enhanced_ct(VALUES)
    image.compress(RLELossless)
    return write(image, folder / "enhanced")


FORMS = [
    single_frames,
    nested,
    zipped,
    medium,
    lower_case_medium,
    folder_with_dicomdir,
    enhanced_per_frame,
    enhanced_shared,
    enhanced_zipped,
    enhanced_compressed,
    reversed_order,
    misleading_numbers,
    stored_feet_up,
    stored_mirrored,
    stored_sideways,
    *(
        encoded(syntax)
        for syntax in (
            ImplicitVRLittleEndian,
            ExplicitVRBigEndian,
            DeflatedExplicitVRLittleEndian,
            RLELossless,
            JPEGLSLossless,
            JPEG2000Lossless,
        )
    ),
]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_every_form_gives_the_same_volume(form: Callable[[Path], Path], tmp_path: Path) -> None:
    study = read_study(form(tmp_path), modality="CT")
    volume = study.volume
    assert volume.values.dtype == np.int16
    assert np.array_equal(volume.values, VALUES)
    assert volume.values.flags.c_contiguous
    assert volume.intensity == "hounsfield"
    assert volume.spacing_mm == pytest.approx((2.5, 0.7, 0.8))
    assert volume.origin_mm == pytest.approx((-30, -20, -100))
    assert np.allclose(volume.direction, [(0, 0, 1), (0, 1, 0), (1, 0, 0)])
    assert study.modality == "CT"
    assert study.uids["series"] == SERIES_UID
    assert set(study.uids) == {"study", "series", "frame_of_reference"}
    turned = form in (stored_feet_up, stored_mirrored, stored_sideways)
    assert ["rotated or mirrored" in warning for warning in study.warnings] == [True] * turned


def test_progress_counts_files_then_slices(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    read_study(single_frames(tmp_path), progress=lambda *step: seen.append(step))
    assert seen == [(stage, done, 5) for stage in ("read", "decode") for done in range(1, 6)]


def test_a_single_slice_is_a_volume_with_a_warning(tmp_path: Path) -> None:
    study = read_study(write(ct_slice(VALUES[0]), tmp_path / "one.dcm"))
    assert np.array_equal(study.volume.values, VALUES[:1])
    assert study.volume.spacing_mm == (0.0, 0.7, 0.8)
    assert ["a single slice came" in warning for warning in study.warnings] == [True]


def test_a_single_slice_may_lack_its_position(tmp_path: Path) -> None:
    image = ct_slice(VALUES[0], ImagePositionPatient=None, ImageOrientationPatient=None)
    study = read_study(write(image, tmp_path / "one.dcm"))
    assert np.array_equal(study.volume.values, VALUES[:1])
    assert "(0020,0032) ImagePositionPatient is missing" in study.warnings[1]


# Choosing the series


def other_series(values: NDArray[Any], number: int, **elements: Any) -> list[FileDataset]:
    return ct_series(values, series_uid=f"{SERIES_UID}.{number}", SeriesNumber=number, **elements)


NOT_THE_VOLUME = {
    "localizer": {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
    "secondary capture": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"},
    "structured report": {"Modality": "SR"},
    "segmentation": {"Modality": "SEG"},
    "structure set": {"Modality": "RTSTRUCT"},
    "key object selection": {"Modality": "KO"},
    "presentation state": {"Modality": "PR"},
    "non-image object": {"PixelData": None, "SOPClassUID": "1.2.840.10008.5.1.4.1.1.66"},
    "colour image": {"SamplesPerPixel": 3},
}


@pytest.mark.parametrize("what", NOT_THE_VOLUME)
def test_leaves_out_what_cannot_be_the_volume(what: str, tmp_path: Path) -> None:
    folder = save(ct_series(VALUES), tmp_path / "study")
    save(other_series(VALUES[:1], 9, **NOT_THE_VOLUME[what]), folder / "more")
    study = read_study(folder, modality="CT")
    assert np.array_equal(study.volume.values, VALUES)
    assert study.warnings == ()


@pytest.mark.parametrize("what", NOT_THE_VOLUME)
def test_refuses_a_study_without_a_volume(what: str, tmp_path: Path) -> None:
    path = save(other_series(VALUES[:2], 9, **NOT_THE_VOLUME[what]), tmp_path / "study")
    check_facts(refusal(path, modality="CT"), 2, f"{what}s")


def test_leaves_out_a_localizer_of_the_same_series(tmp_path: Path) -> None:
    localizer = ct_slice(hounsfield(1, 9, 5)[0], 50, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    study = read_study(save([localizer, *ct_series(VALUES)], tmp_path / "study"))
    assert np.array_equal(study.volume.values, VALUES)


def test_refuses_equally_good_series_and_lists_them(tmp_path: Path) -> None:
    folder = save(ct_series(VALUES), tmp_path / "study")
    save(
        other_series(hounsfield(5, 8, 8), 7, SeriesDescription="Lung\x1b[2J", ConvolutionKernel="Br64"), folder / "more"
    )
    with refused(StudyError, 2, option="series", value="1") as caught:
        read_study(folder, modality="CT")
    *_, first, second = (line for line in caught.value.problem.splitlines() if SERIES_UID in line)
    check_facts(first, 1, "series 2", "CT", "5 slices", "34 x 37", 2.5, "Chest")
    check_facts(second, 2, "series 7", "CT", "5 slices", "8 x 8", 2.5, "Lung [2J", "Br64", f"{SERIES_UID}.7")


@pytest.mark.parametrize("series", ["2", f"{SERIES_UID}.7"], ids=["by-number", "by-uid"])
def test_reads_the_series_that_was_asked_for(series: str, tmp_path: Path) -> None:
    folder = save(ct_series(VALUES), tmp_path / "study")
    wanted = hounsfield(3, 8, 8)
    save(other_series(wanted, 7), folder / "more")
    study = read_study(folder, modality="CT", series=series)
    assert np.array_equal(study.volume.values, wanted)
    assert study.warnings == ()


def test_refuses_a_series_that_is_not_there(tmp_path: Path) -> None:
    check_facts(refusal(single_frames(tmp_path), series="3"), "series 3", 1, "series 2", "CT", "5 slices")


def test_refuses_a_series_that_is_no_volume(tmp_path: Path) -> None:
    folder = single_frames(tmp_path)
    save(other_series(VALUES[:1], 9, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), folder / "more")
    check_facts(refusal(folder, series=f"{SERIES_UID}.9"), "localizer")


def test_another_modality_is_left_out_with_a_warning(tmp_path: Path) -> None:
    folder = save(ct_series(VALUES), tmp_path / "study")
    save(other_series(VALUES[:3], 8, Modality="PT"), folder / "more")
    study = read_study(folder, modality="CT")
    assert np.array_equal(study.volume.values, VALUES)
    assert study.warnings == (
        f"{folder}: read series 2, CT, 5 slices of 34 x 37, 2.50 mm apart; left out series 8, PT, 3 slices of 34 x 37, "
        "2.50 mm apart (PT, not CT). To read another, name it.",
    )


def test_a_coronal_series_is_left_out_with_a_warning(tmp_path: Path) -> None:
    folder = save(ct_series(VALUES), tmp_path / "study")
    coronal = other_series(VALUES[:3], 8)
    for index, image in enumerate(coronal):
        change(image, ImageOrientationPatient=[1, 0, 0, 0, 0, -1], ImagePositionPatient=[0, 2.5 * index, 0])
    save(coronal, folder / "more")
    study = read_study(folder, modality="CT")
    assert np.array_equal(study.volume.values, VALUES)
    assert "coronal" in study.warnings[0]


def test_refuses_an_mr_study_for_a_ct_network(tmp_path: Path) -> None:
    path = save(ct_series(VALUES, Modality="MR"), tmp_path / "study")
    check_facts(refusal(path, modality="CT"), "MR", "CT")
    assert read_study(path, modality="MR").modality == "MR"


def test_same_positions_are_told_apart_by_image_type(tmp_path: Path) -> None:
    folder = save(ct_series(VALUES), tmp_path / "study")
    energies = ct_series(VALUES + 1, ImageType=["ORIGINAL", "PRIMARY", "AXIAL", "MONO"])
    for image in energies:
        image.SOPInstanceUID += ".2"
    save(energies, folder / "more")
    check_facts(refusal(folder), 2, "5 slices", SERIES_UID)
    assert np.array_equal(read_study(folder, series="1").volume.values, VALUES)
    assert np.array_equal(read_study(folder, series="2").volume.values, VALUES + 1)
    check_facts(refusal(folder, series=SERIES_UID), SERIES_UID, "several")


def test_image_types_alone_do_not_split_a_series(tmp_path: Path) -> None:
    images = ct_series(VALUES)
    images[2].ImageType = ["ORIGINAL", "PRIMARY", "AXIAL", "SPI"]
    assert np.array_equal(read_study(save(images, tmp_path / "study")).volume.values, VALUES)


def test_refuses_two_patients_in_one_series(tmp_path: Path) -> None:
    images = ct_series(VALUES)
    images[3].PatientID = "PHI-4712"
    check_facts(refusal(save(images, tmp_path / "study")), 2, "(0010,0020) PatientID")


def test_one_unreadable_slice_refuses_its_series_but_no_other(tmp_path: Path) -> None:
    images = ct_series(VALUES)
    images[4].PixelSpacing = 0.7
    folder = save(images, tmp_path / "study")
    check_facts(refusal(folder), "(0028,0030) PixelSpacing", 1, 2)
    wanted = hounsfield(3, 8, 8)
    save(other_series(wanted, 7), folder / "more")
    assert np.array_equal(read_study(folder, series="2").volume.values, wanted)


# Multi-frame files


def test_refuses_frames_without_functional_groups(tmp_path: Path) -> None:
    image = enhanced_ct(VALUES, SharedFunctionalGroupsSequence=None, PerFrameFunctionalGroupsSequence=None)
    check_facts(refusal(write(image, tmp_path / "cine")), 5, "(5200,9230)")


def test_refuses_fewer_functional_groups_than_frames(tmp_path: Path) -> None:
    image = enhanced_ct(VALUES)
    del image.PerFrameFunctionalGroupsSequence[2]
    check_facts(refusal(write(image, tmp_path / "enhanced")), 5, "(0028,0008) NumberOfFrames", 4)


def test_frames_may_come_in_any_order(tmp_path: Path) -> None:
    image = enhanced_ct(VALUES[[3, 0, 4, 1, 2]])
    for item, index in zip(image.PerFrameFunctionalGroupsSequence, (3, 0, 4, 1, 2), strict=True):
        item.PlanePositionSequence[0].ImagePositionPatient = [-30, -20, -100 + 2.5 * index]
    assert np.array_equal(read_study(write(image, tmp_path / "enhanced")).volume.values, VALUES)


def test_a_frame_without_position_is_refused_by_number(tmp_path: Path) -> None:
    image = enhanced_ct(VALUES)
    del image.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence
    message = refusal(write(image, tmp_path / "enhanced"))
    check_facts(message, "(0020,0032) ImagePositionPatient", 1, 5, "enhanced frame 3")


def test_a_frame_takes_its_own_value_before_the_shared_one(tmp_path: Path) -> None:
    image = enhanced_ct(VALUES, per_frame=False)
    own = enhanced_ct(VALUES).PerFrameFunctionalGroupsSequence[1].PixelValueTransformationSequence
    own[0].RescaleIntercept = -1000
    image.PerFrameFunctionalGroupsSequence[1].PixelValueTransformationSequence = own
    expected = VALUES.copy()
    expected[1] += 24
    assert np.array_equal(read_study(write(image, tmp_path / "enhanced")).volume.values, expected)


# The medium


def test_refuses_a_medium_that_lacks_listed_images(tmp_path: Path) -> None:
    path = medium(tmp_path)
    (tmp_path / "IMAGES" / "IM2").unlink()
    check_facts(refusal(path), 1, 5)


@pytest.mark.parametrize("file_id", [("..", "secret"), ("IMAGES", "../../secret"), ("/etc/passwd",), ("",)])
def test_refuses_a_medium_that_points_elsewhere(file_id: tuple[str, ...], tmp_path: Path) -> None:
    write(ct_slice(VALUES[0]), tmp_path / "secret")
    (tmp_path / "medium").mkdir()
    check_facts(refusal(save_dicomdir(tmp_path / "medium" / "DICOMDIR", [file_id])), "(0004,1500) ReferencedFileID")


def test_refuses_a_medium_whose_link_points_elsewhere(tmp_path: Path) -> None:
    write(ct_slice(VALUES[0]), tmp_path / "secret")
    (tmp_path / "medium").mkdir()
    (tmp_path / "medium" / "IM1").symlink_to(tmp_path / "secret")
    check_facts(refusal(save_dicomdir(tmp_path / "medium" / "DICOMDIR", [("IM1",)])), 1)


def test_a_copied_tree_reads_alike(tmp_path: Path) -> None:
    shutil.copytree(single_frames(tmp_path), tmp_path / "copy")
    first, second = read_study(tmp_path / "study"), read_study(tmp_path / "copy")
    assert np.array_equal(first.volume.values, second.volume.values)
    assert first.uids == second.uids
