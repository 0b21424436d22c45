"""FP16 and BF16 graphs: which tensor has which type, and numpy's answer to the same rounding."""

import re
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from numpy.typing import DTypeLike, NDArray
from onnx import TensorProto, helper

from mmcaf_engine.backends.openvino.backend import OpenVinoBackend
from mmcaf_engine.manifest import TensorSpec
from mmcaf_export.onnx_files import load_model, save_model
from mmcaf_export.precision.typed import Low, lower_precision, simulate_precision
from small_networks import answer, convolve, save_network

SHAPE = (2, 3, 24, 24)
GENERATOR = np.random.default_rng(11)
IMAGE = GENERATOR.normal(size=(2, *SHAPE)).astype(np.float32)
WEIGHTS: dict[str, NDArray[Any]] = {
    "first.weight": GENERATOR.normal(size=(4, 2, 3, 3, 3)).astype(np.float32),
    "first.bias": GENERATOR.normal(size=4).astype(np.float32),
    "second.weight": GENERATOR.normal(size=(4, 4, 1, 1, 1)).astype(np.float32),
    "space": np.array([2, 3, 4], dtype=np.int64),
}
LOW: dict[Low, int] = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
NUMPY: dict[Low, DTypeLike] = {"fp16": np.float16, "bf16": ml_dtypes.bfloat16}


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """The mean of second(relu(first(image))) * itself, and a gate of a few values."""
    nodes = [
        helper.make_node("Conv", ["image", "first.weight", "first.bias"], ["first"], pads=[1] * 6),
        helper.make_node("Relu", ["first"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
        helper.make_node("Sigmoid", ["pooled"], ["gate"]),
        helper.make_node("Mul", ["active", "gate"], ["gated"]),
        helper.make_node("Conv", ["gated", "second.weight"], ["second"]),
        helper.make_node("Mul", ["second", "second"], ["square"]),
        helper.make_node("ReduceMean", ["square", "space"], ["score"], keepdims=0),
    ]
    return save_network(tmp_path / "fp32.onnx", nodes, {"image": ["N", *SHAPE]}, {"score": ["N", 4]}, WEIGHTS)


@pytest.fixture
def convolution(tmp_path: Path) -> Path:
    """One convolution, and the maximum over its map so that the output is no map."""
    nodes = [
        helper.make_node("Conv", ["image", "first.weight", "first.bias"], ["first"], pads=[1] * 6),
        helper.make_node("ReduceMax", ["first", "space"], ["peak"], keepdims=0),
    ]
    return save_network(tmp_path / "one.onnx", nodes, {"image": ["N", *SHAPE]}, {"peak": ["N", 4]}, WEIGHTS)


def lowered(source: Path, output: Path, precision: Low, keep: tuple[str, ...] = ()) -> onnx.ModelProto:
    """The lowered model, after the checker found nothing wrong."""
    model = load_model(source)
    lower_precision(model, precision, keep)
    save_model(model, output)
    onnx.checker.check_model(onnx.load(output), full_check=True)
    return onnx.load(output)


def types(model: onnx.ModelProto) -> dict[str, int]:
    """Value -> type as the graph declares it."""
    graph = model.graph
    return {
        value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info, *graph.output)
    } | {tensor.name: tensor.data_type for tensor in graph.initializer}


def low_nodes(model: onnx.ModelProto, precision: Low) -> set[str]:
    """Nodes, other than Casts, that compute in the low type."""
    declared = types(model)
    return {
        node.name for node in model.graph.node if node.op_type != "Cast" and declared[node.output[0]] == LOW[precision]
    }


def assert_strongly_typed(model: onnx.ModelProto) -> None:
    """Every floating type is declared, and only a Cast has one on the left and another on the right."""
    declared = types(model)
    floating = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16}
    for node in model.graph.node:
        ends = {declared[name] for name in (*node.input, *node.output) if name} & floating
        assert len(ends) <= 1 or node.op_type == "Cast", f"{node.name}: {ends}"
        if node.op_type == "Cast" and declared[node.input[0]] in floating and declared[node.output[0]] in floating:
            assert len(ends) == 2, f"{node.name} changes nothing"
    assert all(declared[value.name] == TensorProto.FLOAT for value in (*model.graph.input, *model.graph.output))


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("fp16", {"first", "active", "gated", "second"}), ("bf16", {"first", "second"})],
)
def test_which_nodes_are_low(network: Path, tmp_path: Path, precision: Low, expected: set[str]) -> None:
    model = lowered(network, tmp_path / "low.onnx", precision)
    assert_strongly_typed(model)
    assert low_nodes(model, precision) == expected
    stored = types(model)
    assert stored[f"first.weight:{np.dtype(NUMPY[precision]).name}"] == LOW[precision]
    assert "first.weight" not in stored


@pytest.mark.parametrize(("columns", "low"), [(63, set()), (64, {"first"}), (65, {"first"})])
@pytest.mark.parametrize("precision", LOW)
def test_a_map_has_at_least_so_many_elements(columns: int, low: set[str], precision: Low, tmp_path: Path) -> None:
    """Four channels of 16 rows of 64 are 4096."""
    nodes = [
        helper.make_node("Conv", ["image", "weight"], ["first"], pads=[0, 1, 0, 1]),
        helper.make_node("ReduceMax", ["first", "space"], ["peak"], keepdims=0),
    ]
    constants = {"weight": np.ones((4, 1, 1, 3), np.float32), "space": np.array([2, 3])}
    path = save_network(tmp_path / "one.onnx", nodes, {"image": ["N", 1, 16, columns]}, {"peak": ["N", 4]}, constants)
    assert low_nodes(lowered(path, tmp_path / "low.onnx", precision), precision) == low


@pytest.mark.parametrize("precision", LOW)
def test_kept_nodes_stay(network: Path, tmp_path: Path, precision: Low) -> None:
    model = lowered(network, tmp_path / "low.onnx", precision, keep=("second",))
    assert_strongly_typed(model)
    assert "first" in low_nodes(model, precision) and "second" not in low_nodes(model, precision)
    assert types(model)["second.weight"] == TensorProto.FLOAT


def test_everything_kept_changes_nothing(network: Path, tmp_path: Path) -> None:
    names = tuple(node.name for node in onnx.load(network).graph.node)
    assert lowered(network, tmp_path / "low.onnx", "fp16", keep=names).graph.node == onnx.load(network).graph.node


def test_one_cast_for_many_readers(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["image", "first.weight", "first.bias"], ["left"], pads=[1] * 6),
        helper.make_node("Conv", ["image", "first.weight"], ["right"], pads=[1] * 6),
        helper.make_node("Add", ["left", "right"], ["both"]),
        helper.make_node("ReduceMax", ["both", "space"], ["peak"], keepdims=0),
    ]
    source = save_network(tmp_path / "two.onnx", nodes, {"image": ["N", *SHAPE]}, {"peak": ["N", 4]}, WEIGHTS)
    model = lowered(source, tmp_path / "low.onnx", "bf16")
    assert sum(node.op_type == "Cast" and node.input[0] == "image" for node in model.graph.node) == 1
    assert sum(tensor.name.startswith("first.weight") for tensor in model.graph.initializer) == 1


def test_nodes_that_say_their_own_type(tmp_path: Path) -> None:
    """A mask's Cast and a pooling's positions keep the type that they declare, although they feed or make maps."""
    nodes = [
        helper.make_node("Conv", ["image", "first.weight"], ["first"], pads=[1] * 6),
        helper.make_node("MaxPool", ["first"], ["pooled", "positions"], kernel_shape=[1, 1, 1], name="pooled"),
        helper.make_node("Greater", ["pooled", "zero"], ["mask"]),
        helper.make_node("Cast", ["mask"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["pooled", "numbers"], ["masked"]),
        helper.make_node("Conv", ["masked", "second.weight"], ["second"]),
        helper.make_node("ReduceMax", ["second", "space"], ["peak"], keepdims=0),
        helper.make_node("ReduceMax", ["positions", "space"], ["last"], keepdims=0),
        helper.make_node("Cast", ["last"], ["place"], to=TensorProto.FLOAT),
    ]
    constants = {**WEIGHTS, "zero": np.array(0, np.float32)}
    outputs = {"peak": ["N", 4], "place": ["N", 4]}
    source = save_network(tmp_path / "mask.onnx", nodes, {"image": ["N", *SHAPE]}, outputs, constants)
    model = lowered(source, tmp_path / "low.onnx", "fp16")
    assert_strongly_typed(model)
    assert types(model)["positions"] == TensorProto.INT64
    found = answer(tmp_path / "low.onnx", {"image": IMAGE})
    np.testing.assert_allclose(found, answer(source, {"image": IMAGE}), rtol=5e-3)


def test_a_weight_that_fp16_cannot_hold(convolution: Path, tmp_path: Path) -> None:
    model = onnx.load(convolution)
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "first.weight")
    values = onnx.numpy_helper.to_array(weight).copy()
    values[0, 0, 0, 0, 0] = 1e6
    weight.CopyFrom(onnx.numpy_helper.from_array(values, "first.weight"))
    onnx.save(model, tmp_path / "large.onnx")
    for change in (lower_precision, simulate_precision):
        with pytest.raises(OverflowError, match=r"first\.weight reaches 1e\+06, too large for fp16"):
            change(load_model(tmp_path / "large.onnx"), "fp16")
    lowered(tmp_path / "large.onnx", tmp_path / "low.onnx", "bf16")


@pytest.mark.parametrize("precision", LOW)
def test_simulation_equals_numpy(convolution: Path, tmp_path: Path, precision: Low) -> None:
    model = load_model(convolution)
    simulate_precision(model, precision)
    save_model(model, tmp_path / "simulated.onnx")
    found = answer(tmp_path / "simulated.onnx", {"image": IMAGE})

    def rounded(values: NDArray[Any]) -> NDArray[np.float32]:
        return values.astype(NUMPY[precision]).astype(np.float32)

    image, weight, bias = (rounded(values) for values in (IMAGE, WEIGHTS["first.weight"], WEIGHTS["first.bias"]))
    expected = rounded(convolve(image, weight, bias).astype(np.float32)).max(axis=(2, 3, 4))
    np.testing.assert_array_equal(found, expected)
    exact = answer(convolution, {"image": IMAGE})
    assert (found != exact).any()
    np.testing.assert_allclose(found, exact, rtol=2e-3 if precision == "fp16" else 2e-2)


@pytest.mark.parametrize("precision", LOW)
def test_simulation_rounds_what_the_graph_lowers(network: Path, tmp_path: Path, precision: Low) -> None:
    """The same nodes, all in float32, each behind a visit to the low type; each value visits once."""
    low = low_nodes(lowered(network, tmp_path / "low.onnx", precision), precision)
    model = load_model(network)
    simulate_precision(model, precision)
    save_model(model, tmp_path / "simulated.onnx")
    simulated = onnx.load(tmp_path / "simulated.onnx")
    visits = [node.input[0] for node in simulated.graph.node if node.op_type == "Cast" and node.attribute[0].i != 1]
    assert low <= set(visits) and len(set(visits)) == len(visits)
    assert not any(":" in name for name in visits), "a rounded value is rounded again"
    assert types(simulated)["score"] == TensorProto.FLOAT
    np.testing.assert_allclose(
        answer(tmp_path / "simulated.onnx", {"image": IMAGE}), answer(network, {"image": IMAGE}), rtol=2e-2
    )


FP32_IN_THE_NETWORK = re.compile(
    r"^(kan|fin_cls|multiscale_fusion)[./]|cab\d(\.fc\d|/Sigmoid|/Concat)|/(ReduceMean|Softmax|Sqrt|Div|Gemm)"
)


@pytest.mark.parametrize("precision", LOW)
def test_the_network(mmcaf_bundle: Path, tmp_path: Path, precision: Low) -> None:
    source = mmcaf_bundle / "model.onnx"
    model = lowered(source, tmp_path / "low.onnx", precision)
    assert_strongly_typed(model)
    low = low_nodes(model, precision)
    nodes = {node.name: node.op_type for node in model.graph.node}
    small = [name for name in nodes if FP32_IN_THE_NETWORK.search(name)]
    assert len(small) > 100 and not low & set(small)
    assert "image_encoder.encoder.in_conv.0/Conv" in low and "image_encoder.encoder.in_conv.1/Mul" not in low
    if precision == "bf16":
        assert {nodes[name] for name in low} == {"Conv"} and model.opset_import[0].version >= 22
    else:
        assert {"Conv", "Add", "LeakyRelu", "Resize"} <= {nodes[name] for name in low}
        with np.load(mmcaf_bundle / "golden.npz") as golden:
            found = answer(tmp_path / "low.onnx", {name: golden[name] for name in ("image", "table")})
            np.testing.assert_allclose(found, golden["logit"], rtol=0, atol=2e-2)


def test_openvino_computes_in_bf16_what_the_file_says_and_nothing_else(network: Path, tmp_path: Path) -> None:
    """As the simulation of the gate: with the hint bf16, the squares and their mean would be off by 7e-3.

    A processor without BF16 units multiplies in FP32, and need not round at all.
    """
    lowered(network, tmp_path / "bf16.onnx", "bf16")
    simulated = load_model(network)
    simulate_precision(simulated, "bf16")
    save_model(simulated, tmp_path / "simulated.onnx")
    inputs = (TensorSpec(name="image", kind="volume", shape=("N", *SHAPE)),)
    outputs = (TensorSpec(name="score", kind="score", shape=("N", 4)),)
    with OpenVinoBackend(tmp_path / "bf16.onnx", inputs, outputs, 1, "bf16") as opened:
        found = opened.infer({"image": IMAGE})["score"]
    expected = answer(tmp_path / "simulated.onnx", {"image": IMAGE})
    error = np.abs(found / expected - 1).max()
    assert error < (5e-4 if OpenVinoBackend.can_run("bf16").available else 2e-2)
