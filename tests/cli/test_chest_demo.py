"""`mmcaf demo --kind chest`: a radiograph with report and record, that a network for radiographs answers."""

import json
from pathlib import Path

from command import Command
from tiny_image import make_tiny_image


def test_writes_a_demo(run: Command, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    outcome = run("mmcaf", "demo", "--kind", "chest", "--save", folder, "--seed", "8")
    assert outcome.code == 0 and "Synthetic patient 8, Mass, Consolidation" in outcome.out
    assert "--report" in outcome.out.splitlines()[-1]
    assert sorted(path.name for path in folder.iterdir()) == ["record.json", "report.txt", "study.dcm"]
    assert set(json.loads((folder / "record.json").read_text())) == {
        *("patient_id", "age", "sex", "view_position", "follow_up_number")
    }
    bundle = make_tiny_image(tmp_path / "tiny.mmcaf")
    answer = run("mmcaf-infer", folder / "study.dcm", "--bundle", bundle, "--backend", "onnxruntime", "--strict")
    assert answer.code == 0, answer.err
    again = run("mmcaf", "demo", "--kind", "chest", "--save", folder)
    assert again.code == 2 and "--force" in again.err
    replaced = run("mmcaf", "demo", "--kind", "chest", "--save", folder, "--force")
    assert replaced.code == 0 and "Synthetic patient 0" in replaced.out


def test_evaluates_radiographs(run: Command, tmp_path: Path) -> None:
    bundle = make_tiny_image(tmp_path / "tiny.mmcaf")
    outcome = run("mmcaf", "evaluate", "demo:0-3", "--bundle", bundle, "--backend", "onnxruntime", "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["accuracy"]["cohort"]["studies"] == 4
