"""Reports and independent labels on the command line: what is answered, shown and refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from command import Command
from dicom_factory import ct_series, hounsfield, save
from mmcaf_engine.strict_json import read_json
from refusals import Fact
from several_precisions import add_precisions
from tiny_report import LABELS, THRESHOLDS, make_tiny_report, report_manifest

RECORD: dict[str, Any] = {"sex": "F", "age": 63}
REPORT = "Lungs clear. New nodule."


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_report(tmp_path_factory.mktemp("report") / "tiny.mmcaf")


@pytest.fixture(scope="module")
def several(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With an INT8 network whose logits are off by a constant."""
    return add_precisions(bundle, tmp_path_factory.mktemp("several") / "several.mmcaf", {"int8": 0.02})


@pytest.fixture(scope="module")
def text_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of CT and report, without a table: the tiny one's table is a constant."""
    import numpy as np
    import onnx
    from onnx import numpy_helper

    from mmcaf_engine.bundle.bundle import write_bundle
    from tiny_report import example_arrays, expected_logits, report_network

    folder = tmp_path_factory.mktemp("text") / "draft"
    folder.mkdir()
    network = report_network()
    del network.graph.input[3]
    network.graph.initializer.append(numpy_helper.from_array(np.zeros((1, 3), np.float32), "table"))
    onnx.save(network, folder / "model.onnx")
    arrays = {**example_arrays(2, 8), "table": np.zeros((2, 3), np.float32)}
    logit = expected_logits(arrays).astype(np.float32)
    del arrays["table"]
    np.savez(folder / "golden.npz", **arrays, logit=logit)
    document = report_manifest()
    inputs = [entry for entry in document["inputs"] if entry["name"] != "table"]
    (folder / "vocabulary.txt").write_bytes((make_tiny_report(folder.parent / "other") / "vocabulary.txt").read_bytes())
    return write_bundle(folder, {**document, "inputs": inputs, "table": None}, folder.parent / "text.mmcaf").folder


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(ct_series(hounsfield(4, 16, 16)), tmp_path_factory.mktemp("study") / "study")


def written(folder: Path, **record: Any) -> Path:
    path = folder / "record.json"
    path.write_text(json.dumps({**RECORD, **record}))
    return path


def reported(folder: Path, text: str | bytes = REPORT) -> Path:
    path = folder / "report.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_each_label_is_shown_with_its_threshold(run: Command, bundle: Path, study: Path, tmp_path: Path) -> None:
    arguments = ("mmcaf-infer", study, written(tmp_path), "--report", reported(tmp_path), "--bundle", bundle)
    lines = run(*arguments).out.splitlines()
    result = json.loads(run(*arguments, "--json").out)
    assert lines[0] == result["label"] and "threshold" not in lines[0]
    rows = {finding["label"]: finding for finding in result["findings"]}
    assert {label: rows[label]["threshold"] for label in rows} == dict(zip(LABELS, THRESHOLDS, strict=True))
    for label, finding in rows.items():
        (row,) = [line for line in lines[1:] if f" {label} " in line]
        assert row.split()[0] == ("present" if finding["present"] else "absent")
        assert f"{finding['probability']:.3f}" in row and f"(threshold {finding['threshold']:g})" in row
    assert "2 fields, none missing, a report of 6 word pieces" in "\n".join(lines)
    assert not any(line.startswith("  slices ") for line in lines)


def test_fields_of_the_record_answer_alike(run: Command, bundle: Path, study: Path, tmp_path: Path) -> None:
    beside = run("mmcaf-infer", study, written(tmp_path), "--report", reported(tmp_path), "--bundle", bundle, "--json")
    record = written(tmp_path, findings="Lungs clear.", impression="New nodule.", ward="7")
    within = run("mmcaf-infer", study, record, "--bundle", bundle, "--json")
    assert json.loads(beside.out)["findings"] == json.loads(within.out)["findings"]
    assert json.loads(within.out)["warnings"] == []


def test_a_text_file_is_the_record_of_a_network_without_a_table(
    run: Command, text_only: Path, study: Path, tmp_path: Path
) -> None:
    outcome = run("mmcaf-infer", study, reported(tmp_path), "--bundle", text_only)
    assert outcome.code == 0, outcome.err
    assert "a report of 6 word pieces" in outcome.out and "fields" not in outcome.out


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("", ("report", "word", "tiny-report")),
        ("XXXX \n", ("report", "word", "tiny-report")),
        ("Erguß QUIXANO".encode("latin-1"), ("UTF-8", "0xdf")),
        (REPORT.encode("utf-16"), ("UTF-16LE", "UTF-8")),
    ],
    ids=["empty", "markers", "latin-1", "utf-16"],
)
def test_a_report_that_cannot_be_read_is_a_refused_record(
    text: str | bytes, facts: tuple[Fact, ...], run: Command, bundle: Path, study: Path, tmp_path: Path
) -> None:
    outcome = run("mmcaf-infer", study, written(tmp_path), "--report", reported(tmp_path, text), "--bundle", bundle)
    outcome.refused(4, *facts)
    assert "QUIXANO" not in outcome.err


def test_a_long_report_says_how_much_was_cut(run: Command, bundle: Path, study: Path, tmp_path: Path) -> None:
    report = reported(tmp_path, "nodule " * 30)
    arguments = ("mmcaf-infer", study, written(tmp_path), "--report", report, "--bundle", bundle)
    assert "20 of 30 word pieces of the report were left out" in run(*arguments).out
    assert run(*arguments, "--strict").code == 7


def test_nan_in_the_table_is_refused(run: Command, bundle: Path, study: Path, tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    record.write_text('{"sex": "F", "age": NaN, "findings": "clear", "impression": "clear"}')
    outcome = run("mmcaf-infer", study, record, "--bundle", bundle)
    outcome.refused(4, "NaN", "JSON")


def test_verify_runs_texts_on_every_backend(run: Command, bundle: Path) -> None:
    outcome = run("mmcaf", "verify", bundle)
    assert outcome.code == 0, outcome.err
    for backend in ("openvino", "onnxruntime", "torch"):
        assert f"{backend} fp32: 3 golden cases within" in outcome.out


def test_a_template_holds_the_text_fields(run: Command, bundle: Path, study: Path, tmp_path: Path) -> None:
    outcome = run("mmcaf", "record-template", "--bundle", bundle, "-o", tmp_path / "fill.json")
    assert outcome.code == 0 and "text; at most 10 word pieces of the report are read" in outcome.out
    template = json.loads((tmp_path / "fill.json").read_text())
    assert list(template) == ["$schema", "patient_id", "sex", "age", "findings", "impression"]
    schema = read_json(tmp_path / "fill.schema.json", error=AssertionError)  # type: ignore[arg-type]
    assert schema["properties"]["findings"]["type"] == ["string", "null"]
    (tmp_path / "fill.json").write_text(json.dumps({**template, **RECORD, "findings": "clear", "impression": ""}))
    assert run("mmcaf-infer", study, tmp_path / "fill.json", "--bundle", bundle, "--strict").code == 0


REPORTS = {
    "a": ("new nodule", "nodule"),
    "b": ("effusion right. large heart", "effusion;large heart"),
    "c": ("clear without change", ""),
    "d": ("small nodule and effusion", "nodule;effusion"),
    "e": ("old effusion", "?"),
    "f": ("XXXX", ""),
}


@pytest.fixture
def cohort(study: Path, tmp_path: Path) -> Path:
    record = written(tmp_path)
    lines = ["study,record,report,label,id"]
    for name, (text, labels) in REPORTS.items():
        (tmp_path / f"{name}.txt").write_text(text)
        lines.append(f"{study},{record},{name}.txt,{labels},{name}")
    path = tmp_path / "cohort.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_cohort_is_evaluated_label_by_label(run: Command, several: Path, cohort: Path, tmp_path: Path) -> None:
    outcome = run("mmcaf", "evaluate", cohort, "--bundle", several, "--out", tmp_path / "report.json")
    assert outcome.code == 0, outcome.err
    report = json.loads((tmp_path / "report.json").read_text())
    facts = report["accuracy"]
    assert facts["cohort"] == {
        "source": "cohort.csv",
        "studies": 5,
        "refused": 1,
        "labelled": 4,
        "per_label": [2, 2, 1],
    }
    assert facts["threshold"] is None and facts["thresholds"] == list(THRESHOLDS)
    int8 = facts["precisions"]["int8"]
    assert int8["max_logit_difference"] == pytest.approx(0.02, abs=1e-5)
    assert set(int8["flips"]) == {"changed", "fraction"} and int8["auroc_difference"]["value"] == 0
    tables = facts["reference"]["performance"]["per_label"]
    assert [table["threshold"] for table in tables] == list(THRESHOLDS)
    assert all(table["interval"]["low"] <= table["auroc"] <= table["interval"]["high"] for table in tables)
    assert "f: The report holds no word" in outcome.out
    rows = [line for line in outcome.out.partition("fp32, 95 %")[0].splitlines() if line.startswith(LABELS)]
    assert len(rows) == 3 and all(len(line) <= 140 for line in outcome.out.splitlines()[4:12])
    assert "fp32, each label by itself" in outcome.out


def test_roc_curves_are_of_two_labels(run: Command, several: Path, cohort: Path, tmp_path: Path) -> None:
    outcome = run("mmcaf", "evaluate", cohort, "--bundle", several, "--roc", tmp_path / "roc.png")
    outcome.refused(2, "ROC", "3 labels", "--roc")
