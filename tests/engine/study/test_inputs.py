"""A series for every input: how a caller names them, and what volumes in memory must agree on."""

from dataclasses import replace
from typing import Any

import pytest

from dicom_factory import hounsfield
from mmcaf_engine.errors import MmcafError, StudyError, UsageError
from mmcaf_engine.manifest import Manifest
from mmcaf_engine.study import Policies, open_inputs
from mmcaf_engine.study.selection.inputs import Series, check_one_patient, choices
from mmcaf_engine.study.selection.matching import AS_ASKED, Match
from mmcaf_engine.study.selection.series import Candidate
from mmcaf_engine.volume import PatientHeader, Study, Volume
from tiny_bundle import tiny_manifest
from tiny_liver import INPUTS, tiny_liver_manifest

FILES = {name: {"sha256": "0" * 64, "size": 0} for name in ("model.onnx", "golden.npz")}
RULE = {"accepted": ["CHEST"], "refused": ["HEAD"]}
LIVER = Manifest.model_validate({**tiny_liver_manifest(), "files": FILES})
LUNG = Manifest.model_validate({**tiny_manifest(), "files": FILES, "body_part": RULE})
VOLUME = Volume(hounsfield(8, 12, 10), "rescaled", (3.0, 1.0, 1.0))
CHEST = Study(Volume(hounsfield(4), "hounsfield", (3.0, 1.0, 1.0)), "CT", {"series": "1.2"}, PatientHeader())


@pytest.mark.parametrize(
    ("series", "inputs", "wanted"),
    [
        (None, ["a"], {}),
        ("3", ["a"], {"a": "3"}),
        ("a=3", ["a"], {"a": "3"}),
        ("1.2=3", ["a"], {"a": "1.2=3"}),
        (["a=3", "b=1.2"], ["a", "b"], {"a": "3", "b": "1.2"}),
        ("b=x=y", ["a", "b"], {"b": "x=y"}),
        ({"b": "3"}, ["a", "b"], {"b": "3"}),
        ([], ["a", "b"], {}),
    ],
)
def test_choices_by_input(series: Series | None, inputs: list[str], wanted: dict[str, str]) -> None:
    assert choices(series, inputs) == wanted


@pytest.mark.parametrize("series", ["3", "c=3", ["a=1", "a=2"], {"c": "1"}, ["a=1", "3"]], ids=str)
def test_choices_of_no_input(series: Series) -> None:
    with pytest.raises(UsageError):
        choices(series, ["a", "b"])


def phases(**changes: dict[str, Any]) -> dict[str, Study]:
    plain = Study(VOLUME, "MR", {}, PatientHeader())
    return {name: replace(plain, **changes.get(name, {})) for name in INPUTS}


FIRST, SECOND, _ = INPUTS
OF_A, OF_B = PatientHeader(patient_id="A"), PatientHeader(patient_id="B")
ELSEWHERE = replace(VOLUME, origin_mm=(0.0, 0.0, 20.0))
TURNED = replace(VOLUME, direction=((0.0, 0.0, 1.0), (0.15, 0.988686, 0.0), (0.988686, -0.15, 0.0)))


@pytest.mark.parametrize(
    "study",
    [
        phases(),
        phases(**{FIRST: {"patient": OF_A}, SECOND: {"patient": OF_A}}),
        phases(**{FIRST: {"patient": OF_A, "uids": {"study": "1"}}}),
    ],
    ids=["unnamed", "of-one-patient", "one-named"],
)
def test_volumes_of_one_study(study: dict[str, Study]) -> None:
    with open_inputs(study, LIVER) as opened:
        assert [entry.input for entry in opened] == list(INPUTS)


@pytest.mark.parametrize(
    ("known", "warned"),
    [({}, 0), ({"patient": OF_A}, 2), ({"uids": {"study": "1"}}, 2)],
    ids=["none", "patient", "study"],
)
def test_volumes_whose_patient_nothing_says(known: dict[str, Any], warned: int) -> None:
    with open_inputs(phases(**{FIRST: known}), LIVER) as opened:
        said = [entry.opened.read().warnings for entry in opened]
    assert [len(warnings) for warnings in said] == [0, *(bool(warned) for _ in range(2))]


@pytest.mark.parametrize(
    ("study", "options", "error"),
    [
        (phases(**{FIRST: {"patient": OF_A}, SECOND: {"patient": OF_B}}), {}, StudyError),
        (phases(**{FIRST: {"uids": {"study": "1"}}, SECOND: {"uids": {"study": "2"}}}), {}, StudyError),
        (phases(**{SECOND: {"volume": ELSEWHERE}}), {}, StudyError),
        (phases(**{SECOND: {"volume": TURNED}}), {}, StudyError),
        (phases(), {"series": {FIRST: "1"}}, UsageError),
        (phases(), {"policies": Policies(gaps="interpolate")}, UsageError),
        (phases(), {"policies": Policies(tilt="resample")}, UsageError),
        (phases(), {"policies": Policies(duplicates="first")}, UsageError),
    ],
    ids=["patients", "studies", "elsewhere", "turned", "series", "gaps", "tilt", "duplicates"],
)
def test_volumes_that_are_refused(study: dict[str, Study], options: dict[str, Any], error: type[MmcafError]) -> None:
    with pytest.raises(error), open_inputs(study, LIVER, **options):
        pass


@pytest.mark.parametrize(("examined", "warnings"), [("CHEST", 0), ("", 0), ("ABDOMEN", 1), ("HEAD", None)])
def test_the_part_of_the_body_that_a_network_is_for(examined: str, warnings: int | None) -> None:
    study = replace(CHEST, body_part=examined)
    if warnings is None:
        with pytest.raises(StudyError), open_inputs(study, LUNG):
            pass
    else:
        with open_inputs(study, LUNG) as (entry,):
            assert len(entry.opened.stream(lambda index, plane, scratch: None).warnings) == warnings
            assert (entry.source, entry.input) == ("1.2", "image")


def chosen(patient: str = "", study: str = "", why: str = "by a rule") -> Match:
    """A series; of NIfTI files, which say nothing, where neither is given."""
    frames: Any = ("a frame",) if patient or study else ()
    entry = Candidate(study, "", None, "MR", "", "", 2, frames, 10, patient=patient)
    return Match("x", entry, why)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([chosen()], (0, 0)),
        ([chosen("A", "1")], (0, 0)),
        ([chosen("A", "1"), chosen("A", "1")], (0, 0)),
        ([chosen(), chosen()], (0, 1)),
        ([chosen(), chosen(), chosen()], (0, 1)),
        ([chosen("A", "1"), chosen(why=AS_ASKED)], (1, 0)),
        ([chosen("A", "1"), chosen("A", "1"), chosen(why=AS_ASKED)], (1, 0)),
        ([chosen("A", "1"), chosen()], None),
        ([chosen(), chosen("", "1")], None),
        ([chosen("A", "1"), chosen(), chosen(why=AS_ASKED)], None),
        ([chosen("A", "1"), chosen("B", "1")], None),
        ([chosen("A", "1"), chosen("A", "2")], None),
        ([chosen("A", "1"), chosen("A", "1"), chosen("B", "1")], None),
    ],
    ids=lambda value: None if isinstance(value, tuple) else str(len(value or ())),
)
def test_series_are_of_one_patient_however_many_there_are(found: list[Match], said: tuple[int, int] | None) -> None:
    if said is None:
        with pytest.raises(StudyError):
            check_one_patient(found, "study")
    else:
        notes = check_one_patient(found, "study")
        assert (len(notes.warnings), len(notes.remarks)) == said
