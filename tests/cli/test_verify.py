"""`mmcaf verify` and `mmcaf doctor` on precisions: each is tested where it can run, and where not, that is said."""

import json
import re
import shutil
from pathlib import Path

import onnx
import pytest
from onnx import helper

from command import Command
from mmcaf_engine.bundle.bundle import MANIFEST_NAME, write_bundle
from mmcaf_engine.manifest import PRECISIONS
from processor_units import give_units
from raw_cases import edited, with_raw_case
from several_precisions import add_precisions

BF16_SLOW = "this processor has no BF16 units, so BF16 would be slower than FP32"


@pytest.fixture
def several(tiny_bundle: Path, tmp_path: Path) -> Path:
    return add_precisions(tiny_bundle, tmp_path / "several.mmcaf", {"bf16": 0.0, "int8": 0.05})


def test_each_precision_on_each_backend(run: Command, several: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give_units(monkeypatch)
    outcome = run("mmcaf", "verify", several)
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[:2] == ["tiny: 4 files, every hash matches, not signed", "no raw case"]
    assert any(line.startswith("torch int8: not tested, it has no INT8 kernels") for line in lines)
    for backend in ("openvino", "onnxruntime"):
        assert any(line.startswith(f"{backend} fp32: 2 golden cases within") for line in lines)
        assert f"{backend} int8: 2 golden cases within 5.0e-02 (at most 0.1)" in lines
    assert f"openvino bf16: not tested, {BF16_SLOW}" in lines
    assert "onnxruntime bf16: not tested, its CPU provider has no BF16 convolutions" in lines
    assert len([line for line in lines if not line.startswith("tensorrt")]) == 11
    assert any(line.startswith("tensorrt") for line in lines)


def test_the_raw_case(run: Command, tiny_bundle: Path, tmp_path: Path) -> None:
    raw = with_raw_case(tiny_bundle, tmp_path / "raw.mmcaf")
    outcome = run("mmcaf", "verify", raw, "--backend", "onnxruntime")
    assert outcome.code == 0, outcome.err
    _, prepared, answered = outcome.out.splitlines()
    assert prepared == "raw case: windows within 0.0e+00, features within 0.0e+00 (at most 1e-06)"
    assert re.fullmatch(
        r"onnxruntime fp32: 2 golden cases within \S+, the raw case's probability within \S+ \(at most 0.0001\)",
        answered,
    )
    other = edited(raw, tmp_path / "edited.mmcaf", ("preprocessing", "steps", 1, "upper"), 950)
    outcome = run("mmcaf", "verify", other)
    assert outcome.code == 5 and "fails its raw case, step windows: image (resize, clip_scale) is off" in outcome.err


def test_a_precision_that_this_processor_has_units_for(
    run: Command, several: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_units(monkeypatch, "BF16")
    assert "openvino bf16: 2 golden cases within" in run("mmcaf", "verify", several, "--backend", "openvino").out


def test_a_wrong_precision_is_refused(run: Command, tiny_bundle: Path, tmp_path: Path) -> None:
    wrong = add_precisions(tiny_bundle, tmp_path / "wrong.mmcaf", {"int8": 0.2})
    outcome = run("mmcaf", "verify", wrong)
    assert outcome.code == 6 and "in int8 fails the self-test of tiny" in outcome.err


@pytest.fixture
def with_rare(tiny_bundle: Path, tmp_path: Path) -> Path:
    """The tiny network with its logit handed on by an operator that the torch backend does not know."""
    draft = Path(shutil.copytree(tiny_bundle, tmp_path / "draft"))
    manifest = json.loads((draft / MANIFEST_NAME).read_text(encoding="utf-8"))
    del manifest["files"]
    (draft / MANIFEST_NAME).unlink()
    model = onnx.load(draft / "model.onnx")
    model.graph.node[-1].output[0] = "given"
    model.graph.node.append(helper.make_node("ThresholdedRelu", ["given"], ["logit"], name="same", alpha=-1e9))
    onnx.save(model, draft / "model.onnx")
    return write_bundle(draft, manifest, tmp_path / "rare.mmcaf").folder


def test_a_network_that_a_backend_does_not_compute_is_no_failure(run: Command, with_rare: Path) -> None:
    pytest.importorskip("torch")
    said = "torch fp32: not tested, torch does not compute model.onnx: the network uses ThresholdedRelu, which the"
    outcome = run("mmcaf", "verify", with_rare)
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert any(line.startswith(said) for line in lines)
    for backend in ("openvino", "onnxruntime"):
        assert any(line.startswith(f"{backend} fp32: 2 golden cases within") for line in lines)
    alone = run("mmcaf", "verify", with_rare, "--backend", "torch")
    assert alone.code == 6 and said in alone.out and "No backend could be tested here" in alone.err


def test_doctor_says_which_precisions_run(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    give_units(monkeypatch, "FP16")
    monkeypatch.setenv("COLUMNS", "300")  # so that no line is broken
    lines = [
        line.split(maxsplit=4)
        for line in run("mmcaf", "doctor", "--all").out.splitlines()
        if " precision " in line and " tensorrt " not in line
    ]
    status = {(backend, precision.rstrip(":")): (mark, reason) for mark, _, backend, precision, reason in lines}
    assert len(status) == 3 * len(PRECISIONS)
    assert status["torch", "int8"][0] == "note"
    assert status["openvino", "bf16"] == ("note", BF16_SLOW)
    assert all(status["openvino", precision][0] == "ok" for precision in ("fp32", "fp16", "int8"))
    assert status["onnxruntime", "fp16"] == ("note", "its CPU provider has no FP16 convolutions")
