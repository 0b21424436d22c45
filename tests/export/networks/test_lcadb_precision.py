"""LCA-DB in fewer bits: seven logits and two attention vectors through the calibration, the plan and the gate."""

import shutil

import numpy as np
import onnx_ir as ir
import pytest

from mmcaf_engine.bundle.accuracy import parse_accuracy
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.demo import LIVER_LABELS
from mmcaf_engine.session.session import open_session
from mmcaf_export.networks.lcadb.network import OUTPUTS, PHASES
from mmcaf_export.onnx_files import load_model
from mmcaf_export.precision import int8, quantize
from mmcaf_export.precision.edit import elements
from mmcaf_export.precision.layers import candidates
from mmcaf_export.precision.quantize import quantize_bundle
from mmcaf_export.precision.report import QuantizeReport
from mmcaf_export.report import ExportReport

FASTER = ("layer1_compose.0.conv1/Conv", "layer1_compose.0.conv2/Conv", "layer1_patch_com.0.conv2/Conv")
"""Layers that count as faster in INT8."""


@pytest.fixture(scope="module")
def quantised(lcadb_export: ExportReport, tmp_path_factory: pytest.TempPathFactory) -> QuantizeReport:
    """The narrow bundle with every lower precision, by two synthetic studies.

    Its weights are random: of some studies the scores lie closer together than INT8 moves them, and AUROC would judge
    chance. Of these seven they do not.
    """
    bundle = tmp_path_factory.mktemp("quantised") / "lcadb.mmcaf"
    shutil.copytree(lcadb_export.output, bundle)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            int8, "worthwhile", lambda layers, _family: {layer.node: 1.0 for layer in layers if layer.node in FASTER}
        )
        patch.setattr(int8, "SENSITIVITY_WINDOWS", 2)
        patch.setattr(quantize, "WINDOWS_PER_STUDY", 1)
        return quantize_bundle(
            bundle, precisions=("int8", "fp16", "bf16"), calibration="demo:50000-50001", cohort="demo:40020-40026"
        )


@pytest.mark.full
def test_what_was_written(quantised: QuantizeReport) -> None:
    assert quantised.refused == {} and quantised.written == ("fp16", "bf16", "int8")
    plan = quantised.plans["int8"]
    assert plan is not None and plan.layers and set(plan.layers) <= set(FASTER)
    every = {layer.node for layer in candidates(load_model(quantised.output / "model.onnx"))}
    assert set(plan.kept) == every - set(plan.layers)
    assert 0 < plan.method_errors[plan.method] < 0.1
    text = quantised.summary()
    assert "labels changed" in text and "compared with FP32 on demo:40020-40026, 7 studies" in text


@pytest.mark.full
def test_the_gate_judges_seven_labels(quantised: QuantizeReport) -> None:
    accuracy = parse_accuracy((quantised.output / "accuracy.json").read_bytes())
    assert accuracy == quantised.accuracy
    assert accuracy.threshold is None and accuracy.cohort.per_label is not None
    assert len(accuracy.cohort.per_label) == len(LIVER_LABELS) and sum(accuracy.cohort.per_label) == 7
    for facts in accuracy.precisions.values():
        assert facts.passed and facts.flips.changed == 0
        assert 0 < facts.max_probability_difference < 0.1


@pytest.mark.full
def test_the_self_test_holds_the_quantised_answers_of_every_output(quantised: QuantizeReport) -> None:
    bundle = load_bundle(quantised.output)
    bundle.verify()
    with np.load(bundle.folder / "golden.npz") as golden:
        cases = {name for name in golden.files if not name.startswith("raw.")}
        assert cases == {*PHASES, *OUTPUTS, *(f"{name}@int8" for name in OUTPUTS)}
        assert "raw.probabilities@int8" in golden.files
        feed = {name: golden[name] for name in PHASES}
        assert 0 < float(np.abs(golden["logits@int8"] - golden["logits"]).max()) < 0.1
        for backend in ("openvino", "onnxruntime"):
            with open_session(bundle, backend=backend, precision="int8") as session:
                found = session.run(feed)
            for name in OUTPUTS:
                np.testing.assert_allclose(found[name], golden[f"{name}@int8"], rtol=0, atol=0.05)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((3, 4), 12), (("N", 3, 4), 12), (("16*N", 3), 48), (("N", None), 1), (("N + 1", 3), 3), ((), 1)],
    ids=str,
)
def test_parts_of_a_case_in_the_batch_count(shape: tuple[int | str | None, ...], expected: int) -> None:
    assert elements(ir.Shape(shape)) == expected
