"""The command line on a study of several series: answer, heat map, list of series, demo, evaluation."""

import json
from pathlib import Path

import pytest

from command import Command
from mmcaf_engine.demo.liver import LIVER_LABELS, liver_study
from mmcaf_engine.demo.write_mr import write_mr_series, write_nifti
from refusals import Fact
from tiny_liver import INPUTS, make_tiny_liver


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_liver(tmp_path_factory.mktemp("bundle") / "liver.mmcaf")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    made = liver_study(3, slices=16, size=16)
    write_mr_series(made, folder / "dicom")
    write_nifti(made, folder / "nifti")
    return folder


def test_answers_in_words(run: Command, study: Path, bundle: Path) -> None:
    outcome = run("mmcaf-infer", study / "dicom", "--bundle", bundle, "--backend", "onnxruntime")
    assert outcome.code == 0 and outcome.err == ""
    first, probabilities, *rest = outcome.out.splitlines()
    first, _, probability = first.partition("   ")
    assert first in LIVER_LABELS and probability == probabilities.split()[4]
    assert probabilities.split()[1:5] == [*first.split(), probabilities.split()[4]]
    shares = [float(word) for word in probabilities.replace("synthetic lesion", "").split()[2::2]]
    assert len(shares) == 7 and shares == sorted(shares, reverse=True)
    assert "threshold" not in outcome.out and "slices        " not in outcome.out
    assert [line.split()[0] for line in rest[1:4]] == list(INPUTS)
    assert rest[1].endswith(': the word "t2*"') and "record        none needed" in outcome.out


def test_answers_as_json(run: Command, study: Path, bundle: Path) -> None:
    results = [
        json.loads(run("mmcaf-infer", study / form, "--bundle", bundle, "--backend", "onnxruntime", "--json").out)
        for form in ("dicom", "nifti")
    ]
    assert results[0]["probabilities"] == results[1]["probabilities"]
    assert list(results[0]["probabilities"]) == list(LIVER_LABELS)
    assert results[0]["positive"] is None and results[0]["record"] is None
    assert [series["input"] for series in results[1]["study"]["selection"]] == list(INPUTS)
    assert sum(results[0]["probabilities"].values()) == pytest.approx(1)


def test_series_can_be_named_more_than_once(run: Command, study: Path, bundle: Path) -> None:
    named = ("--series", "c_a=7", "--series", f"t2={study / 'nifti' / 't2.nii.gz'}")
    outcome = run("mmcaf-infer", study / "dicom", "--bundle", bundle, "--backend", "onnxruntime", "--json", *named)
    series = json.loads(outcome.out)["study"]["selection"]
    assert [entry["chosen"] for entry in series] == ["as asked", "b-value 800", "as asked"]
    assert series[0]["source"] == "t2.nii.gz"


def test_a_series_that_is_named_is_never_replaced(run: Command, study: Path, bundle: Path, tmp_path: Path) -> None:
    series = tmp_path / "t2.nii.gz"
    series.write_bytes((study / "nifti" / "t2.nii.gz").read_bytes())
    before = series.read_bytes()
    command = ("mmcaf-infer", study / "dicom", "--bundle", bundle, "--series", f"t2={series}")
    run(*command, "--output", series, "--force").refused(2, "t2.nii.gz", "--output")
    assert series.read_bytes() == before


def test_a_deidentified_answer_names_no_file(run: Command, study: Path, bundle: Path, tmp_path: Path) -> None:
    """Not even in a warning on the file that --series names, which lies elsewhere."""
    file = tmp_path / "DOE_JANE.nii.gz"
    file.write_bytes((study / "nifti" / "t2.nii.gz").read_bytes())
    options = ("--backend", "onnxruntime", "--json", "--deidentify", "--series", f"t2={file}")
    outcome = run("mmcaf-infer", study / "dicom", "--bundle", bundle, *options)
    answer = json.loads(outcome.out)
    series = answer["study"]["selection"]
    assert series[0]["source"] == "[file]"
    assert [warning for warning in answer["warnings"] if "t2 ([file])" in warning], answer["warnings"]
    assert "DOE" not in outcome.out + outcome.err
    assert all(set(entry["source"]) <= set("0123456789.") for entry in series[1:])


@pytest.mark.parametrize(
    ("arguments", "code", "facts"),
    [
        (["--series", "c_v=7"], 2, ("c_v", "t2", "--series=t2=3")),
        (["--series", "7"], 2, (7, "t2", "--series=t2=3")),
        (["--series", "c_a=99"], 3, ("series 99", "--series=c_a=1")),
        (["--heatmap", "map.jpg"], 2, ("map.jpg", "--heatmap=map.png")),
        (["--heatmap-over", "t2"], 2, ("--heatmap-over", "--heatmap")),
        (["--heatmap", "map.png", "--heatmap-over", "c_v"], 2, ("'c_v'", "t2", "dwi", "c_a")),
        (["--stride", "4"], 2, ("stride", "--stride")),
        (["--slices", "2-4"], 2, ("slices", "--slices")),
    ],
)
def test_wrong_usage(
    run: Command, study: Path, bundle: Path, arguments: list[str], code: int, facts: tuple[Fact, ...]
) -> None:
    outcome = run("mmcaf-infer", study / "dicom", "--bundle", bundle, *arguments)
    outcome.refused(code, *facts)
    assert not Path("map.png").exists()


def test_attention_needs_no_picture(run: Command, study: Path, bundle: Path) -> None:
    """Since words and figures of it stand in the answer."""
    given = ("mmcaf-infer", study / "dicom", "--bundle", bundle, "--backend", "onnxruntime", "--json")
    outcome = run(*given, "--explain", "attention")
    assert outcome.code == 0 and json.loads(outcome.out)["options"]["explain"] == ["attention"]
    run(*given, "--explain", "attention", "--explain", "occlusion").refused(2, "--heatmap", "--explain")


def test_no_heat_map_of_a_network_without_attention(run: Command, study: Path, tiny_bundle: Path) -> None:
    outcome = run("mmcaf-infer", study / "dicom", "--bundle", tiny_bundle, "--heatmap", "map.png")
    outcome.refused(2, "tiny", "attention", "--explain", "occlusion")
    assert not Path("map.png").exists()


def test_a_heat_map(run: Command, study: Path, bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "map.png"
    options = ("--backend", "onnxruntime", "--heatmap", file, "--heatmap-over", "c_a")
    assert run("mmcaf-infer", study / "nifti", "--bundle", bundle, *options).code == 0
    assert file.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_lists_which_series_is_which_input(run: Command, study: Path, bundle: Path) -> None:
    outcome = run("mmcaf", "studies", study / "dicom", "--bundle", bundle)
    assert outcome.code == 0 and outcome.out.count("\n*") + outcome.out.startswith("*") == 3
    assert 'read as t2: the word "t2*"' in outcome.out and "read as dwi: b-value 800" in outcome.out
    assert outcome.out.count("not read: no input's rule fits") == 5 and "refused" not in outcome.out
    found = json.loads(run("mmcaf", "studies", study / "nifti", "--bundle", bundle, "--json").out)
    assert sorted(entry["input"] for entry in found["series"] if entry["input"]) == sorted(INPUTS)
    assert found["problem"] is None


def test_lists_what_keeps_a_study_from_being_read(run: Command, study: Path, bundle: Path) -> None:
    outcome = run("mmcaf", "studies", study / "dicom" / "02-t2", "--bundle", bundle)
    assert outcome.code == 0 and "read as t2" in outcome.out
    assert outcome.out.count("refused: ") == 2 and "no series is dwi (diffusion-weighted)" in outcome.out


def test_writes_a_demo(run: Command, bundle: Path, tmp_path: Path) -> None:
    outcome = run("mmcaf", "demo", "--kind", "liver", "--save", tmp_path / "demo", "--seed", "4")
    assert outcome.code == 0 and "Synthetic patient 4, synthetic lesion" in outcome.out
    for form in ("dicom", "nifti"):
        answer = run("mmcaf-infer", tmp_path / "demo" / form, "--bundle", bundle, "--backend", "onnxruntime")
        assert answer.code == 0
    again = run("mmcaf", "demo", "--kind", "liver", "--save", tmp_path / "demo")
    assert again.code == 2 and "--force" in again.err


def test_evaluates_a_cohort(run: Command, bundle: Path, tmp_path: Path) -> None:
    outcome = run("mmcaf", "evaluate", "demo:0-3", "--bundle", bundle, "--backend", "onnxruntime")
    assert outcome.code == 0 and "threshold" not in outcome.out
    assert "fp32, one label against the others" in outcome.out and "AUROC (95 % interval)" in outcome.out
    report = json.loads(run("mmcaf", "evaluate", "demo:0-3", "--bundle", bundle, "--json").out)
    assert report["accuracy"]["threshold"] is None and sum(report["accuracy"]["cohort"]["per_label"]) == 4
    refused = run("mmcaf", "evaluate", "demo:0-3", "--bundle", bundle, "--roc", tmp_path / "roc.png")
    assert refused.code == 2 and "a ROC curve is of two" in refused.err


def test_a_heat_map_is_among_the_dicom_objects(run: Command, study: Path, bundle: Path, tmp_path: Path) -> None:
    """By default where one is asked for, a file for each of the network's two maps."""
    call = [
        "mmcaf-infer",
        study / "dicom",
        "--bundle",
        bundle,
        "--backend",
        "onnxruntime",
        "--dicom-out",
        tmp_path / "out",
    ]
    run(*call, "--dicom-objects", "sr,pm").refused(2, "pm", "--explain=occlusion", "--dicom-objects=sr")
    assert not (tmp_path / "out").exists()
    assert run(*call, "--explain", "attention").code == 0
    names = ["parametric-map-1.dcm", "parametric-map-2.dcm", "secondary-capture.dcm", "structured-report.dcm"]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == names
