"""`mmcaf evaluate`: the report, its forms, and what every wrong input is told."""

import builtins
import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from command import Command
from mmcaf_cli.evaluate_text import render as render_evaluation
from mmcaf_cli.text import render
from mmcaf_engine.backends.base import Availability
from mmcaf_engine.backends.onnxruntime.backend import OnnxRuntimeBackend
from mmcaf_engine.backends.openvino.backend import OpenVinoBackend
from mmcaf_engine.bundle.accuracy import (
    Accuracy,
    AccuracySummary,
    CohortSummary,
    DecisionTable,
    Estimate,
    Flips,
    Performance,
    PrecisionAccuracy,
    Reference,
    Runtime,
)
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.demo import make_phantom
from mmcaf_engine.demo.write_dicom import write_series
from mmcaf_engine.evaluation.cases import Cohort
from mmcaf_engine.evaluation.evaluation import Evaluation
from mmcaf_engine.machine.installation import install_command
from mmcaf_engine.manifest import AccuracyBound
from mmcaf_engine.result.aggregate import sigmoid
from refusals import Fact
from several_precisions import add_precisions
from tiny_result import tiny_result

DISCLAIMER = "Not a medical device: for research, not for diagnosis or treatment."
REPORT_KEYS = [
    "schema_version",
    "created",
    "software",
    "machine",
    "options",
    "cohort_sha256",
    "model",
    "labels",
    "accuracy",
    "analysis",
    "comparisons",
    "against",
    "chosen_on",
    "subgroups",
    "errors",
    "not_run",
    "fallbacks",
    "refused",
    "warnings",
    "disclaimer",
]


@pytest.fixture(scope="session")
def cohort_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four small studies with records, and cohort.csv; read it, do not change it."""
    folder = tmp_path_factory.mktemp("cohort")
    rows = ["study,record,label"]
    for seed, label in enumerate(("quiet", "loud", "quiet", "loud")):
        phantom = make_phantom(seed, size=64)
        write_series(phantom, folder / f"series{seed}")
        record = {"sex": phantom.patient.sex, "age": phantom.patient.age}
        (folder / f"record{seed}.json").write_text(json.dumps(record))
        rows.append(f"series{seed},record{seed}.json,{label}")
    (folder / "cohort.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture(scope="session")
def several(tiny_bundle_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle with an int8 that is off by 0.05 in logit, which its bound forbids."""
    strict = {"int8": {"probability_difference": 0.001, "flips": 0.01, "auroc_loss": 0.005}}
    output = tmp_path_factory.mktemp("several") / "several.mmcaf"
    return add_precisions(tiny_bundle_source, output, {"int8": 0.05}, accuracy_bounds=strict)


@pytest.fixture(scope="session")
def exact(tiny_bundle_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle with the same network as its fp16 and int8."""
    return add_precisions(
        tiny_bundle_source, tmp_path_factory.mktemp("exact") / "exact.mmcaf", {"int8": 0.0, "fp16": 0.0}
    )


@pytest.fixture
def any_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime runs the networks of these bundles at any name of a precision."""
    runs = classmethod(lambda cls, precision: Availability(True, "a test"))
    monkeypatch.setattr(OnnxRuntimeBackend, "can_run", runs, raising=False)


def broken_table(folder: Path, good: int = 2) -> Path:
    """A table beside cohort.csv of which the last study cannot be read."""
    (folder / "broken.dcm").write_bytes(b"not DICOM")
    rows = [f"series{at},record{at}.json,{at % 2}" for at in range(good)]
    table = folder / f"broken{good}.csv"
    table.write_text("\n".join(["study,record,label", *rows, "broken.dcm,record0.json,1"]))
    return table


def test_text_report(run: Command, cohort_folder: Path, several: Path) -> None:
    outcome = run("mmcaf", "evaluate", cohort_folder / "cohort.csv", "--bundle", several)
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0] == "cohort     cohort.csv, 4 studies, 2 quiet, 2 loud"
    for said in (
        "AUROC (95 % interval)",
        "ACC",
        "F1",
        "specificity",
        "sensitivity",
        "PPV",
        "NPV",
        "int8       openvino",
    ):
        assert said in outcome.out
    (cost,) = [line for line in lines if line.endswith(("passed", "FAILED"))]
    assert cost.startswith("int8 ") and cost.endswith("FAILED") and " 0.0500 " in cost
    assert "int8 fails: a probability differs by 0.0" in outcome.out and "at most 0.001 is allowed" in outcome.out
    assert lines[-1].endswith(DISCLAIMER)
    assert "refused" not in outcome.out and "warnings" not in outcome.out


@pytest.mark.usefixtures("any_processor")
def test_equal_networks_cost_nothing(run: Command, cohort_folder: Path, exact: Path) -> None:
    outcome = run("mmcaf", "evaluate", cohort_folder / "cohort.csv", "--bundle", exact, "--backend", "onnxruntime")
    costs = [line for line in outcome.out.splitlines() if line.endswith(("passed", "FAILED"))]
    assert [cost.split()[0] for cost in costs] == ["fp16", "int8"]
    for cost in costs:
        assert cost.split()[1:7] == ["0.0000", "0.0000", "0.0000", "0", "of", "4"]
        assert cost.endswith("+0.0000 (+0.0000 to +0.0000)  passed")


def test_json_report(run: Command, cohort_folder: Path, several: Path, tmp_path: Path) -> None:
    table = cohort_folder / "cohort.csv"
    outcome = run("mmcaf", "evaluate", table, "--bundle", several, "--json", "-o", tmp_path / "report.json")
    report = json.loads(outcome.out)
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert list(report) == REPORT_KEYS
    accuracy = report["accuracy"]
    assert accuracy["cohort"] == {"source": "cohort.csv", "studies": 4, "refused": 0, "labelled": 4, "positives": 2}
    assert accuracy["precisions"]["int8"]["max_logit_difference"] == pytest.approx(0.05, abs=1e-5)
    assert accuracy["precisions"]["int8"]["passed"] is False
    decisions = accuracy["reference"]["performance"]["decisions"]
    assert decisions["true_positives"] + decisions["false_negatives"] == 2
    assert decisions["true_negatives"] + decisions["false_positives"] == 2
    assert str(cohort_folder) not in outcome.out, "no folder of this machine in the report"


def test_what_must_not_be_replaced(run: Command, cohort_folder: Path, several: Path, tmp_path: Path) -> None:
    """Neither an older report, but with --force, nor what the cohort reads."""
    old = tmp_path / "report.json"
    old.write_text("{}")
    table = cohort_folder / "cohort.csv"
    arguments = ("mmcaf", "evaluate", table, "--bundle", several, "--limit", 1)
    refused = run(*arguments, "-o", old)
    refused.refused(2, str(old), "--force")
    assert old.read_text() == "{}"
    assert run(*arguments, "-o", old, "--force").code == 0 and json.loads(old.read_text())["schema_version"] == 1
    for read in (table, cohort_folder / "record3.json", next((cohort_folder / "series2").iterdir())):
        before = read.read_bytes()
        refused = run("mmcaf", "evaluate", table, "--bundle", several, "-o", read, "--force")
        refused.refused(2, str(read), "input")
        assert read.read_bytes() == before


def test_out_is_the_old_name_of_output(run: Command, cohort_folder: Path, several: Path, tmp_path: Path) -> None:
    table, file = cohort_folder / "cohort.csv", tmp_path / "report.json"
    outcome = run("mmcaf", "evaluate", table, "--bundle", several, "--limit", 1, "--out", file)
    assert outcome.code == 0 and json.loads(file.read_text())["accuracy"]["cohort"]["studies"] == 1
    assert (
        outcome.err
        == "warning: --out is now called --output, or -o for short; the old name goes with the next release.\n"
    )


def test_scores_are_those_of_mmcaf_infer(run: Command, cohort_folder: Path, several: Path) -> None:
    """The largest difference of the study probabilities follows from the answers one by one."""
    exact = []
    for at in range(4):
        study, record = cohort_folder / f"series{at}", cohort_folder / f"record{at}.json"
        exact.append(
            json.loads(run("mmcaf-infer", study, record, "--bundle", several, "--json").out)["positive"]["logit"]
        )
    outcome = run("mmcaf", "evaluate", cohort_folder / "cohort.csv", "--bundle", several, "--json")
    found = json.loads(outcome.out)["accuracy"]["precisions"]["int8"]["max_probability_difference"]
    assert found == pytest.approx(max(sigmoid(logit + 0.05) - sigmoid(logit) for logit in exact), rel=1e-3)


def test_demo_cohort_equals_its_dicom_files(run: Command, tmp_path: Path) -> None:
    rows = ["study,record,label,id"]
    for seed in range(2):
        assert run("mmcaf", "demo", "--save", tmp_path / f"p{seed}", "--seed", seed).code == 0
        label = ("adenocarcinoma", "squamous-cell carcinoma")[make_phantom(seed, size=64).patient.label]
        rows.append(f"p{seed}/study.dcm,p{seed}/record.json,{label},demo:{seed}")
    (tmp_path / "cohort.csv").write_text("\n".join(rows))
    reports = []
    for source in ("demo:0-1", str(tmp_path / "cohort.csv")):
        outcome = run("mmcaf", "evaluate", source, "--json")
        assert outcome.code == 0 and "the demonstration bundle answered" in outcome.err
        report = json.loads(outcome.out)
        assert report["accuracy"]["cohort"].pop("source") == Path(source).name
        assert len(report.pop("cohort_sha256")) == 64 and report.pop("created").endswith("+00:00")
        reports.append(report)
    assert reports[0] == reports[1]
    assert reports[0]["accuracy"]["reference"]["performance"]["decisions"]["accuracy"] == 1.0


def test_phantoms_have_no_label_for_another_disease(run: Command, several: Path) -> None:
    outcome = run("mmcaf", "evaluate", "demo:0-5", "--bundle", several, "--limit", 2)
    assert outcome.code == 0
    assert outcome.out.startswith("cohort     demo:0-5, first 2, 2 studies, 2 without a label\n")
    assert "AUROC was not measured: the cohort has no labels." in outcome.out and "ACC" not in outcome.out
    assert "not measured  FAILED" in outcome.out and " of 2 (" in outcome.out


@pytest.mark.parametrize(
    ("asked", "compared"),
    [([], {"fp16", "int8"}), (["int8"], {"int8"}), (["fp32"], set()), (["int8", "fp32", "fp16"], {"fp16", "int8"})],
    ids=lambda value: "+".join(value) or "default" if isinstance(value, list) else None,
)
@pytest.mark.usefixtures("any_processor")
def test_precisions(run: Command, cohort_folder: Path, exact: Path, asked: list[str], compared: set[str]) -> None:
    options = ["--backend", "onnxruntime", *(part for name in asked for part in ("--precision", name))]
    outcome = run("mmcaf", "evaluate", cohort_folder / "cohort.csv", "--bundle", exact, "--json", *options)
    assert set(json.loads(outcome.out)["accuracy"]["precisions"]) == compared


def test_fp32_alone(run: Command, cohort_folder: Path, tiny_bundle: Path) -> None:
    outcome = run("mmcaf", "evaluate", cohort_folder / "cohort.csv", "--bundle", tiny_bundle, "--strict")
    assert outcome.code == 0 and "Nothing to compare: fp32 alone was run." in outcome.out


def test_a_precision_that_cannot_run_is_said_to_be_so(
    run: Command, cohort_folder: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    source = add_precisions(tiny_bundle, tmp_path / "wrong.mmcaf", {"int8": 3.0})
    table = cohort_folder / "cohort.csv"
    outcome = run("mmcaf", "evaluate", table, "--bundle", source)
    assert outcome.code == 0
    assert "int8       not run: openvino" in outcome.out and "fails the self-test" in outcome.out
    refused = run("mmcaf", "evaluate", table, "--bundle", source, "--precision", "int8")
    refused.refused(6, "int8", "self-test", 3, 0.1)


def test_backend_and_fallback(run: Command, cohort_folder: Path, exact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = cohort_folder / "cohort.csv"
    outcome = run(
        "mmcaf", "evaluate", table, "--bundle", exact, "--precision", "int8", "--backend", "onnxruntime", "--strict"
    )
    assert outcome.code == 0 and outcome.err == ""
    assert "fp32       onnxruntime" in outcome.out and "openvino" not in outcome.out
    monkeypatch.setattr(OpenVinoBackend, "availability", classmethod(lambda cls: Availability(False, "gone")))
    outcome = run("mmcaf", "evaluate", table, "--bundle", exact, "--precision", "int8", "--strict")
    assert outcome.code == 7 and "warning: int8 runs on onnxruntime: openvino: gone" in outcome.err
    assert "--strict: fp32 fell back to another backend; int8 fell back" in outcome.err
    assert "int8       onnxruntime" in outcome.out, "the report comes all the same"


@pytest.mark.parametrize("strict", [[], ["--strict"]], ids=["default", "strict"])
def test_a_refused_study_is_listed_and_left_out(
    run: Command, cohort_folder: Path, exact: Path, strict: list[str]
) -> None:
    table = broken_table(cohort_folder)
    outcome = run("mmcaf", "evaluate", table, "--bundle", exact, "--precision", "int8", *strict)
    assert outcome.code == (7 if strict else 0)
    assert "2 studies, 1 quiet, 1 loud, 1 more refused" in outcome.out
    assert "refused: 1\n  broken.dcm: " in outcome.out
    assert ("error: --strict: one study was refused." in outcome.err) == bool(strict)


def test_strict_when_a_bound_fails(run: Command, cohort_folder: Path, several: Path) -> None:
    outcome = run("mmcaf", "evaluate", cohort_folder / "cohort.csv", "--bundle", several, "--strict")
    assert outcome.code == 7 and "int8 fails" in outcome.out
    assert "error: --strict: int8 exceeds its bound." in outcome.err


def test_all_refused(run: Command, cohort_folder: Path, several: Path) -> None:
    outcome = run("mmcaf", "evaluate", broken_table(cohort_folder, good=0), "--bundle", several)
    outcome.refused(3, 1, "studies", "broken.dcm")


def test_warnings_are_listed(run: Command, cohort_folder: Path, several: Path) -> None:
    (cohort_folder / "other.json").write_text(json.dumps({"sex": "M", "age": 119}))
    table = cohort_folder / "mixed.csv"
    table.write_text("study,record\nseries0,other.json\n")
    outcome = run("mmcaf", "evaluate", table, "--bundle", several)
    assert outcome.code == 0 and "series0: the record's age contradicts the study's PatientAge." in outcome.out


def test_roc_curves(run: Command, cohort_folder: Path, several: Path, tmp_path: Path) -> None:
    table = cohort_folder / "cohort.csv"
    for name in ("one.png", "two.PNG"):
        assert run("mmcaf", "evaluate", table, "--bundle", several, "--roc", tmp_path / name).code == 0
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.PNG").read_bytes()
    image = np.rint(255 * imread(tmp_path / "one.png")[..., :3]).astype(int)
    assert image.shape[0] == image.shape[1] >= 1000
    drawn = {tuple(colour) for colour in np.unique(image.reshape(-1, 3), axis=0).tolist()}
    colours = {(196, 196, 196): "fp32", (0, 114, 178): "fp16", (0, 158, 115): "bf16", (213, 94, 0): "int8"}
    assert {name for colour, name in colours.items() if colour in drawn} == {"fp32", "int8"}


def test_roc_needs_matplotlib(
    run: Command, cohort_folder: Path, several: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "mmcaf_engine.evaluation.roc_plot.find_spec", lambda name: None if name == "matplotlib" else real(name)
    )
    roc = tmp_path / "roc.png"
    outcome = run("mmcaf", "evaluate", cohort_folder / "cohort.csv", "--bundle", several, "--roc", roc)
    outcome.refused(6, install_command("plot"))


def test_matplotlib_is_only_imported_for_a_figure(
    run: Command, cohort_folder: Path, several: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    assert run("mmcaf", "evaluate", cohort_folder / "cohort.csv", "--bundle", several).code == 0


def test_roc_when_refusals_leave_one_label(run: Command, cohort_folder: Path, several: Path, tmp_path: Path) -> None:
    roc = tmp_path / "roc.png"
    outcome = run("mmcaf", "evaluate", broken_table(cohort_folder, good=1), "--bundle", several, "--roc", roc)
    assert outcome.code == 3 and "not drawn; the refusals left no studies of both labels" in outcome.err
    assert outcome.out.startswith("cohort ") and not roc.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "facts"),
    [
        (["absent.csv"], 2, ("absent.csv", "no such file")),
        (["demo:9-1"], 2, ("'demo:9-1'",)),
        (["demo:0-1", "--bundle", "absent.mmcaf"], 5, ("absent.mmcaf", "no such")),
        (["demo:0-1", "--precision", "fp8"], 2, ("'fp8'", "fp32", "fp16", "bf16", "int8")),
        (["demo:0-1", "--precision", "auto"], 2, ("'auto'", "fp32")),
        (["demo:0-1", "--precision", "bf16"], 6, ("tiny", "bf16", "fp32", "int8")),
        (["demo:0-1", "--backend", "abacus"], 2, ("'abacus'",)),
        (["demo:0-1", "--threads", "0"], 2, ("0 threads", 1)),
        (["demo:0-1", "-o", "absent/report.json"], 2, ("absent/report.json", "No such file or directory", "--output")),
        (["demo:0-1", "-o", "."], 2, ("directory", "--output")),
        (["demo:0-1", "--out", "a.json", "-o", "b.json"], 2, ("--out", "--output")),
        (["demo:0-1", "--roc", "absent/roc.png"], 2, ("absent/roc.png", "--roc")),
        (["demo:0-1", "--roc", "roc.pdf"], 2, ("roc.pdf", "PNG", "--roc=roc.png")),
        (["demo:0-1", "--roc", "-"], 2, ("--roc -", "printed")),
        (["demo:0-1", "--roc", "roc.png"], 2, ("ROC", "both labels", "tiny", "--roc")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_refused_before_the_work(
    run: Command,
    several: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    facts: tuple[Fact, ...],
) -> None:
    def no_work(*_: Any, **__: Any) -> None:
        raise AssertionError("the cohort was run")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mmcaf_engine.evaluation.run.evaluate", no_work)
    outcome = run("mmcaf", "evaluate", "--bundle", several, *arguments)
    outcome.refused(code, *facts)
    assert not list(tmp_path.iterdir()), "nothing is left behind"


@pytest.mark.parametrize("arguments", [[], ["demo:0-1", "--limit", "0"], ["demo:0-1", "--nonsense"]])
def test_wrong_usage(run: Command, arguments: list[str]) -> None:
    outcome = run("mmcaf", "evaluate", *arguments)
    assert outcome.code == 2 and outcome.out == "" and "Usage: mmcaf evaluate" in outcome.err


RATIOS = {"accuracy": 0.11, "f1": 0.22, "specificity": 0.33, "sensitivity": 0.44, "ppv": 0.55, "npv": None}
COUNTS = dict.fromkeys(("true_positives", "false_positives", "true_negatives", "false_negatives"), 1)


def test_each_figure_stands_under_its_name(tiny_bundle_source: Path) -> None:
    """Of eight studies, five of which are labelled."""
    runtime = {"backend": "openvino", "version": "1", "device": "CPU"}
    area = Estimate(value=0.91, low=0.81, high=0.99)
    performance = Performance(auroc=area, decisions=DecisionTable.model_validate({**COUNTS, **RATIOS}))
    int8 = PrecisionAccuracy(
        runtime=Runtime(**runtime),
        max_probability_difference=0.05,
        mean_probability_difference=0.02,
        max_logit_difference=0.3,
        flips=Flips(to_label_0=1, to_label_1=2, fraction=0.375),
        performance=performance,
        auroc_difference=Estimate(value=-0.01, low=-0.02, high=0.03),
        auroc_note=None,
        bound=AccuracyBound(probability_difference=0.1, flips=0.5, auroc_loss=0.1),
        passed=True,
        reasons=(),
    )
    accuracy = Accuracy(
        cohort=CohortSummary(source="cohort.csv", studies=8, refused=3, labelled=5, positives=2),
        threshold=0.5,
        reference=Reference(**runtime, performance=performance),
        precisions={"int8": int8},
    )
    outcome: Any = SimpleNamespace(refused=(), warnings=(), labels=(), scores={})
    said = render_evaluation(
        Evaluation(load_bundle(tiny_bundle_source), Cohort("none", ()), accuracy, outcome, {}, {})
    ).splitlines()
    assert said[0] == "cohort     cohort.csv, 8 studies, 3 quiet, 2 loud, 3 without a label, 3 more refused"
    found: dict[str, list[str]] = {}
    heads = [at for at, line in enumerate(said) if "AUROC (95 % interval)" in line]
    for at in heads:
        for line in said[at : at + 3]:
            name, *cells = re.split(r"\s{2,}", line.strip())
            found.setdefault(name, []).extend(cells)
    names = found.pop("AUROC (95 % interval)") + found.pop("against fp32")
    told = dict(zip(names, found["int8"][1:], strict=True))
    assert found["int8"][0] == found["fp32"][0] == "0.910 (0.810 to 0.990)"
    assert told == {
        "ACC": "0.110",
        "F1": "0.220",
        "specificity": "0.330",
        "sensitivity": "0.440",
        "PPV": "0.550",
        "NPV": "-",
        "probability: largest": "0.0500",
        "mean": "0.0200",
        "logit: largest": "0.3000",
        "labels changed": "3 of 8 (37.5%)",
        "AUROC (95 % interval)": "-0.0100 (-0.0200 to +0.0300)",
        "bound": "passed",
    }


@pytest.mark.parametrize(
    ("accuracy", "said"),
    [
        (None, None),
        (
            AccuracySummary("demo:0-99", 100, 0.0123, 1, -0.0004),
            "precision     int8 against fp32 on 100 studies of demo:0-99: probability within 0.0123, "
            "1 label(s) changed, AUROC -0.0004",
        ),
        (AccuracySummary("cohort.csv", 9, 0.5, 0, None), "0 label(s) changed, AUROC not measured"),
    ],
    ids=["unknown", "measured", "unlabelled"],
)
def test_the_answer_says_what_its_precision_costs(accuracy: AccuracySummary | None, said: str | None) -> None:
    whole = tiny_result()
    result = replace(whole, engine=replace(whole.engine, precision="int8", accuracy=accuracy))
    text = render(result)
    assert ("against fp32" in text) == (said is not None) and (said or "") in text
    shown = json.loads(result.to_json())["engine"]["accuracy"]
    assert shown == (None if accuracy is None else {**accuracy.__dict__})
