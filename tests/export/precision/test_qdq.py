"""INT8 as QDQ: what is stored, where the pairs stand, and numpy's answer to the same rounding."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mmcaf_engine.backends.registry import backend_class
from mmcaf_engine.manifest import TensorSpec
from mmcaf_export.networks.mmcaf.rewrites.planar_stem import PlanarStem
from mmcaf_export.onnx_export import export_onnx
from mmcaf_export.onnx_files import load_model, save_model
from mmcaf_export.precision.layers import candidates
from mmcaf_export.precision.qdq import insert_qdq, quantise_weight
from small_networks import answer, convolve, save_network

SHAPE = (2, 3, 5, 7)  # channels, slices, rows, columns
RANGES = {"image": 2.5, "active": 1.75}
GENERATOR = np.random.default_rng(7)
WEIGHTS: dict[str, NDArray[np.float32]] = {
    "first.weight": GENERATOR.normal(size=(4, 2, 3, 3, 3)).astype(np.float32),
    "first.bias": GENERATOR.normal(size=4).astype(np.float32),
    "left.weight": GENERATOR.normal(size=(3, 4, 1, 3, 3)).astype(np.float32),
    "right.weight": GENERATOR.normal(size=(3, 4, 3, 1, 1)).astype(np.float32),
}
WEIGHTS["left.weight"][1] = 0  # a channel of zeros
IMAGE = GENERATOR.normal(size=(2, *SHAPE)).astype(np.float32)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """left(relu(first(image))) + right(relu(first(image)))."""
    nodes = [
        helper.make_node("Conv", ["image", "first.weight", "first.bias"], ["first"], pads=[1] * 6),
        helper.make_node("Relu", ["first"], ["active"]),
        helper.make_node("Conv", ["active", "left.weight"], ["left"], pads=[0, 1, 1, 0, 1, 1]),
        helper.make_node("Conv", ["active", "right.weight"], ["right"], pads=[1, 0, 0, 1, 0, 0]),
        helper.make_node("Add", ["left", "right"], ["sum"]),
    ]
    shapes = {"image": ["N", *SHAPE]}, {"sum": ["N", 3, *SHAPE[1:]]}
    return save_network(tmp_path / "fp32.onnx", nodes, *shapes, WEIGHTS)


def quantised(network: Path, *nodes: str, ranges: Mapping[str, float] = RANGES) -> Path:
    model = load_model(network)
    insert_qdq(model, nodes, ranges)
    output = network.with_name(f"{'-'.join(nodes)}.int8.onnx")
    save_model(model, output)
    return output


def rounded(values: NDArray[Any], largest: float) -> NDArray[np.float64]:
    """Fake quantisation of an activation: round half to even, saturate, one scale."""
    scale = np.float32(largest / 127)
    return np.clip(np.rint(values.astype(np.float32) / scale), -128, 127).astype(np.float64) * scale


def rounded_weight(name: str) -> NDArray[np.float64]:
    """Fake quantisation of a weight, channel by channel."""
    channels = []
    for channel in WEIGHTS[name].astype(np.float64):
        step = np.float64(np.float32(np.abs(channel).max() / 127)) or 1.0
        channels.append(np.rint(channel / step) * step)
    return np.stack(channels)


def numpy_answer(nodes: tuple[str, ...]) -> NDArray[np.float64]:
    def weight(node: str) -> NDArray[Any]:
        return rounded_weight(f"{node}.weight") if node in nodes else WEIGHTS[f"{node}.weight"]

    def read(node: str, value: NDArray[Any], name: str) -> NDArray[Any]:
        return rounded(value, RANGES[name]) if node in nodes else value

    first = convolve(read("first", IMAGE, "image"), weight("first"), WEIGHTS["first.bias"])
    active = np.maximum(first, 0).astype(np.float32)
    left, right = (convolve(read(node, active, "active"), weight(node)) for node in ("left", "right"))
    return left + right


@pytest.mark.parametrize("nodes", [("first",), ("left",), ("left", "right")], ids="-".join)
def test_answers_as_numpy_does(network: Path, nodes: tuple[str, ...]) -> None:
    found = answer(quantised(network, *nodes), {"image": IMAGE})
    np.testing.assert_allclose(found, numpy_answer(nodes), rtol=0, atol=2e-5)
    assert np.abs(found - numpy_answer(())).max() > 1e-2  # and not as FP32 does


def test_what_is_stored(network: Path) -> None:
    model = onnx.load(quantised(network, "first", "left", "right"))
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for name in ("first.weight", "left.weight", "right.weight"):
        weight, scale, zero = (stored[f"{name}:{part}"] for part in ("int8", "scale", "zero"))
        assert name not in stored, "the float weight is left behind"
        assert weight.dtype == zero.dtype == np.int8 and scale.dtype == np.float32
        assert weight.shape == WEIGHTS[name].shape and scale.shape == zero.shape == (len(weight),)
        assert weight.min() >= -127 and not zero.any()
        largest = np.abs(weight.astype(int)).reshape(len(weight), -1).max(axis=1)
        assert set(largest) <= {127, 0}
        np.testing.assert_allclose(
            weight * scale.reshape(-1, 1, 1, 1, 1), WEIGHTS[name], atol=float(scale.max()) / 2 * 1.001
        )
    for name, largest in RANGES.items():
        assert stored[f"{name}:scale"] == np.float32(largest / 127) and stored[f"{name}:zero"] == 0
    np.testing.assert_array_equal(stored["first.bias"], WEIGHTS["first.bias"])


def test_one_pair_per_activation(network: Path) -> None:
    graph = onnx.load(quantised(network, "first", "left", "right")).graph
    down = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    up = [node for node in graph.node if node.op_type == "DequantizeLinear"]
    assert [node.input[0] for node in down] == ["image", "active"]
    assert len(up) == len(down) + 3  # and one per weight
    assert all(len(node.input) == 3 for node in (*down, *up))
    convolutions = {node.name: node for node in graph.node if node.op_type == "Conv"}
    assert convolutions["left"].input[0] == convolutions["right"].input[0] == "active:dequantised"
    assert convolutions["first"].input[2] == "first.bias"
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    assert types["active:int8"] == TensorProto.INT8 and types["active:dequantised"] == TensorProto.FLOAT


def test_only_named_convolutions_change(network: Path) -> None:
    before, after = onnx.load(network).graph, onnx.load(quantised(network, "left")).graph
    nodes = {node.name: node for node in after.node}
    for node in before.node:
        if node.name != "left":
            assert nodes[node.name] == node
    assert {name for name in nodes if name not in {node.name for node in before.node}} == {
        "active:int8",
        "active:dequantised",
        "left.weight:dequantised",
    }


@pytest.mark.parametrize("name", ["active", "nowhere"], ids=["not a convolution", "no such node"])
def test_a_name_that_is_no_convolution(network: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is no convolution or product"):
        quantised(network, "left", name)


def test_the_same_bytes(network: Path) -> None:
    first = quantised(network, "first", "right").read_bytes()
    assert quantised(network, "right", "first").read_bytes() == first


def test_a_value_that_is_always_zero(network: Path) -> None:
    found = answer(quantised(network, "first", ranges={"image": 0.0}), {"image": np.zeros_like(IMAGE)})
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, answer(network, {"image": np.zeros_like(IMAGE)}), atol=1e-5)


@pytest.mark.parametrize("largest", [0.0, 1e-44, 1e-30, 1.0, 3e38])
def test_weights_of_any_size(largest: float) -> None:
    weight = np.array([[-1.0, 0.5, 0.0], [0.25, 1.0, 0.125]], np.float32) * np.float32(largest)
    with np.errstate(all="raise", under="ignore"):
        stored, scale = quantise_weight(weight)
    assert np.isfinite(scale).all() and (scale > 0).all() and stored.min() >= -127
    np.testing.assert_allclose(stored * scale[:, None].astype(np.float64), weight, rtol=0, atol=largest / 250 + 1e-43)


def test_every_runtime_answers_the_stem_alike(tmp_path: Path) -> None:
    """A convolution over shifted copies, as the stem is laid out, once it is INT8: OpenVINO against ONNX Runtime."""
    torch.manual_seed(0)
    stem = torch.nn.Conv3d(1, 16, 7, stride=(1, 2, 2), padding=3, bias=False)
    image = GENERATOR.normal(size=(1, 1, 4, 33, 33)).astype(np.float32)
    fp32, int8 = tmp_path / "stem.onnx", tmp_path / "stem.int8.onnx"
    export_onnx(PlanarStem(stem).eval(), {"image": torch.from_numpy(image)}, fp32, outputs=("stem",))
    model = load_model(fp32)
    (layer,) = candidates(model)
    insert_qdq(model, [layer.node], {layer.input: float(np.abs(image).max())})
    save_model(model, int8)
    expected = answer(fp32, {"image": image})
    for backend in ("onnxruntime", "openvino"):
        inputs = (TensorSpec(name="image", kind="volume", shape=("N", *image.shape[1:])),)
        outputs = (TensorSpec(name="stem", kind="score", shape=("N", *expected.shape[1:])),)
        with backend_class(backend)(int8, inputs, outputs, 1, "int8") as opened:
            found = opened.infer({"image": image})["stem"]
        error = np.abs(found - expected).max() / np.abs(expected).max()
        assert 0 < error < 0.02, backend
