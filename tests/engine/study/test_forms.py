"""One series in two forms in one folder, and series whose patient nothing says."""

import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset

from dicom_factory import change, ct_series, enhanced_ct, hounsfield, save
from mmcaf_engine.demo.liver import liver_study
from mmcaf_engine.demo.write_mr import write_mr_series, write_nifti
from mmcaf_engine.errors import StudyError
from mmcaf_engine.manifest import Manifest
from mmcaf_engine.study import list_series, open_inputs, read_study
from refusals import check_facts, refused
from tiny_liver import tiny_liver_manifest

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

VALUES = hounsfield(6)
FILES = {name: {"sha256": "0" * 64, "size": 1} for name in ("model.onnx", "golden.npz")}
LIVER = Manifest.model_validate({**tiny_liver_manifest(), "files": FILES})


def multi_frame(values: Any, **elements: Any) -> FileDataset:
    return change(enhanced_ct(values), SeriesInstanceUID="1.2.8", SeriesNumber=8, **elements)


@pytest.mark.parametrize("chosen", [None, "1", "2"])
def test_single_frames_and_an_equal_multi_frame_image_are_one(chosen: str | None, tmp_path: Path) -> None:
    path = save([*ct_series(VALUES), multi_frame(VALUES)], tmp_path / "study")
    study = read_study(path, series=chosen)
    assert np.array_equal(study.volume.values, VALUES) and study.warnings == ()
    assert len(study.remarks) == (chosen is None)
    if chosen is None:
        check_facts(study.remarks[0], "series 8", "number 1", "equal in geometry and every voxel")
    first, second = list_series(path).series
    assert (first.chosen, second.chosen) == (True, False)
    assert second.reason == "number 1 in another form"


def other_voxel() -> FileDataset:
    values = VALUES.copy()
    values[3, 2, 1] += 1
    return multi_frame(values)


def moved() -> FileDataset:
    image = multi_frame(VALUES)
    for frame in image.PerFrameFunctionalGroupsSequence:
        frame.PlanePositionSequence[0].ImagePositionPatient[0] += 1
    return image


def stretched() -> FileDataset:
    """Of wider pixels, about the same first one."""
    image = multi_frame(VALUES)
    for groups in (*image.SharedFunctionalGroupsSequence, *image.PerFrameFunctionalGroupsSequence):
        for measures in groups.get("PixelMeasuresSequence", ()):
            measures.PixelSpacing = [0.75, 0.8]
    return image


def leaning() -> FileDataset:
    """Turned by two degrees about the patient's long axis, about the same first pixels."""
    image = multi_frame(VALUES)
    cosine, sine = np.cos(np.radians(2)), np.sin(np.radians(2))
    for groups in (*image.SharedFunctionalGroupsSequence, *image.PerFrameFunctionalGroupsSequence):
        for orientation in groups.get("PlaneOrientationSequence", ()):
            orientation.ImageOrientationPatient = [cosine, sine, 0, -sine, cosine, 0]
    return image


DIFFERENT = {
    "stretched": stretched,
    "leaning": leaning,
    "one-voxel": other_voxel,
    "another-place": moved,
    "mirrored": lambda: multi_frame(VALUES[:, :, ::-1]),
}


@pytest.mark.parametrize("made", DIFFERENT.values(), ids=DIFFERENT)
def test_what_differs_is_a_candidate_of_its_own(made: Any, tmp_path: Path) -> None:
    path = save([*ct_series(VALUES), made()], tmp_path / "study")
    with refused(StudyError, 2, "series 2", "series 8", option="series", value="1"):
        read_study(path)
    assert [entry.chosen for entry in list_series(path).series] == [False, False]
    assert np.array_equal(read_study(path, series="1").volume.values, VALUES)


def test_another_patients_equal_image_is_no_second_form(tmp_path: Path) -> None:
    path = save([*ct_series(VALUES), multi_frame(VALUES, PatientID="PHI-4712")], tmp_path / "study")
    with refused(StudyError, 2, "patients", option="series"):
        read_study(path)


# DICOM and NIfTI


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patients, each as DICOM and as NIfTI; read it, do not change it."""
    folder = tmp_path_factory.mktemp("liver")
    for seed in (3, 4):
        liver = liver_study(seed, slices=16, size=16)
        write_mr_series(liver, folder / f"dicom-{seed}")
        write_nifti(liver, folder / f"nifti-{seed}")
    return folder


def both(sources: Path, folder: Path, seed: int, *names: str) -> Path:
    """Patient 3 as DICOM, beside NIfTI files of a patient."""
    path = Path(shutil.copytree(sources / "dicom-3", folder / "both"))
    for name in names:
        shutil.copy(sources / f"nifti-{seed}" / f"{name}.nii.gz", path)
    return path


def told(path: Path, series: Any = None) -> tuple[dict[str, str], list[str], list[str]]:
    """Input -> its source, and the warnings and remarks of the first series."""
    with open_inputs(path, LIVER, series=series) as opened:
        facts = opened[0].opened.read()
        return {entry.input: entry.source for entry in opened}, list(facts.warnings), list(facts.remarks)


def test_a_nifti_file_that_is_one_of_the_dicom_series_is_passed_over(sources: Path, tmp_path: Path) -> None:
    found, warnings, remarks = told(both(sources, tmp_path, 3, "t2", "c_a"))
    assert not [source for source in found.values() if source.endswith(".gz")]
    assert not warnings and len(remarks) == 2
    check_facts(" ".join(remarks), "t2.nii.gz", "c_a.nii.gz")


@pytest.mark.parametrize("names", [["t2"], ["dwi", "c_a"], ["t2", "dwi", "c_a"]], ids="+".join)
def test_a_file_of_another_patient_is_never_read_beside_dicom(names: list[str], sources: Path, tmp_path: Path) -> None:
    path = both(sources, tmp_path, 4, *names)
    with refused(StudyError, 2, f"{names[0]}.nii.gz", option="series"):
        told(path)
    listed = list_series(path, modality="MR", inputs=LIVER.series)
    assert listed.problem is not None
    check_facts(listed.problem, names[0])
    assert not [entry for entry in listed.series if entry.chosen and entry.input == names[0]]


def test_a_file_does_not_fill_in_for_a_missing_series(sources: Path, tmp_path: Path) -> None:
    path = both(sources, tmp_path, 4, "t2")
    shutil.rmtree(path / "02-t2")
    with refused(StudyError, "t2.nii.gz", option="series", value="t2=NUMBER"):
        told(path)


def test_a_file_that_the_caller_names_is_warned_of(sources: Path) -> None:
    _, warnings, _ = told(sources / "dicom-3", [f"t2={sources / 'nifti-4' / 't2.nii.gz'}"])
    assert len(warnings) == 1
    check_facts(warnings[0], "t2.nii.gz", "nothing says whose")


def test_files_alone_are_remarked_on(sources: Path) -> None:
    _, warnings, remarks = told(sources / "nifti-3")
    assert not warnings and len(remarks) == 1
    check_facts(remarks[0], "t2.nii.gz", "dwi.nii.gz", "nothing says whose")


def test_dicom_series_without_patient_and_study_are_of_unknown_origin(sources: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(sources / "dicom-3", tmp_path / "dicom"))
    for file in sorted((path / "02-t2").iterdir()):
        image = dcmread(file)
        image.PatientID, image.StudyInstanceUID = "", ""
        image.save_as(file)
    with refused(StudyError, "t2", option="series", value="t2=NUMBER"):
        told(path)


def test_a_nifti_file_of_another_is_no_choice_for_a_network_of_one_series(sources: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(sources / "dicom-3" / "02-t2", tmp_path / "one"))
    with refused(StudyError, 2, "patients", option="series"):
        image = nib.load(sources / "nifti-4" / "t2.nii.gz")
        nib.save(image, path / "scan.nii.gz")
        read_study(path, modality="MR", intensity="rescaled")
