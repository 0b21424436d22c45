"""`--explain attention` on the command line: words of the report in the text and the JSON, and in nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest

from command import Command
from dicom_factory import ct_series, hounsfield, save
from tiny_words import make_tiny_words

SECRET = "zebra"


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """A study, a record with a report, and the options that name a bundle with attention to words and fields."""
    folder = tmp_path_factory.mktemp("attention")
    record = folder / "record.json"
    record.write_text(json.dumps({"sex": "F", "age": 63, "findings": f"New nodule, {SECRET}.", "impression": ""}))
    study = save(ct_series(hounsfield(4, 16, 16)), folder / "study")
    options = ("--bundle", make_tiny_words(folder / "words.mmcaf"), "--backend", "onnxruntime")
    return [study, record, *options]


def test_words_and_fields_are_shown(run: Command, given: list[Any]) -> None:
    outcome = run("mmcaf-infer", *given, "--explain", "attention", "-v")
    assert outcome.code == 0 and SECRET not in outcome.err
    words = next(line for line in outcome.out.splitlines() if line.startswith("  words "))
    assert f"{SECRET} 0." in words and "; [CLS] and [SEP] 0." in words
    assert any(line.startswith("  fields        ") and "age 0." in line for line in outcome.out.splitlines())
    plain = run("mmcaf-infer", *given)
    assert plain.code == 0 and SECRET not in plain.out and "[CLS]" not in plain.out


def test_only_what_is_about_the_patient_holds_words(run: Command, given: list[Any], tmp_path: Path) -> None:
    asked = (*given, "--explain", "attention", "--json")
    fhir, page = tmp_path / "answer.fhir.json", tmp_path / "page.html"
    outcome = run("mmcaf-infer", *asked, "--fhir-out", fhir, "--html", page)
    assert outcome.code == 0 and SECRET not in fhir.read_text() and SECRET in page.read_text()
    words = json.loads(outcome.out)["attention"]["parts"][0]
    assert [one["name"] for one in words["weights"]] == ["New", "nodule", ",", SECRET, "."]
    hidden = run("mmcaf-infer", *asked, "--deidentify", "--html", page, "--force")
    assert hidden.code == 0 and SECRET not in hidden.out + hidden.err + page.read_text()
    assert json.loads(hidden.out)["attention"]["parts"][0]["weights"] == []


def test_a_heat_map_of_words_alone_is_refused(run: Command, given: list[Any], tmp_path: Path) -> None:
    outcome = run("mmcaf-infer", *given, "--explain", "attention", "--heatmap", tmp_path / "map.png")
    outcome.refused(2, "tiny-words", "heat map", "attention over an image", "--explain=occlusion", "--heatmap")
    assert not (tmp_path / "map.png").exists()
