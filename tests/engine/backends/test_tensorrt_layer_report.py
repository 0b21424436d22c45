"""The engine inspector's report: read from what TensorRT 10 and 11 write, and, on a GPU, from a real engine."""

import json
from pathlib import Path
from typing import Any

import pytest

from mmcaf_engine import load_bundle
from mmcaf_engine.backends.tensorrt import layer_report
from mmcaf_engine.backends.tensorrt.conv_precision import Product
from mmcaf_engine.backends.tensorrt.flavour import Flavour
from mmcaf_engine.backends.tensorrt.layer_report import EngineLayer, flops_in_engine, load_report, read_report
from mmcaf_engine.errors import BackendError
from mmcaf_engine.machine.gpu import Gpus, find_gpus
from mmcaf_engine.session.build_ahead import build_ahead
from refusals import refused
from small_networks import make_convolution_bundle

INT8, FP16 = (
    "Thirty-two wide channel vectorized row major Int8 format",
    "Channel major FP16 format where channel % 8 == 0",
)


def layer(name: str, nodes: list[str], inputs: list[str], outputs: list[str]) -> dict[str, Any]:
    return {
        "Name": name,
        "LayerType": "CaskConvolution",
        "Inputs": [{"Name": "x", "Location": "Device", "Dimensions": [1, 4], "Format/Datatype": one} for one in inputs],
        "Outputs": [{"Name": "y", "Dimensions": [1, 4], "Format/Datatype": one} for one in outputs],
        "TacticName": "sm80_xmma_fprop",
        "Metadata": "\u001e".join(f"[ONNX Layer: {node}]" for node in nodes),
    }


def test_layers() -> None:
    layers = [
        layer("first + relu", ["block.1/Conv", "block.1/Relu"], [INT8], [FP16]),
        layer("second", ["block.2/Conv"], [FP16, FP16], ["Row major linear FP32"]),
        "reformat",
    ]
    first, second, third = read_report(json.dumps({"Layers": layers, "Bindings": ["x", "y"]}))
    assert first == EngineLayer(
        "first + relu", "CaskConvolution", ("block.1/Conv", "block.1/Relu"), ("INT8",), ("FP16",), "sm80_xmma_fprop"
    )
    assert (second.inputs, second.outputs) == (("FP16", "FP16"), ("FP32",))
    assert third == EngineLayer("reformat", "", (), (), (), "")


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ({"Format/Datatype": "Row major linear BF16"}, "BF16"),
        ({"Format/Datatype": "Half"}, "FP16"),
        ({"Format": "Row major linear", "DataType": "Float"}, "FP32"),
        ({"Format/Datatype": "N/A due to dynamic shapes"}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_types(words: dict[str, str], kind: str) -> None:
    report = {"Layers": [{"Name": "one", "Inputs": [words], "Outputs": []}]}
    assert read_report(json.dumps(report))[0].inputs == (kind,)


def test_arithmetic_by_the_engines_types() -> None:
    """What was to be INT8 runs in FP16, and what no layer names is not counted as anything."""
    found = [
        Product("block.1/Conv", "convolution", ("INT8", "INT8"), 100),
        Product("block.2/Conv", "convolution", ("INT8", "INT8"), 30),
        Product("block.3/Conv", "convolution", ("FP16", "FP16"), 7),
        Product("head/Gemm", "matrix product", ("FP32", "FP32"), 1000),
    ]
    layers = [
        EngineLayer("a", "", ("block.1/Conv",), ("INT8",), ("FP16",), ""),
        EngineLayer("b", "", ("block.2/Conv", "block.2/Relu"), ("FP16",), ("FP16",), ""),
        EngineLayer("c", "", ("head/Gemm",), ("FP32",), ("FP32",), ""),
    ]
    assert flops_in_engine(layers, found) == {"INT8": 100, "FP16": 30, "unknown": 7}


@pytest.mark.parametrize(
    "report", ["", "null", "[]", "{}", '{"Layers": [{}]}', '{"Layers": [7]}', '{"Layers": 1}', "[" * 100_000]
)
def test_what_is_no_report(report: str) -> None:
    with refused(BackendError, "engine inspector's report"):
        read_report(report)


def test_without_a_gpu_no_engine_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_report, "find_gpus", lambda: Gpus((), "no NVIDIA driver", False))
    with refused(BackendError, "GPU", "NVIDIA driver"):
        load_report(Flavour("tensorrt_rtx", "1.7", None), b"plan")


@pytest.mark.gpu
@pytest.mark.parametrize("again", [False, True], ids=["as-built", "loaded-again"])
def test_a_real_engine_reports_its_layers(again: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not find_gpus().found:
        pytest.skip(find_gpus().reason)
    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    made = build_ahead(load_bundle(make_convolution_bundle(tmp_path / "small.mmcaf")), "fp32", [])
    text = load_report(made.flavour, made.engine.plan) if again else (made.kept[0] / "layers.json").read_text()
    assert read_report(text)
