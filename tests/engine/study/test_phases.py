"""A study of several series: each input gets its own by the manifest's rules, or the study is refused in words."""

import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from pydantic import ValidationError
from pydicom import dcmread

from dicom_factory import ct_series, hounsfield
from dicom_factory import save as save_ct
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.demo.liver import LiverStudy, liver_study
from mmcaf_engine.demo.write_mr import write_mr_series, write_nifti
from mmcaf_engine.errors import RecordError, StudyError, UsageError
from mmcaf_engine.inputs.prepare import prepare
from mmcaf_engine.manifest import Manifest, SeriesRule, SeriesSpec
from mmcaf_engine.pipeline import infer
from mmcaf_engine.study import list_series, open_inputs
from mmcaf_engine.study.selection.inputs import choices
from mmcaf_engine.study.selection.matching import b_in_words, words
from refusals import Fact, refused
from tiny_liver import INPUTS, SERIES, expected, make_tiny_liver, tiny_liver_manifest

SLICES, SIZE = 16, 16
FOLDERS = {
    "t2": "02-t2",
    "dwi": "03-dwi",
    "c_pre": "06-c_pre",
    "c_a": "07-c_a",
    "c_v": "08-c_v",
    "c_delay": "09-c_delay",
}
FILES = {name: {"sha256": "0" * 64, "size": 1} for name in ("model.onnx", "golden.npz")}
MANIFEST = Manifest.model_validate({**tiny_liver_manifest(), "files": FILES})
PHI = "LIVER00003"
"""The patient's number, which no message may hold."""


@pytest.fixture(scope="module")
def liver() -> LiverStudy:
    return liver_study(3, slices=SLICES, size=SIZE)


@pytest.fixture(scope="module")
def sources(liver: LiverStudy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study as DICOM series and as NIfTI files; read it, do not change it."""
    folder = tmp_path_factory.mktemp("liver")
    write_mr_series(liver, folder / "dicom")
    write_nifti(liver, folder / "nifti")
    return folder


@pytest.fixture
def dicom(sources: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sources / "dicom", tmp_path / "dicom"))


@pytest.fixture
def nifti(sources: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sources / "nifti", tmp_path / "nifti"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_liver(tmp_path_factory.mktemp("bundle") / "liver.mmcaf")


def edit(folder: Path, change: Callable[[Any], None]) -> None:
    """Change every header below a folder."""
    for file in sorted(folder.rglob("*.dcm")):
        image = dcmread(file)
        change(image)
        image.save_as(file)


def put(**elements: Any) -> Callable[[Any], None]:
    def change(image: Any) -> None:
        for keyword, value in elements.items():
            if value is None:
                if keyword in image:
                    delattr(image, keyword)
            else:
                setattr(image, keyword, value)

    return change


def found(path: Path, manifest: Manifest = MANIFEST, series: Any = None) -> dict[str, str]:
    """Input -> why its series was chosen."""
    with open_inputs(path, manifest, series=series) as opened:
        return {entry.input: entry.why for entry in opened}


def with_rules(**rules: list[dict[str, Any]]) -> Manifest:
    """The manifest with other rules for some inputs."""
    specs = [{**spec, "match": rules.get(spec["input"], spec["match"])} for spec in SERIES]
    return Manifest.model_validate({**tiny_liver_manifest(), "files": FILES, "series": specs})


# What is read


@pytest.mark.parametrize("form", ["dicom", "nifti", "zip", "zip of nifti"])
def test_every_form_gives_the_same_answer(
    sources: Path, bundle: Path, liver: LiverStudy, tmp_path: Path, form: str
) -> None:
    path = sources / form
    if form.startswith("zip"):
        path = tmp_path / "study.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for at, file in enumerate(sorted((sources / ("nifti" if "nifti" in form else "dicom")).rglob("*.*"))):
                archive.write(file, file.name if "nifti" in form else f"{at}.dcm")
    result = infer(path, bundle=bundle, backend="onnxruntime")
    manifest = load_bundle(bundle).manifest
    seen = prepare(path, None, manifest).inputs(0, manifest)
    assert list(seen) == list(INPUTS)
    logits = expected(seen)["logits"][0].astype(np.float64)
    powers = np.exp(logits - logits.max())
    assert list(result.probabilities.values()) == pytest.approx(list(powers / powers.sum()), abs=1e-5)
    assert result.label == manifest.labels[int(logits.argmax())] and result.positive is None
    assert result.probability == result.probabilities[result.label]
    assert result.windows[0].logit == pytest.approx(logits.max(), abs=1e-5)
    assert result.record is None and result.warnings == ()
    assert [entry.input for entry in result.study.selection] == list(INPUTS)
    assert {entry.slices for entry in result.study.selection} == {SLICES}
    for name in INPUTS:  # left, anterior, superior of the volume that was drawn, standardised
        drawn = liver.volumes[name].astype(np.float64)
        assert seen[name].mean() == pytest.approx(0, abs=1e-5) and seen[name].std() == pytest.approx(1, abs=1e-5)
        shrunk = drawn.reshape(8, 2, SIZE, SIZE).mean(axis=1).transpose(2, 1, 0)[:, ::-1]
        assert np.corrcoef(seen[name].ravel(), shrunk.ravel())[0, 1] > 0.99999


def test_says_what_was_chosen_and_why(sources: Path, bundle: Path) -> None:
    study = infer(sources / "dicom", bundle=bundle, backend="onnxruntime").to_dict()["study"]
    assert set(study["uids"]) == {"study", "frame_of_reference"}
    assert [entry["chosen"] for entry in study["selection"]] == [
        'the word "t2*"',
        "b-value 800",
        'the word "arterial*"',
    ]
    sent = [dcmread(sources / "dicom" / FOLDERS[name] / "slice-001.dcm").SeriesInstanceUID for name in INPUTS]
    assert [entry["source"] for entry in study["selection"]] == sent
    files = infer(sources / "nifti", bundle=bundle, backend="onnxruntime").study.selection
    assert [entry.source for entry in files] == ["t2.nii.gz", "dwi.nii.gz", "c_a.nii.gz"]
    assert {entry.chosen for entry in files} == {"the file of its name"}


def test_a_matrix_and_a_spacing_of_its_own_are_no_other_geometry(nifti: Path, sources: Path) -> None:
    finer = liver_study(3, slices=24, size=32)
    write_nifti(finer, nifti / "finer")
    (nifti / "finer" / "t2.nii.gz").replace(nifti / "t2.nii.gz")
    shutil.rmtree(nifti / "finer")
    assert set(found(nifti)) == set(INPUTS)


# Rules


@pytest.mark.parametrize(
    ("text", "expected"),
    [("t2_TSE.fs  tra", ("t2", "tse", "fs", "tra")), ("", ()), ("***", ()), ("Ax DWI-b800", ("ax", "dwi", "b800"))],
)
def test_words_of_a_text(text: str, expected: tuple[str, ...]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "b_value"),
    [("dwi b800", 800), ("ep_b800t", 800), ("b50_400_800", None), ("b0 b800", None), ("abdomen", None), ("b", None)],
)
def test_b_value_by_words(text: str, b_value: float | None) -> None:
    assert b_in_words((words(text),)) == b_value


RULES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a word": ({"words": ["arterial"]}, ["c_a"]),
    "words in a row": ({"words": ["portal venous"]}, ["c_v"]),
    "words in another order": ({"words": ["venous portal"]}, []),
    "the beginning of a word": ({"words": ["art*"]}, ["c_a"]),
    "the end of a word": ({"words": ["*layed"]}, ["c_delay"]),
    "within a word": ({"words": ["*ntervent*", "*rteria*"]}, ["c_a"]),
    "part of a word without a star": ({"words": ["arteria"]}, []),
    "protocol name": ({"words": ["ep2d diff"]}, ["dwi"]),
    "sequence name": ({"words": ["tse2d1"]}, ["t2"]),
    "not that word": ({"words": ["vibe"], "without": ["pre", "delayed", "portal"]}, ["c_a"]),
    "b-value": ({"b_value": {"minimum": 800, "maximum": 800}}, ["dwi"]),
    "another b-value": ({"b_value": {"minimum": 801, "maximum": 900}}, []),
    "image type": ({"image_type": ["in_phase"]}, ["in_phase"]),
    "not that image type": ({"words": ["t1"], "without": ["vibe"], "without_image_type": ["IN_PHASE"]}, ["out_phase"]),
    "contrast agent": ({"contrast": True}, ["c_a", "c_v", "c_delay"]),
    "no contrast agent": ({"contrast": False, "words": ["vibe"]}, ["c_pre"]),
    "first of four": ({"words": ["vibe"], "turn": {"position": 1, "of": 4}}, ["c_pre"]),
    "last of four": ({"words": ["vibe"], "turn": {"position": 4, "of": 4}}, ["c_delay"]),
    "third of three": ({"words": ["vibe"], "turn": {"position": 3, "of": 3}}, []),
}


@pytest.mark.parametrize("name", RULES)
def test_a_rule(sources: Path, name: str) -> None:
    rule, fitting = RULES[name]
    manifest = with_rules(t2=[rule], dwi=[{"words": ["none"]}], c_a=[{"words": ["none"]}])
    inputs = [replace_input(manifest.series[0])]
    listed = list_series(sources / "dicom", modality="MR", inputs=inputs)
    chosen = [entry.description for entry in listed.series if entry.input]
    descriptions = {
        phase: dcmread(next((sources / "dicom").glob(f"*-{phase}")) / "slice-001.dcm").SeriesDescription
        for phase in fitting
    }
    if len(fitting) == 1:
        assert chosen == [descriptions[fitting[0]]] and listed.problem is None
    else:
        assert chosen == [] and listed.problem is not None
        assert (f"{len(fitting)} series could be" if fitting else "no series is") in listed.problem


def replace_input(spec: SeriesSpec) -> SeriesSpec:
    return spec.model_copy(update={"input": "wanted"})


def test_the_first_rule_that_fits_decides(sources: Path) -> None:
    vibe = {"words": ["*vibe*"], "turn": {"position": 2, "of": 4}}
    by_time = found(sources / "dicom", with_rules(c_a=[{"words": ["late arterial"]}, vibe]))
    assert by_time["c_a"] == 'the word "*vibe*", number 2 of 4 by acquisition time'
    by_word = found(sources / "dicom", with_rules(c_a=[{"words": ["arterial"]}, vibe]))
    assert by_word["c_a"] == 'the word "arterial"'


def test_acquisition_time_orders_dynamic_phases_whatever_their_names(dicom: Path, liver: LiverStudy) -> None:
    for phase in ("c_pre", "c_a", "c_v", "c_delay"):
        edit(dicom / FOLDERS[phase], put(SeriesDescription="T1 VIBE dyn", SeriesNumber=20))
    result = prepare(dicom, None, MANIFEST)
    assert result.series[2].chosen == 'the word "*vibe*", number 2 of 4 by acquisition time'
    sent = dcmread(dicom / FOLDERS["c_a"] / "slice-001.dcm").SeriesInstanceUID
    assert result.series[2].source == sent


def test_phases_within_one_series_are_told_apart(dicom: Path) -> None:
    """Four phases sent as one series, with a temporal position each."""
    for at, phase in enumerate(("c_pre", "c_a", "c_v", "c_delay")):
        change = put(SeriesInstanceUID="1.2.3", SeriesDescription="T1 VIBE dyn", TemporalPositionIdentifier=at + 1)
        edit(dicom / FOLDERS[phase], change)
    with open_inputs(dicom, MANIFEST) as opened:
        (arterial,) = [entry for entry in opened if entry.input == "c_a"]
        values = arterial.opened.read().volume.values
    expected = np.stack([dcmread(file).pixel_array for file in sorted((dicom / FOLDERS["c_a"]).iterdir())])
    assert np.array_equal(values, expected)


def test_original_images_come_before_derived_ones(dicom: Path) -> None:
    copy = shutil.copytree(dicom / FOLDERS["t2"], dicom / "derived")
    edit(copy, put(SeriesInstanceUID="1.2.3", ImageType=["DERIVED", "PRIMARY", "M"]))
    assert found(dicom)["t2"] == 'the word "t2*"'


# --series


@pytest.mark.parametrize("by", ["number", "uid", "mapping", "path", "file"])
def test_a_series_can_be_named(sources: Path, by: str) -> None:
    path = sources / "dicom"
    uid = dcmread(path / FOLDERS["c_v"] / "slice-001.dcm").SeriesInstanceUID
    chosen: dict[str, Any] = {
        "number": ["c_a=7"],
        "uid": [f"c_a={uid}"],
        "mapping": {"c_a": uid},
        "path": [f"c_a={path / FOLDERS['c_v']}"],
        "file": [f"c_a={sources / 'nifti' / 'c_v.nii.gz'}"],
    }
    with open_inputs(path, MANIFEST, series=chosen[by]) as opened:
        entry = opened[2]
        assert (entry.input, entry.why) == ("c_a", "as asked")
        assert entry.source == ("c_v.nii.gz" if by == "file" else uid)
        values = entry.opened.read().volume.values
    images = [dcmread(file).pixel_array for file in sorted((path / FOLDERS["c_v"]).iterdir())]
    assert np.array_equal(values, np.stack(images))


def test_all_series_can_be_named(sources: Path) -> None:
    nowhere = with_rules(**{name: [{"words": ["none"]}] for name in INPUTS})
    series = [f"{name}={sources / 'nifti' / name}.nii.gz" for name in INPUTS]
    assert set(found(sources / "nifti" / "c_v.nii.gz", nowhere, series).values()) == {"as asked"}


@pytest.mark.parametrize(
    ("series", "facts"),
    [
        ("4", ("series", 4, "t2", "dwi", "c_a")),
        (["c_v=4"], ("series", "c_v", "t2")),
        (["t2=1", "t2=2"], ("t2", "twice")),
        ({"nonsense": "1"}, ("series", "nonsense", "t2")),
    ],
)
def test_wrong_names_are_refused(sources: Path, series: Any, facts: tuple[Fact, ...]) -> None:
    with refused(UsageError, *facts, option="series", value="t2=3"):
        found(sources / "dicom", MANIFEST, series)


def test_a_network_of_one_input_needs_no_name() -> None:
    assert choices("1.2.3", ["image"]) == choices("image=1.2.3", ["image"]) == {"image": "1.2.3"}
    assert choices(None, ["image"]) == {}


@pytest.mark.parametrize("value", ["99", "1.2.9"])
def test_a_series_that_is_not_there(sources: Path, value: str) -> None:
    with refused(StudyError, f"series {value}") as caught:
        found(sources / "dicom", MANIFEST, [f"t2={value}"])
    assert [(one.option, one.value) for one in caught.value.remedies] == [("series", "t2=1")]


# What is refused


@contextmanager
def study_refused(*facts: Fact, **remedy: str) -> Iterator[None]:
    with refused(StudyError, *facts, **remedy) as caught:
        yield
    assert PHI not in str(caught.value) and "PHANTOM" not in str(caught.value) and caught.value.remedy


@pytest.mark.parametrize("form", ["dicom", "nifti"])
def test_a_missing_phase(request: pytest.FixtureRequest, form: str) -> None:
    path = request.getfixturevalue(form)
    if form == "dicom":
        shutil.rmtree(path / FOLDERS["dwi"])
    else:
        (path / "dwi.nii.gz").unlink()
    with study_refused("dwi", "diffusion-weighted", "*adc*", "b-value", 500, 1500):
        found(path)


def test_two_candidates_for_one_phase(dicom: Path, nifti: Path) -> None:
    copy = shutil.copytree(dicom / FOLDERS["t2"], dicom / "again")
    edit(copy, put(SeriesInstanceUID="1.2.3", SeriesNumber=40))
    with study_refused(
        2, "t2", "T2-weighted", "t2*", "*diff*", 1, "series 2", "series 40", option="series", value="t2=1"
    ):
        found(dicom)
    (nifti / "t2.nii.gz").rename(nifti / "t2 haste.nii.gz")
    shutil.copy(nifti / "t2 haste.nii.gz", nifti / "T2_tse.nii.gz")
    with study_refused(2, "t2", "T2_tse.nii.gz", "t2 haste.nii.gz", option="series", value="t2=1"):
        found(nifti)
    assert found(nifti, series=["t2=T2_tse.nii.gz"])["t2"] == "as asked"


def test_slices_and_spacing_decide_nothing_between_candidates(dicom: Path) -> None:
    copy = shutil.copytree(dicom / FOLDERS["t2"], dicom / "again")
    edit(copy, put(SeriesInstanceUID="1.2.3", SeriesNumber=40))
    for file in sorted(copy.iterdir())[12:]:
        file.unlink()
    with study_refused(2, "t2", "16 slices", "12 slices", option="series", value="t2=1"):
        found(dicom)


def test_one_series_for_two_inputs(sources: Path) -> None:
    with study_refused("series 2", "t2", "dwi", '"t2*"', option="series", value="dwi=NUMBER"):
        found(sources / "dicom", with_rules(dwi=[{"words": ["t2"]}]))
    with study_refused("series 2", "t2", "dwi", option="series", value="dwi=NUMBER"):
        found(sources / "dicom", MANIFEST, ["t2=1", "dwi=1"])


def moved(axis: int, millimetres: float) -> Callable[[Any], None]:
    def change(image: Any) -> None:
        position = [float(value) for value in image.ImagePositionPatient]
        position[axis] += millimetres
        image.ImagePositionPatient = position

    return change


def squeezed(image: Any) -> None:
    image.PixelSpacing = [value / 2 for value in image.PixelSpacing]


def turned(image: Any) -> None:
    c, s = float(np.cos(np.radians(15))), float(np.sin(np.radians(15)))
    image.ImageOrientationPatient = [c, s, 0, -s, c, 0]


OTHER_GEOMETRY = {
    "another field of view": (squeezed, ("t2", 372, "dwi", 186, "mm", "90%")),
    "shifted along the patient": (moved(2, 60), ("head", "feet", "dwi", 192, 132, "mm")),
    "shifted across the patient": (moved(0, -80), ("left", "right", "t2", "dwi", 372, 292, "mm")),
    "turned": (turned, ("dwi", "15.0 degrees", "t2", 5)),
    "positioned anew": (put(FrameOfReferenceUID="1.2.3"), ("t2", "dwi", "(0020,0052)")),
}


@pytest.mark.parametrize("name", OTHER_GEOMETRY)
def test_phases_of_different_geometry(dicom: Path, name: str) -> None:
    change, facts = OTHER_GEOMETRY[name]
    edit(dicom / FOLDERS["dwi"], change)
    with study_refused(*facts):
        found(dicom)


def test_nifti_phases_of_different_geometry(nifti: Path) -> None:
    image = nib.load(nifti / "dwi.nii.gz")
    matrix = image.affine.copy()  # type: ignore[attr-defined]
    matrix[2, 3] += 100
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), matrix), nifti / "dwi.nii.gz")  # type: ignore[attr-defined]
    with study_refused("t2", "dwi", 192, 92, "mm"):
        found(nifti)


def test_a_shift_of_a_few_millimetres_is_breathing(dicom: Path) -> None:
    edit(dicom / FOLDERS["dwi"], moved(2, 12))
    assert set(found(dicom)) == set(INPUTS)


@pytest.mark.parametrize("where", ["beside", "named"])
def test_a_series_of_another_patient(dicom: Path, tmp_path: Path, where: str) -> None:
    other = shutil.move(dicom / FOLDERS["dwi"], tmp_path / "other" if where == "named" else dicom / "other")
    edit(Path(other), put(PatientID="SOMEONE"))
    with study_refused("t2", "dwi", "(0010,0020) PatientID"):
        found(dicom, series=[f"dwi={other}"] if where == "named" else None)
    edit(Path(other), put(PatientID=PHI, StudyInstanceUID="1.2.3"))
    with study_refused("t2", "dwi", "(0020,000D) StudyInstanceUID"):
        found(dicom, series=[f"dwi={other}"] if where == "named" else None)


@pytest.mark.parametrize("shape", [(16, 16), (16, 16, 1), (16, 16, 16, 5)], ids=["2D", "one slice", "time series"])
def test_a_volume_of_another_size(nifti: Path, shape: tuple[int, ...]) -> None:
    made = nib.Nifti1Image(np.ones(shape, np.int16), nib.load(nifti / "t2.nii.gz").affine)  # type: ignore[attr-defined]
    nib.save(made, nifti / "t2.nii.gz")
    with study_refused("t2", "t2.nii.gz", " x ".join(map(str, shape)), 3):
        found(nifti)


def test_a_bad_affine(nifti: Path) -> None:
    image = nib.load(nifti / "dwi.nii.gz")
    matrix = image.affine.copy()  # type: ignore[attr-defined]
    matrix[0, 1] = 9.0
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), matrix), nifti / "dwi.nii.gz")  # type: ignore[attr-defined]
    with study_refused("dwi", "dwi.nii.gz", "affine", "21.2 degrees", 0.5):
        found(nifti)


def test_a_ct_study(tmp_path: Path) -> None:
    with study_refused("t2", "T2-weighted", "t2*", "*diff*"):
        found(save_ct(ct_series(hounsfield()), tmp_path / "ct"))


def test_a_record_and_a_stride_are_refused(sources: Path) -> None:
    with refused(RecordError, MANIFEST.name, option="record"):
        prepare(sources / "dicom", {"age": 60}, MANIFEST)
    with refused(UsageError, "stride", option="stride"):
        prepare(sources / "dicom", None, MANIFEST, stride=4)


def test_rescale_of_each_slice_is_applied_where_there_is_one(dicom: Path) -> None:
    before = prepare(dicom, None, MANIFEST).inputs(0, MANIFEST)
    edit(dicom / FOLDERS["t2"], put(RescaleSlope=2.5, RescaleIntercept=-7, RescaleType="US"))
    after = prepare(dicom, None, MANIFEST).inputs(0, MANIFEST)
    np.testing.assert_allclose(after["t2"], before["t2"], rtol=0, atol=1e-5)  # the same, once standardised
    first = dcmread(dicom / FOLDERS["t2"] / "slice-001.dcm")
    first.RescaleSlope = 5
    first.save_as(dicom / FOLDERS["t2"] / "slice-001.dcm")
    other = prepare(dicom, None, MANIFEST).inputs(0, MANIFEST)
    assert np.abs(other["t2"] - before["t2"]).max() > 0.1


# The manifest


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"without": ["x"]},
        {"words": ["T2"]},
        {"words": ["a*b"]},
        {"words": ["*"]},
        {"words": ["(a+)+"]},
        {"words": ["a  b"]},
        {"words": [""]},
        {"words": ["a" * 65]},
        {"b_value": {"minimum": 9, "maximum": 1}},
        {"words": ["a"], "turn": {"position": 5, "of": 4}},
        {"words": ["a"], "regex": ".*"},
    ],
    ids=str,
)
def test_rules_that_are_none(rule: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SeriesRule.model_validate(rule)


def changed(**fields: Any) -> dict[str, Any]:
    return {**tiny_liver_manifest(), "files": FILES, **fields}


VOLUME = {"kind": "volume", "shape": ["N", 1, 16, 16, 8]}
CONTRADICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "no rules for several series": ({"series": []}, "series"),
    "rules in another order": ({"series": SERIES[::-1]}, "series"),
    "threshold of several labels": ({"threshold": 0.5}, "threshold.*sigmoid"),
    "sigmoid of several labels": ({"activation": "sigmoid"}, "softmax"),
    "too few labels": ({"labels": ["a", "b"]}, r"\[N, 2\]"),
    "two labels alike": ({"labels": ["a"] * 7}, "labels"),
    "attention that nothing explains": ({"attention": []}, "attention"),
    "a name twice": ({"inputs": [{**VOLUME, "name": "t2"}] * 3}, "names?"),
    "another shape": (
        {"inputs": [{**VOLUME, "name": name, "shape": ["N", 1, 8, 16, 16]} for name in INPUTS]},
        "resize_volume",
    ),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contradictions_in_the_manifest(name: str) -> None:
    fields, said = CONTRADICTIONS[name]
    with pytest.raises(ValidationError, match=said):
        Manifest.model_validate(changed(**fields))


@pytest.mark.parametrize(
    ("attention", "said"),
    [
        ({"grid": [4, 5]}, r"\D4, 5\D"),
        ({"slices": [4, 9]}, "8"),
        ({"slices": [4, 4]}, "8"),
    ],
)
def test_attention_that_does_not_fit(attention: dict[str, Any], said: str) -> None:
    first, second = tiny_liver_manifest()["attention"]
    with pytest.raises(ValidationError, match=said):
        Manifest.model_validate(changed(attention=[first, {**second, **attention}]))
