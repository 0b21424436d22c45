"""An output decision of another package, one module: loaded, answered, verified, inspected, evaluated and gated."""

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from command import Command
from entry_points import add_package
from mmcaf_engine.bundle.accuracy import parse_accuracy
from mmcaf_engine.bundle.bundle import MANIFEST_NAME, load_bundle, write_bundle
from mmcaf_engine.demo import make_phantom
from mmcaf_engine.demo.write_dicom import write_series
from mmcaf_engine.evaluation.metrics import auroc
from refusals import Fact
from small_networks import make_convolution_bundle

EXAMPLE = Path(__file__).parents[1] / "data" / "example_decision"
GRADES = ("none", "mild", "severe")
STEPS = np.array([0.5, -2.0], np.float32)
"""What the network adds to the logit of each step."""


@pytest.fixture
def grades(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example package, installed."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    ((group, points),) = project["entry-points"].items()
    ((name, target),) = points.items()
    code = (EXAMPLE / "grades.py").read_text(encoding="utf-8")
    assert target == "grades:OrdinalDecision"
    add_package(monkeypatch, tmp_path / "site", project["name"], code, group, name, "OrdinalDecision")


@pytest.fixture
def bundle(grades: None, tiny_bundle: Path, tmp_path: Path) -> Path:
    """The tiny network with two logits, its own plus STEPS."""
    return graded(tiny_bundle, tmp_path / "grades.mmcaf")


def graded(source: Path, output: Path, **changes: Any) -> Path:
    folder = Path(shutil.copytree(source, output.with_name(f"{output.name}.draft")))
    document = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
    (folder / MANIFEST_NAME).unlink()
    del document["files"], document["threshold"]
    network = onnx.load(folder / "model.onnx")
    graph = network.graph
    graph.node[-1].output[0] = "severity"
    graph.initializer.append(numpy_helper.from_array(STEPS, "steps"))
    graph.node.append(helper.make_node("Add", ["severity", "steps"], ["logit"], name="steps"))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["N", 2]))
    onnx.save(onnx.shape_inference.infer_shapes(network), folder / "model.onnx")
    golden = dict(np.load(folder / "golden.npz"))
    np.savez(folder / "golden.npz", **{**golden, "logit": golden["logit"] + STEPS})
    graded = {
        "name": "grades",
        "labels": list(GRADES),
        "activation": "ordinal",
        "outputs": [{"name": "logit", "kind": "score", "shape": ["N", 2]}],
    }
    return write_bundle(folder, {**document, **graded, **changes}, output).folder


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five small studies of which four are graded."""
    folder = tmp_path_factory.mktemp("cohort")
    rows = ["study,record,label"]
    for seed, label in enumerate(("none", "mild", "Severe", "", "0")):
        phantom = make_phantom(seed, size=64)
        write_series(phantom, folder / f"series{seed}")
        record = {"sex": phantom.patient.sex, "age": phantom.patient.age}
        (folder / f"record{seed}.json").write_text(json.dumps(record))
        rows.append(f"series{seed},record{seed}.json,{label}")
    (folder / "cohort.csv").write_text("\n".join(rows))
    return folder / "cohort.csv"


def answered(run: Command, bundle: Path, cohort: Path, seed: int, *options: object) -> str:
    folder = cohort.parent
    outcome = run("mmcaf-infer", folder / f"series{seed}", folder / f"record{seed}.json", "--bundle", bundle, *options)
    assert outcome.code == 0, outcome.err
    return outcome.out


def shares(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability of each grade from the steps' logits, by hand."""
    first, second = 1 / (1 + np.exp(-logits))
    return np.array([1 - first, first - second, second])


def test_a_study_is_answered(run: Command, bundle: Path, cohort: Path) -> None:
    result = json.loads(answered(run, bundle, cohort, 1, "--json"))
    highest = max(window["logit"] for window in result["windows"])
    step = {"none": 0, "mild": 0, "severe": 1}[result["label"]]
    expected = shares(highest - STEPS[step] + STEPS.astype(np.float64))
    assert result["positive"] is None and result["findings"] == []
    assert list(result["probabilities"]) == list(GRADES)
    assert list(result["probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-6)
    assert result["probability"] == result["probabilities"][result["label"]]
    lines = answered(run, bundle, cohort, 1).splitlines()
    grade = GRADES.index(result["label"])
    assert lines[0] == result["label"] and lines[1] == f"  grade         {grade} of 0 to 2"
    assert lines[2] == "  probability   " + "   ".join(f"{name} {p:.3f}" for name, p in result["probabilities"].items())
    assert lines[3].startswith("  slices        ")


def test_it_is_verified_and_inspected(run: Command, bundle: Path) -> None:
    verified = run("mmcaf", "verify", bundle)
    assert verified.code == 0 and "onnxruntime fp32: 2 golden cases within" in verified.out
    lines = run("mmcaf", "inspect", bundle).out.splitlines()
    assert "  study score   max over windows, the highest grade that is as likely as not" in lines
    assert "  labels        0 none, 1 mild, 2 severe" in lines
    assert json.loads(run("mmcaf", "inspect", bundle, "--json").out)["manifest"]["activation"] == "ordinal"


def test_it_is_evaluated_on_a_cohort(run: Command, bundle: Path, cohort: Path) -> None:
    outcome = run("mmcaf", "evaluate", cohort, "--bundle", bundle)
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0] == "cohort     cohort.csv, 5 studies, 2 none, 1 mild, 1 severe, 1 without a label"
    assert lines[1].startswith("model      grades, bundle ") and "threshold" not in lines[1]
    (head,) = [at for at, line in enumerate(lines) if line.startswith("fp32, from one grade on")]
    assert [line.split("  ")[0] for line in lines[head + 1 : head + 3]] == ["at least mild", "at least severe"]
    document = json.loads(run("mmcaf", "evaluate", cohort, "--bundle", bundle, "--json").out)["accuracy"]
    answers = [json.loads(answered(run, bundle, cohort, seed, "--json")) for seed in (0, 1, 2, 4)]
    known = np.array([0, 1, 2, 0])
    at_least = np.array([[1 - a["probabilities"]["none"], a["probabilities"]["severe"]] for a in answers])
    areas = [auroc((known >= grade).astype(int), at_least[:, grade - 1]) for grade in (1, 2)]
    tables = document["reference"]["performance"]["per_label"]
    assert [table["auroc"] for table in tables] == pytest.approx(areas)
    assert document["reference"]["performance"]["auroc"]["value"] == pytest.approx(np.mean(areas))
    said = [GRADES.index(a["label"]) for a in answers]
    accuracy = np.mean([grade == label for grade, label in zip(said, known, strict=True)])
    assert document["reference"]["performance"]["decisions"]["accuracy"] == pytest.approx(accuracy)
    assert document["cohort"]["per_label"] == [2, 1, 1] and document["threshold"] is None


def test_what_it_has_not_is_said(run: Command, bundle: Path, cohort: Path, tmp_path: Path) -> None:
    outcome = run("mmcaf", "evaluate", cohort, "--bundle", bundle, "--roc", tmp_path / "roc.png")
    outcome.refused(2, "grades", "3 labels", "ROC", "--roc")
    (cohort.parent / "wrong.csv").write_text("study,record,label\nseries0,record0.json,worst\n")
    outcome = run("mmcaf", "evaluate", cohort.parent / "wrong.csv", "--bundle", bundle)
    outcome.refused(2, "wrong.csv", "line 2", "'worst'", "none", "mild", "severe", 0, 2)


def test_a_map_is_of_the_step_to_its_grade(
    run: Command, bundle: Path, cohort: Path, tmp_path: Path, grades: None
) -> None:
    """By `cotangent`, since there is one score less than there are grades."""
    from grades import OrdinalDecision

    decision = OrdinalDecision(GRADES)
    assert [decision.cotangent(at).tolist() for at in range(3)] == [[-1, 0], [1, -1], [0, 1]]
    given = ("mmcaf-infer", cohort.parent / "series0", cohort.parent / "record0.json", "--bundle", bundle)
    outcome = run(*given, "--explain", "occlusion", "--heatmap", tmp_path / "map.png")
    assert outcome.code == 0 and (tmp_path / "map.png").exists()


def test_its_precisions_pass_the_gate(run: Command, grades: None, cohort: Path, tmp_path: Path) -> None:
    bundle = graded(make_convolution_bundle(tmp_path / "small.mmcaf"), tmp_path / "grades.mmcaf")
    output = tmp_path / "lower.mmcaf"
    arguments = ("mmcaf", "quantize", bundle, "-o", output, "--precision", "fp16", "--cohort", cohort)
    outcome = run(*arguments, "--calibration", cohort)
    assert outcome.code == 0, outcome.err
    facts = parse_accuracy((output / "accuracy.json").read_bytes()).precisions["fp16"]
    assert facts.passed and facts.flips.changed == 0 and facts.auroc_difference is not None
    assert 0 < facts.max_probability_difference < 1e-2
    assert load_bundle(output).manifest.activation == "ordinal"
    said = " ".join(run("mmcaf", "inspect", output).out.split())
    assert "fp16 probability off by at most" in said


def test_a_gate_that_it_does_not_pass(run: Command, grades: None, cohort: Path, tmp_path: Path) -> None:
    bound = {"probability_difference": 1e-9, "flips": 0.0, "auroc_loss": 0.0}
    small = make_convolution_bundle(tmp_path / "small.mmcaf")
    bundle = graded(small, tmp_path / "strict.mmcaf", accuracy_bounds={"fp16": bound})
    arguments = ("mmcaf", "quantize", bundle, "-o", tmp_path / "lower.mmcaf", "--precision", "fp16")
    outcome = run(*arguments, "--calibration", cohort)
    assert outcome.code == 5 and "a probability differs by" in outcome.err
    assert not (tmp_path / "lower.mmcaf").exists()


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"labels": ["low", "high"]}, ("'ordinal'", "2 grades")),
        ({"threshold": 0.5}, ("'ordinal'", "thresholds")),
        ({"thresholds": [0.5, 0.5]}, ("'ordinal'", "thresholds")),
    ],
    ids=["labels", "threshold", "thresholds"],
)
@pytest.mark.parametrize("command", ["infer", "inspect", "evaluate"])
def test_its_own_check(
    command: str,
    changes: dict[str, Any],
    facts: tuple[Fact, ...],
    run: Command,
    grades: None,
    tiny_bundle: Path,
    cohort: Path,
    tmp_path: Path,
) -> None:
    bundle = graded(tiny_bundle, tmp_path / "unlike.mmcaf", **changes)
    given = {
        "infer": ("mmcaf-infer", cohort.parent / "series0", cohort.parent / "record0.json", "--bundle", bundle),
        "inspect": ("mmcaf", "inspect", bundle),
        "evaluate": ("mmcaf", "evaluate", cohort, "--bundle", bundle),
    }
    outcome = run(*given[command])
    outcome.refused(5, *facts)


def test_without_the_package_the_bundle_is_refused_by_name(
    run: Command, bundle: Path, cohort: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    again = Command(monkeypatch, run._capsys)
    for arguments in (
        ("mmcaf-infer", cohort.parent / "series0", cohort.parent / "record0.json", "--bundle", bundle),
        ("mmcaf", "verify", bundle),
        ("mmcaf", "inspect", bundle),
    ):
        outcome = again(*arguments)
        outcome.refused(5, "'ordinal'", "activation")
