"""What a network sees of a study, in memory or of files: windows, remarks, and how its making is followed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from dicom_factory import SERIES_UID, ct_series, hounsfield, save
from mmcaf_engine.errors import MmcafError, RecordError, StudyError, UsageError
from mmcaf_engine.inputs.listing import list_study
from mmcaf_engine.inputs.prepare import Prepared, prepare
from mmcaf_engine.manifest import Manifest
from mmcaf_engine.volume import PatientHeader, Study, Volume
from refusals import refused
from study_edits import turn
from tiny_bundle import SIZE, SLICES, tiny_manifest
from tiny_image import TABLE, tiny_image_manifest
from tiny_liver import INPUTS, tiny_liver_manifest

FILES = {name: {"sha256": "0" * 64, "size": 0} for name in ("model.onnx", "golden.npz")}
LUNG, LIVER, RADIOGRAPH = (
    Manifest.model_validate({**fields, "files": FILES})
    for fields in (tiny_manifest(), tiny_liver_manifest(), tiny_image_manifest())
)
RECORD = {"sex": "F", "age": 63}


def chest(slices: int = 2 * SLICES) -> Volume:
    return Volume(hounsfield(slices, SIZE, SIZE), "hounsfield", (2.5, 0.7, 0.7))


def phases(**warnings: tuple[str, ...]) -> dict[str, Study]:
    """For each input a study of other slices, with these warnings."""
    generator = np.random.default_rng(3)
    found = {}
    for at, name in enumerate(INPUTS):
        values = generator.integers(0, 900, (8 + 2 * at, 12, 10)).astype(np.int16)
        volume = Volume(values, "rescaled", (24.0 / (8 + 2 * at), 1.0, 1.0))
        found[name] = Study(volume, "MR", {}, PatientHeader(), warnings.get(name, ()))
    return found


@pytest.mark.parametrize(("stride", "starts"), [(None, (0, 4)), (1, (0, 1, 2, 3, 4)), (3, (0, 3, 4)), (SLICES, (0, 4))])
def test_windows_at_the_stride_that_is_asked_for(stride: int | None, starts: tuple[int, ...]) -> None:
    prepared = prepare(chest(), RECORD, LUNG, stride=stride)
    assert prepared.starts == starts and len(prepared) == len(starts)
    for at in range(len(starts)):
        assert prepared.inputs(at, LUNG)["image"].shape == (1, 1, SLICES, SIZE, SIZE)


@pytest.mark.parametrize("stride", [0, -1, SLICES + 1])
def test_a_stride_that_would_skip_slices(stride: int) -> None:
    with pytest.raises(UsageError):
        prepare(chest(), RECORD, LUNG, stride=stride)


def test_slices_of_all_series_are_counted_together(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    prepare(phases(), None, LIVER, progress=lambda *said: told.append(said))
    assert told == [("decode", 8, 30), ("decode", 18, 30), ("decode", 30, 30)]
    told.clear()
    path = save(ct_series(hounsfield(5, SIZE, SIZE)), tmp_path / "study")
    prepare(path, RECORD, LUNG, progress=lambda *said: told.append(said))
    for stage in ("read", "decode"):
        assert [said[1:] for said in told if said[0] == stage] == [(done, 5) for done in range(1, 6)]


LEANING = (
    (0.0, -np.sin(np.radians(12)), np.cos(np.radians(12))),
    (0.0, np.cos(np.radians(12)), np.sin(np.radians(12))),
)


def leaning_phases(folder: Path | None) -> Any:
    """Phases that lean by 12 degrees, in memory or as NIfTI files."""
    found = {
        name: replace(study, volume=replace(study.volume, direction=(*LEANING, (1.0, 0.0, 0.0))))
        for name, study in phases().items()
    }
    if folder is None:
        return found
    for name, study in found.items():
        affine = np.eye(4)
        axes = np.array(study.volume.direction)[::-1] * np.array(study.volume.spacing_mm)[::-1, np.newaxis]
        affine[:3, :3] = np.diag([-1, -1, 1]) @ axes.T
        nib.save(nib.Nifti1Image(study.volume.values.transpose(2, 1, 0), affine), folder / f"{name}.nii.gz")
    return folder


@pytest.mark.parametrize("files", [False, True], ids=["memory", "files"])
def test_oblique_slices_are_accepted_by_the_manifest_or_the_caller(files: bool, tmp_path: Path) -> None:
    study = leaning_phases(tmp_path if files else None)
    usual = LIVER.of_volumes.model_copy(update={"oblique": "accept"})
    accepting = LIVER.model_copy(update={"preprocessing": usual})
    for manifest, oblique in ((LIVER, None), (LIVER, "refuse"), (accepting, "refuse")):
        with refused(StudyError, "12.0 degrees", 5, option="oblique", value="accept"):
            prepare(study, None, manifest, oblique=oblique)
    prepared = prepare(study, None, LIVER, oblique="accept")
    assert len(prepared.study_warnings) == len(INPUTS)
    assert all("12.0 degrees" in warning for warning in prepared.study_warnings)


@pytest.mark.parametrize("files", [False, True], ids=["memory", "files"])
@pytest.mark.parametrize("asked", [None, "accept"])
def test_what_the_network_takes_is_a_remark(files: bool, asked: Any, tmp_path: Path) -> None:
    """Nothing is irregular about slices that the manifest accepts, so that `strict` refuses none."""
    usual = LIVER.of_volumes.model_copy(update={"oblique": "accept"})
    accepting = LIVER.model_copy(update={"preprocessing": usual})
    study = leaning_phases(tmp_path if files else None)
    prepared = prepare(study, None, accepting, oblique=asked)
    assert prepared.study_warnings == ()
    assert len([remark for remark in prepared.remarks if "12.0 degrees" in remark]) == len(INPUTS)


def test_dicom_slices_that_the_network_takes_are_a_remark(tmp_path: Path) -> None:
    manifest = Manifest.model_validate({**tiny_manifest(), "files": FILES})
    usual = manifest.of_volumes.model_copy(update={"modality": "MR", "intensity": "rescaled", "oblique": "accept"})
    accepting = manifest.model_copy(update={"preprocessing": usual})
    path = save(turn(12)(ct_series(hounsfield(5, SIZE, SIZE), Modality="MR")), tmp_path / "study")
    prepared = prepare(path, RECORD, accepting)
    assert [warning for warning in prepared.study_warnings if "oblique" in warning] == []
    assert [remark for remark in prepared.remarks if "12.0 degrees" in remark]
    listed = list_study(path, manifest=accepting)
    assert [warning for warning in listed.warnings if "oblique" in warning] == []
    assert [remark for remark in listed.remarks if "12.0 degrees" in remark]


def test_oblique_slices_are_for_networks_of_mr(tmp_path: Path) -> None:
    with refused(UsageError, "oblique", "MR", "CT", option="oblique"):
        prepare(chest(), RECORD, LUNG, oblique="accept")
    assert len(prepare(chest(), RECORD, LUNG, oblique="refuse")) == 2
    fields = tiny_manifest()
    fields["preprocessing"]["oblique"] = "accept"
    with pytest.raises(ValueError, match="of MR, not of CT"):
        Manifest.model_validate({**fields, "files": FILES})


@pytest.mark.parametrize("value", [0, -1000, 7])
def test_a_volume_of_one_value_is_refused(value: int, tmp_path: Path) -> None:
    blank = np.full((2 * SLICES, SIZE, SIZE), value, np.int16)
    path = save(ct_series(blank), tmp_path / "study")
    for study, name in ((path, SERIES_UID), (Volume(blank, "hounsfield", (2.5, 0.7, 0.7)), "given")):
        with refused(StudyError, "image", name, value, 2 * SLICES * SIZE * SIZE):
            prepare(study, RECORD, LUNG)
    spot = blank.copy()
    spot[-1, -1, -1] += 1
    assert len(prepare(Volume(spot, "hounsfield", (2.5, 0.7, 0.7)), RECORD, LUNG)) == 2


def test_of_several_inputs_the_blank_one_is_named(tmp_path: Path) -> None:
    given = phases()
    blank = np.zeros_like(given["dwi"].volume.values)
    given["dwi"] = replace(given["dwi"], volume=replace(given["dwi"].volume, values=blank))
    with refused(StudyError, "dwi", 0):
        prepare(given, None, LIVER)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named_with_file_and_input(value: float, tmp_path: Path) -> None:
    for name, study in phases().items():
        values = study.volume.values.astype(np.float32).transpose(2, 1, 0)  # to left, back and head
        if name == "dwi":
            values[1, 2, 3] = value
        spacing = study.volume.spacing_mm
        image = nib.Nifti1Image(values, np.diag([-spacing[2], -spacing[1], spacing[0], 1.0]))
        nib.save(image, tmp_path / f"{name}.nii.gz")
    with refused(StudyError, "dwi", "dwi.nii.gz", "slice 4 of 10", 1, "NaN"):
        prepare(tmp_path, None, LIVER)


def test_of_several_series_each_remark_says_which_it_is_about() -> None:
    prepared = prepare(phases(dwi=("odd.",), c_a=("late.", "odd.")), None, LIVER)
    assert prepared.study_warnings == ("dwi: odd.", "c_a: late.", "c_a: odd.")
    alone = Study(chest(), "CT", {}, PatientHeader(), ("odd.",))
    assert prepare(alone, RECORD, LUNG).study_warnings == ("odd.",)


@pytest.mark.parametrize("named", INPUTS)
def test_a_record_is_compared_with_whichever_series_says_whose_it_is(named: str) -> None:
    """A series of a file that says nothing may be read beside those of a patient, and may be the first."""
    fields = tiny_liver_manifest()
    table = {"name": "table", "kind": "table", "shape": ["N", 1]}
    both = Manifest.model_validate(
        {**fields, "inputs": [*fields["inputs"], table], "table": TABLE, "identity": "optional", "files": FILES}
    )
    study = phases()
    study[named] = replace(study[named], patient=PatientHeader(patient_id="A", age=30.0))
    with refused(RecordError, "(0010,0020)", "different patients", option="allow_id_mismatch"):
        prepare(study, {"age": 63, "patient_id": "B"}, both)
    prepared = prepare(study, {"age": 63, "patient_id": "A"}, both)
    assert prepared.clinical.identity == "matched"
    assert [warning for warning in prepared.record_warnings if "PatientAge" in warning]


def test_the_study_is_accepted_once_and_only_when_all_else_is_in_order() -> None:
    accepted: list[int] = []

    def prepared(study: Any, record: Any, manifest: Manifest, **options: Any) -> Prepared:
        return prepare(study, record, manifest, accepted=lambda: accepted.append(1), **options)

    prepared(chest(), RECORD, LUNG)
    prepared(phases(), None, LIVER)
    assert accepted == [1, 1]
    refused: list[tuple[Any, Any, Manifest, dict[str, Any]]] = [
        (chest(), {"sex": "F"}, LUNG, {}),
        (chest(), None, LUNG, {}),
        (chest(), RECORD, LUNG, {"stride": 0}),
        (chest(), RECORD, LUNG, {"slices": "3-9"}),
        (phases(), None, LIVER, {"slices": "1-2"}),
        (None, RECORD, LUNG, {}),
        (chest(0), RECORD, LUNG, {}),
        (chest(), None, RADIOGRAPH, {}),
        ("missing.png", None, RADIOGRAPH, {"stride": 1}),
        ("missing.png", None, RADIOGRAPH, {"gaps": "interpolate"}),
    ]
    for study, record, manifest, options in refused:
        with pytest.raises(MmcafError):
            prepared(study, record, manifest, **options)
    assert accepted == [1, 1]


@pytest.mark.parametrize(
    "option",
    [
        {"stride": 1},
        {"slices": "1-2"},
        {"gaps": "interpolate"},
        {"tilt": "resample"},
        {"duplicates": "first"},
        {"oblique": "accept"},
    ],
)
def test_options_of_volumes_are_refused_before_an_image_is_looked_for(option: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=next(iter(option))):
        prepare(tmp_path / "missing.png", None, RADIOGRAPH, **option)
