"""INT8 with BF16 maps: which values are kept in BF16, which layers compute in it, and that runtimes follow the file."""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from mmcaf_engine.backends.openvino.backend import OpenVinoBackend
from mmcaf_engine.manifest import TensorSpec
from mmcaf_export.onnx_files import load_model, save_model
from mmcaf_export.precision.maps import keep_maps_in_bf16, simulate_bf16
from mmcaf_export.precision.qdq import insert_qdq
from small_networks import answer, save_network

SHAPE = (3, 7, 17, 63)
GENERATOR = np.random.default_rng(5)
IMAGE = GENERATOR.normal(size=(1, *SHAPE)).astype(np.float32)
WEIGHTS: dict[str, NDArray[Any]] = {
    "first.weight": GENERATOR.normal(size=(5, 3, 1, 3, 3)).astype(np.float32),
    "second.weight": GENERATOR.normal(size=(5, 5, 1, 1, 1)).astype(np.float32),
    "third.weight": GENERATOR.normal(size=(5, 5, 1, 1, 1)).astype(np.float32),
    "scale": GENERATOR.normal(size=(5, 1, 1, 1)).astype(np.float32),
    "space": np.array([2, 3, 4], dtype=np.int64),
    "flat": np.array([0, 5, -1], dtype=np.int64),
}
RANGES = {"image": 4.0, "active": 12.0}


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A block with a residual: first and second in INT8, third not; norm by the mean, chains of two steps each."""
    nodes = [
        helper.make_node("Conv", ["image", "first.weight"], ["first"], pads=[0, 1, 1, 0, 1, 1]),
        helper.make_node("ReduceMean", ["first", "space"], ["mean"], keepdims=1),
        helper.make_node("Sub", ["first", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "scale"], ["scaled"]),
        helper.make_node("Relu", ["scaled"], ["active"]),
        helper.make_node("Conv", ["active", "second.weight"], ["second"]),
        helper.make_node("Add", ["second", "first"], ["sum"]),
        helper.make_node("LeakyRelu", ["sum"], ["residual"]),
        helper.make_node("Conv", ["residual", "third.weight"], ["third"]),
        helper.make_node("Add", ["third", "residual"], ["total"]),
        helper.make_node("MaxPool", ["total"], ["peaks"], kernel_shape=[1, 2, 2], strides=[1, 2, 2]),
        helper.make_node("Reshape", ["peaks", "flat"], ["rows"]),
        helper.make_node("ReduceMean", ["rows", "last"], ["score"], keepdims=0),
    ]
    constants = {**WEIGHTS, "last": np.array([2], dtype=np.int64)}
    path = save_network(tmp_path / "fp32.onnx", nodes, {"image": ["N", *SHAPE]}, {"score": ["N", 5]}, constants)
    model = load_model(path)
    insert_qdq(model, ["first", "second"], RANGES)
    save_model(model, path)
    return path


def with_maps(source: Path, output: Path) -> onnx.ModelProto:
    model = load_model(source)
    keep_maps_in_bf16(model)
    save_model(model, output)
    onnx.checker.check_model(onnx.load(output), full_check=True)
    return onnx.load(output)


def test_which_values_are_kept(network: Path, tmp_path: Path) -> None:
    """What other layers read; not the steps of a chain, what is quantised at once, sums, or values that are moved."""
    model = with_maps(network, tmp_path / "maps.onnx")
    nodes = {node.name: node for node in model.graph.node}
    assert {name.removesuffix(":kept") for name in nodes if name.endswith(":kept")} == {
        "first",
        "second",
        "residual",
        "total",
    }
    assert nodes["third"].input[0] == "residual:kept", "it reads the map as it is kept"
    assert nodes["image:int8"].op_type == nodes["active:int8"].op_type == "QuantizeLinear"
    assert [nodes[name].input[0] for name in ("active:int8", "mean", "centred")] == [
        "active",
        "first:read",
        "first:read",
    ]
    types = {value.name: value.type.tensor_type.elem_type for value in (*model.graph.value_info, *model.graph.output)}
    low = {name for name, kind in types.items() if kind == TensorProto.BFLOAT16}
    assert low - {"third.weight:bfloat16"} == {"first:kept", "second:kept", "residual:kept", "total:kept", "third"}
    assert all(types[name] == TensorProto.FLOAT for name in ("mean", "centred", "scaled", "sum", "score"))


def test_small_values_and_outputs_stay(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["image", "weight"], ["small"]),
        helper.make_node("Relu", ["small"], ["score"]),
    ]
    constants = {"weight": np.ones((1, 3, 1, 1, 1), np.float32)}
    path = save_network(
        tmp_path / "one.onnx", nodes, {"image": ["N", 3, 7, 9, 63]}, {"score": ["N", 1, 7, 9, 63]}, constants
    )
    assert not [node for node in with_maps(path, tmp_path / "maps.onnx").graph.node if node.op_type == "Cast"]


def test_the_simulation_rounds_what_the_file_rounds(network: Path, tmp_path: Path) -> None:
    """numpy's answer to the same rounding, map by map."""
    with_maps(network, tmp_path / "maps.onnx")
    model = load_model(tmp_path / "maps.onnx")
    simulate_bf16(model)
    save_model(model, tmp_path / "simulated.onnx")
    products = [node for node in onnx.load(tmp_path / "simulated.onnx").graph.node if node.op_type == "Conv"]
    assert len(products) == 3
    found = answer(tmp_path / "simulated.onnx", {"image": IMAGE})

    def step(values: NDArray[Any], largest: float) -> NDArray[Any]:
        scale = np.float32(largest / 127)
        return np.clip(np.rint(values / scale), -128, 127).astype(np.float32) * scale

    def low(values: NDArray[Any]) -> NDArray[Any]:
        return values.astype(ml_dtypes.bfloat16).astype(np.float32)

    def weight(name: str) -> NDArray[Any]:
        array = WEIGHTS[name]
        scales = np.abs(array).max(axis=(1, 2, 3, 4), keepdims=True) / np.float32(127)
        return np.asarray(np.rint(array / scales) * scales, np.float32)

    padded = np.pad(step(IMAGE, RANGES["image"]), [(0, 0)] * 3 + [(1, 1)] * 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(3, 4))
    first = low(np.einsum("nczyxij,ocij->nozyx", windows, weight("first.weight")[:, :, 0], optimize=True))
    active = np.maximum((first - first.mean(axis=(2, 3, 4), keepdims=True)) * WEIGHTS["scale"], 0)
    second = low(np.einsum("nczyx,oc->nozyx", step(active, RANGES["active"]), weight("second.weight")[:, :, 0, 0, 0]))
    residual = second + first
    residual = low(np.where(residual > 0, residual, np.float32(0.01) * residual))
    third = low(np.einsum("nczyx,oc->nozyx", residual, low(WEIGHTS["third.weight"])[:, :, 0, 0, 0]))
    total = low(third + residual)[..., :16, :62].reshape(1, 5, 7, 8, 2, 31, 2).max(axis=(4, 6))
    expected = total.mean(axis=(2, 3, 4))
    np.testing.assert_allclose(found, expected, rtol=2e-4)  # a step of BF16 where sums in another order meet its middle


def test_openvino_answers_as_the_simulation(network: Path, tmp_path: Path) -> None:
    """On a processor with BF16 units as the file says; without them, the third convolution reads FP32 weights."""
    with_maps(network, tmp_path / "maps.onnx")
    model = load_model(tmp_path / "maps.onnx")
    simulate_bf16(model)
    save_model(model, tmp_path / "simulated.onnx")
    inputs = (TensorSpec(name="image", kind="volume", shape=("N", *SHAPE)),)
    outputs = (TensorSpec(name="score", kind="score", shape=("N", 5)),)
    with OpenVinoBackend(tmp_path / "maps.onnx", inputs, outputs, 1, "int8-bf16") as opened:
        found = opened.infer({"image": IMAGE})["score"]
    expected = answer(tmp_path / "simulated.onnx", {"image": IMAGE})
    units = OpenVinoBackend.can_run("int8-bf16").available
    np.testing.assert_allclose(found, expected, rtol=5e-3 if units else 2e-2)
