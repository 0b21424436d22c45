"""A bundle whose network is in two parts too: what the commands make of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from backends_here import SPLIT
from command import Command
from dicom_factory import ct_series, hounsfield, save
from mmcaf_engine.evaluation import run as evaluation
from several_precisions import add_precisions
from tiny_parts import make_tiny_parts
from tiny_report import make_tiny_report

REPORTS = ("new nodule", "clear without change", "new nodule", "New  nodule", "effusion right", "clear without change")
"""Of studies in this order; the fourth has the word pieces of the first."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_parts(tmp_path_factory.mktemp("parts") / "tiny.mmcaf")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network, not in parts."""
    return make_tiny_report(tmp_path_factory.mktemp("whole") / "tiny.mmcaf")


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    (tmp_path / "record.json").write_text(json.dumps({"sex": "F", "age": 63}))
    lines = ["study,record,report,label,id"]
    for number, text in enumerate(REPORTS):
        study = save(ct_series(hounsfield(4, 16, 16) + 50 * number), tmp_path / f"study{number}")
        (tmp_path / f"{number}.txt").write_text(text)
        lines.append(f"{study},record.json,{number}.txt,nodule,{number}")
    (tmp_path / "cohort.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "cohort.csv"


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the sessions of an evaluation say of themselves at its end, by precision."""
    found: dict[str, Any] = {}
    evaluate = evaluation.evaluate

    def spied(cohort: Any, sessions: Any, **options: Any) -> Any:
        outcome = evaluate(cohort, sessions, **options)
        found.update({precision: session.describe() for precision, session in sessions.items()})
        return outcome

    monkeypatch.setattr(evaluation, "evaluate", spied)
    return found


@pytest.mark.parametrize("backend", SPLIT)
def test_a_cohort_finds_its_reports_again(
    run: Command, bundle: Path, whole: Path, cohort: Path, backend: str, described: dict[str, Any]
) -> None:
    outcome = run("mmcaf", "evaluate", cohort, "--bundle", bundle, "--backend", backend, "--json")
    assert outcome.code == 0, outcome.err
    assert described["fp32"]["reports"] == {"kept": 3, "limit": 64, "found": 3, "encoded": 3}
    expected = run("mmcaf", "evaluate", cohort, "--bundle", whole, "--backend", backend, "--json")
    assert "reports" not in described["fp32"]
    performance = [json.loads(each.out)["accuracy"]["reference"]["performance"] for each in (outcome, expected)]
    assert performance[0] == performance[1]


def test_a_precision_or_backend_without_parts_runs_as_a_whole(
    run: Command, bundle: Path, cohort: Path, described: dict[str, Any], tmp_path: Path
) -> None:
    several = add_precisions(bundle, tmp_path / "several.mmcaf", {"int8": 0.02})
    assert run("mmcaf", "evaluate", cohort, "--bundle", several, "--backend", "onnxruntime").code == 0
    assert "reports" in described["fp32"] and "reports" not in described["int8"]
    pytest.importorskip("torch")
    assert run("mmcaf", "evaluate", cohort, "--bundle", bundle, "--backend", "torch").code == 0
    assert "reports" not in described["fp32"]


def test_verify_tests_the_parts_together(run: Command, bundle: Path, whole: Path) -> None:
    lines = run("mmcaf", "verify", bundle).out.splitlines()
    for backend in SPLIT:
        assert any(line.startswith(f"{backend} fp32 in two parts: 3 golden cases within") for line in lines)
        assert any(line.startswith(f"{backend} fp32: 3 golden cases within") for line in lines)
    assert not any(line.startswith("torch fp32 in two parts") for line in lines)
    assert "in two parts" not in run("mmcaf", "verify", whole).out


def test_inspect_shows_the_parts(run: Command, bundle: Path, whole: Path) -> None:
    shown = run("mmcaf", "inspect", bundle).out
    assert "  in two parts  fp32 (model.text.onnx + model.rest.onnx), between them words [N, L, 3]\n" in shown
    assert "model.rest.onnx, " in shown
    manifest = json.loads(run("mmcaf", "inspect", bundle, "--json").out)["manifest"]
    assert manifest["text"]["parts"]["words"]["name"] == "words"
    assert "in two parts" not in run("mmcaf", "inspect", whole).out
