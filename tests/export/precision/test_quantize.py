"""A whole network quantised: which layers, what the bundle says of itself, and what Python callers are told."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from export.conftest import Exported
from mmcaf_engine.bundle.accuracy import read_accuracy
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.checkup.raw_case import check_raw_case
from mmcaf_engine.errors import BundleError, UsageError
from mmcaf_engine.session.session import open_session
from mmcaf_export.onnx_files import load_model
from mmcaf_export.precision import int8, quantize
from mmcaf_export.precision.int8 import Int8Plan
from mmcaf_export.precision.layers import candidates
from mmcaf_export.precision.quantize import quantize_bundle

FASTER = (
    "image_encoder.encoder.in_conv.0/Conv",
    "image_encoder.encoder.encoders.0.penet_blocks.0.conv1/Conv",
    "image_encoder.encoder.encoders.0.penet_blocks.1.conv3/Conv",
)
"""Layers that count as faster in INT8; of these, what moves the logit too far stays in FP32."""


@pytest.fixture
def slim_bundle(slim_export: Exported, tmp_path: Path) -> Path:
    """A copy of the narrow network's bundle that a test may change."""
    return Path(shutil.copytree(slim_export.report.output, tmp_path / "slim.mmcaf"))


@pytest.fixture
def known_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every convolution takes 10 ms; in INT8 those of FASTER take 1."""

    def times(model: Path, window: Mapping[str, Any], threads: int) -> dict[str, float]:
        network = load_model(model)
        quantised = any(node.op_type == "QuantizeLinear" for node in network.graph)
        names = [str(node.name) for node in network.graph if node.op_type == "Conv"]
        return {name: 1.0 if quantised and name in FASTER else 10.0 for name in names}

    monkeypatch.setattr(int8, "layer_times", times)
    monkeypatch.setattr(int8, "SENSITIVITY_WINDOWS", 2)
    monkeypatch.setattr(quantize, "WINDOWS_PER_STUDY", 1)


@pytest.mark.usefixtures("known_times")
def test_the_network(slim_bundle: Path) -> None:
    every = {layer.node for layer in candidates(load_model(slim_bundle / "model.onnx"))}
    report = quantize_bundle(slim_bundle, calibration="demo:50000-50001", method="minmax")
    assert report.written == ("int8",) and report.refused == {}
    plan = report.plans["int8"]
    assert isinstance(plan, Int8Plan)
    layers, kept = plan.layers, plan.kept
    assert layers and set(layers) <= set(FASTER) and set(kept) == every - set(layers)
    for node, reason in kept.items():
        assert reason.startswith("moves the logit by" if node in FASTER else "INT8 is not faster"), node
    assert 0 < plan.method_errors["minmax"] < 0.2

    bundle = load_bundle(slim_bundle)
    bundle.verify()
    assert bundle.sha256 == report.sha256
    raw = check_raw_case(bundle)
    assert raw is not None and "int8" in raw.case.own
    origin = bundle.manifest.provenance.int8
    assert origin is not None and origin.layers == len(layers) and origin.calibration == "demo:50000-50001"
    assert origin.kept == kept
    assert read_accuracy(slim_bundle / "accuracy.json") == report.accuracy
    assert (report.accuracy.cohort.studies, report.accuracy.cohort.labelled) == (2, 0)

    graph = onnx.load(slim_bundle / "model.int8.onnx").graph
    onnx.checker.check_model(slim_bundle / "model.int8.onnx", full_check=True)
    quantised = {node.name for node in graph.node if node.op_type == "Conv" and ":dequantised" in node.input[0]}
    assert quantised == set(layers)
    assert any(node.op_type == "ReduceL2" for node in graph.node), "variances are still read twice"

    with np.load(slim_bundle / "golden.npz") as golden:
        feed = {name: golden[name] for name in ("image", "table")}
        for backend in ("openvino", "onnxruntime"):
            with open_session(bundle, backend=backend, precision="int8") as session:
                found = session.run(feed)["logit"]
            np.testing.assert_allclose(found, golden["logit"], rtol=0, atol=0.1)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"precisions": ()}, "fp32 is what the others are compared with"),
        ({"precisions": ("int8", "fp32")}, "fp32 is what the others are compared with"),
        ({"calibration": "nowhere.csv"}, "nowhere.csv"),
        ({"cohort": "demo:2-1"}, "demo:2-1"),
        ({"logit_budget": 0.0}, "budget of 0.0"),
        ({"logit_budget": float("nan")}, "budget of nan"),
    ],
    ids=["no precision", "fp32", "calibration", "cohort", "no budget", "budget is no number"],
)
def test_wrong_use(tiny_bundle: Path, changes: dict[str, Any], says: str) -> None:
    before = {file: file.read_bytes() for file in tiny_bundle.iterdir()}
    with pytest.raises(UsageError, match=says):
        quantize_bundle(tiny_bundle, **changes)
    assert {file: file.read_bytes() for file in tiny_bundle.iterdir()} == before


def test_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"nowhere\.mmcaf"):
        quantize_bundle(tmp_path / "nowhere.mmcaf")
