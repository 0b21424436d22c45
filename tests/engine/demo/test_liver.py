"""Synthetic liver studies: seeded, learnable, of known lesions, and the same voxels in every form."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from pydicom import dcmread

from mmcaf_engine.demo.liver import LIVER_LABELS, PHASES, LiverStudy, liver_patient, liver_study
from mmcaf_engine.demo.liver_anatomy import Grid
from mmcaf_engine.demo.write_mr import write_mr_series, write_nifti
from mmcaf_engine.study import read_study

SIZE = 48


def lesion_and_liver(study: LiverStudy) -> tuple[dict[str, float], dict[str, float]]:
    """Mean signal of each phase in the lesion's core, and in liver around it."""
    slices, rows, _ = study.volumes["t2"].shape
    grid = Grid.centred(slices, rows, study.spacing_mm)
    z, y, x = study.patient.lesion.centre_mm
    radius = study.patient.lesion.radius_mm
    away = np.sqrt((grid.z - z) ** 2 + (grid.y - y) ** 2 + (grid.x - x) ** 2)
    core = away < 0.55 * radius
    if not core.any():
        return (dict.fromkeys(PHASES, np.nan),) * 2  # smaller than a voxel
    around = (away > 1.3 * radius) & (away < 2.2 * radius) & (study.patient.person.liver(grid) < -3)
    return (
        {name: float(volume[core].mean()) for name, volume in study.volumes.items()},
        {name: float(np.median(volume[around])) for name, volume in study.volumes.items()},
    )


def contrasts(kind: int, seeds: range = range(60, 72)) -> dict[str, float]:
    """Lesion over liver in each phase, the median of several studies."""
    ratios = []
    for seed in seeds:
        study = liver_study(seed, slices=24, size=SIZE, label=kind)
        if study.patient.lesion.radius_mm < 18:
            continue
        core, liver = lesion_and_liver(study)
        ratios.append({name: core[name] / liver[name] for name in PHASES})
    return {name: float(np.median([ratio[name] for ratio in ratios])) for name in PHASES}


def test_a_seed_fixes_everything() -> None:
    first, again, other = (liver_study(seed, slices=16, size=32) for seed in (7, 7, 8))
    for name in PHASES:
        assert first.volumes[name].tobytes() == again.volumes[name].tobytes()
        assert first.volumes[name].tobytes() != other.volumes[name].tobytes()
    assert first.patient == again.patient == liver_patient(7)


def test_the_anatomy_does_not_depend_on_the_grid() -> None:
    coarse, fine = liver_study(7, slices=16, size=32), liver_study(7, slices=16, size=64)
    assert coarse.patient == fine.patient
    for name in PHASES:
        shrunk = fine.volumes[name].reshape(16, 32, 2, 32, 2).mean(axis=(2, 4))
        assert np.corrcoef(shrunk.ravel(), coarse.volumes[name].ravel())[0, 1] > 0.97
    ratio = np.add(fine.lesion_index[1:], 0.5) / np.add(coarse.lesion_index[1:], 0.5)
    assert ratio == pytest.approx(2, rel=1e-6)


def test_every_kind_occurs_about_as_often() -> None:
    counts = np.bincount([liver_patient(seed).lesion.kind for seed in range(350)], minlength=7)
    assert len(LIVER_LABELS) == len(counts) == 7 and counts.min() > 30


def test_a_label_can_be_asked_for() -> None:
    assert [liver_patient(3, label=kind).lesion.kind for kind in range(7)] == list(range(7))
    assert len({liver_patient(3, label=kind).lesion.centre_mm for kind in range(7)}) == 1
    with pytest.raises(ValueError, match="expected 0 to 6"):
        liver_patient(3, label=7)
    with pytest.raises(ValueError, match="at least 16 each"):
        liver_study(3, slices=8)


@pytest.mark.parametrize("seed", range(20, 32))
def test_the_lesion_lies_in_the_liver(seed: int) -> None:
    patient = liver_patient(seed)
    z, y, x = patient.lesion.centre_mm
    point = Grid(*(np.full((1, 1, 1), value, np.float32) for value in (z, y, x)), 1.0)
    assert float(patient.person.liver(point).item()) < -patient.lesion.radius_mm
    study = liver_study(seed, slices=16, size=32)
    assert all(0 <= at < n for at, n in zip(study.lesion_index, study.volumes["t2"].shape, strict=True))


# Lesion over liver: phases that must be clearly above it, and clearly below it.
LOOKS = {
    0: ({"t2", "dwi", "c_a"}, {"c_v", "c_delay", "out_phase"}),
    1: ({"t2", "dwi", "c_delay"}, {"c_a", "c_v", "in_phase"}),
    2: ({"t2"}, {"c_pre", "c_a", "c_v", "c_delay"}),
    3: ({"c_a"}, set()),
    4: ({"t2", "dwi"}, {"c_a", "c_v", "c_delay", "c_pre"}),
    5: ({"t2", "dwi", "c_delay"}, {"c_a", "c_v", "c_pre"}),
    6: ({"in_phase", "c_a"}, {"out_phase"}),
}


@pytest.mark.parametrize("kind", LOOKS)
def test_a_kind_looks_as_the_textbooks_say(kind: int) -> None:
    found, (above, below) = contrasts(kind), LOOKS[kind]
    assert {name for name in above if found[name] < 1.1} == set(), found
    assert {name for name in below if found[name] > 0.95} == set(), found


def test_kinds_can_be_told_apart_by_their_signals() -> None:
    """The nearest mean of other studies names most lesions, but not all: contrasts differ and noise remains."""
    looks = []
    for seed in range(100, 170):
        study = liver_study(seed, slices=16, size=32, label=seed % 7)
        core, liver = lesion_and_liver(study)
        looks.append([np.log(core[name] / liver[name]) for name in PHASES])
    features, kinds = np.array(looks), np.arange(100, 170) % 7
    usable = np.isfinite(features).all(axis=1)
    train, test = usable & (np.arange(70) < 42), usable & (np.arange(70) >= 42)
    means = np.stack([np.median(features[train & (kinds == kind)], axis=0) for kind in range(7)])
    said = np.abs(features[test][:, np.newaxis] - means).sum(axis=2).argmin(axis=1)
    assert (said == kinds[test]).mean() > 0.6


def test_dicom_holds_the_voxels_and_says_what_each_phase_is(tmp_path: Path) -> None:
    study = liver_study(2, slices=16, size=20)
    folders = write_mr_series(study, tmp_path)
    assert [folder.name for folder in folders] == [
        *("02-t2", "03-dwi", "04-in_phase", "05-out_phase", "06-c_pre", "07-c_a", "08-c_v", "09-c_delay")
    ]
    studies, frames, times = set(), set(), []
    for folder in folders:
        phase = folder.name[3:]
        read = read_study(folder, intensity="rescaled", modality="MR")
        assert np.array_equal(read.volume.values, study.volumes[phase]) and not read.warnings
        assert read.spacing_mm == pytest.approx(study.spacing_mm)
        first = dcmread(folder / "slice-001.dcm")
        studies.add(first.StudyInstanceUID)
        frames.add(first.FrameOfReferenceUID)
        times.append(first.AcquisitionTime)
        assert ("ContrastBolusAgent" in first) == (phase in ("c_a", "c_v", "c_delay"))
        assert ("DiffusionBValue" in first) == (phase == "dwi")
    assert len(studies) == len(frames) == 1 and times == sorted(times)


def test_the_volumes_centre_is_the_origin_in_both_forms(tmp_path: Path) -> None:
    study = liver_study(3, slices=16, size=32)
    centre = np.array([15.5, 15.5, 7.5])
    for file in write_nifti(study, tmp_path / "nifti"):
        affine = nibabel.load(file).affine
        np.testing.assert_allclose(affine @ [*centre, 1], [0, 0, 0, 1], atol=1e-3)
        np.testing.assert_allclose(np.diag(affine)[:3], [-11.625, 11.625, 12.0])
    for folder in write_mr_series(study, tmp_path / "dicom"):
        corner = np.array(dcmread(min(folder.iterdir())).ImagePositionPatient, np.float64)
        np.testing.assert_allclose(corner + centre * [11.625, 11.625, 12.0], 0, atol=1e-3)


def test_files_repeat_byte_for_byte_at_any_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = liver_study(2, slices=16, size=20)
    for name, seconds in (("first", 1e9), ("again", 1.5e9)):
        monkeypatch.setattr("time.time", lambda seconds=seconds: seconds)
        write_mr_series(study, tmp_path / name / "dicom")
        write_nifti(study, tmp_path / name / "nifti")
    files = sorted(path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*.*") if path.is_file())
    assert len(files) == 8 * 16 + 8
    for file in files:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()
