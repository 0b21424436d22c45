"""Blocks that kernels compute, found in a network as OpenVINO reads it: as many whatever its nodes are called."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("openvino", reason="OpenVINO is not installed")
pytest.importorskip("onnx", reason="ONNX is not installed")

import onnx
import onnx_ir as ir
import openvino
from onnx import helper, numpy_helper
from openvino import opset13

from kernels.near_misses import other_bound, other_corners, other_padding, other_slope
from mmcaf_engine.bundle.default import default_bundle
from mmcaf_export.onnx_files import load_model
from mmcaf_export.precision import one_pass_variance
from mmcaf_kernels.cpu.openvino.reading import Reader
from mmcaf_kernels.graph.fuse import fuse
from mmcaf_kernels.graph.fusions import groupnorm_act, msca_attention, msdc, upsample_dw
from mmcaf_kernels.graph.graph import KERNEL

FUSIONS = (groupnorm_act.find, msca_attention.find, msdc.find, upsample_dw.find)
FOUND = {"groupnorm_act": 43, "msca_attention": 3, "msdc": 3, "upsample_dw": 2}
Edit = Callable[[onnx.GraphProto], None]


@pytest.fixture(scope="module")
def demo() -> Path:
    return default_bundle().path / "model.onnx"


def read(model: onnx.ModelProto) -> Any:
    """As a session reads it, for one window."""
    network = openvino.Core().read_model(model.SerializeToString())
    network.reshape({port.get_any_name(): [1, *port.get_partial_shape()[1:]] for port in network.inputs})
    return network


def found(model: onnx.ModelProto) -> Counter[str]:
    graph = Reader(read(model)).graph
    fuse(graph, FUSIONS, one_type=False)
    return Counter(node.operator.removeprefix(KERNEL) for node in graph.nodes if node.operator.startswith(KERNEL))


def shuffled(model: onnx.ModelProto, seed: int) -> None:
    """Other names for all nodes and inner values, another order, and sums and products turned round."""
    draw, graph = np.random.default_rng(seed), model.graph
    kept = {value.name for value in (*graph.input, *graph.output)}
    inner = {name for node in graph.node for name in node.output} | {tensor.name for tensor in graph.initializer}
    names = {name: f"v{at}" for at, name in enumerate(draw.permutation(sorted(inner - kept)))}
    for tensor in graph.initializer:
        tensor.name = names[tensor.name]
    del graph.value_info[:]
    waiting = [graph.node[at] for at in draw.permutation(len(graph.node))]
    for at, node in enumerate(waiting):
        node.name = f"n{at}"
        inputs = [names.get(name, name) for name in node.input]
        node.input[:] = inputs[::-1] if node.op_type in ("Add", "Mul") and draw.integers(2) else inputs
        node.output[:] = [names.get(name, name) for name in node.output]
    made = {"", *(value.name for value in graph.input), *(tensor.name for tensor in graph.initializer)}
    ordered = []
    while waiting:
        node = next(node for node in waiting if made.issuperset(node.input))
        waiting.remove(node)
        ordered.append(node)
        made.update(node.output)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:]
    graph.node.extend(copies)


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_as_many_blocks_after_renaming_and_shuffling(seed: int | None, demo: Path) -> None:
    model = onnx.load(demo)
    if seed is not None:
        shuffled(model, seed)
    assert found(model) == FOUND


def other_epsilon(graph: onnx.GraphProto) -> None:
    """What is added to the first norm's variance is one number for each channel."""
    root = next(node for node in graph.node if node.op_type == "Sqrt")
    added = next(node for node in graph.node if root.input[0] in node.output)
    added.input[1] = "many"
    graph.initializer.append(numpy_helper.from_array(np.full((1, 1, 6), 1e-5, np.float32), "many"))


def a_dilation(graph: onnx.GraphProto) -> None:
    """One depthwise convolution of the first sum is dilated."""
    for node in graph.node:
        entries = {entry.name: entry for entry in node.attribute}
        if node.op_type == "Conv" and "msdc" in node.output[0] and list(entries["pads"].ints) == [2] * 6:
            entries["pads"].ints[:] = [4] * 6
            entries["dilations"].ints[:] = [2] * 3
            return


def a_missing_bias(graph: onnx.GraphProto) -> None:
    """The upsampling's convolution adds nothing: the kernel computes that too, with a bias of zeros."""
    node = next(node for node in graph.node if node.op_type == "Conv" and "ucb1.up_dwc" in node.output[0])
    del node.input[2:]


def another_activation(graph: onnx.GraphProto) -> None:
    """The upsampling ends in another curve than a ReLU."""
    next(node for node in graph.node if node.op_type == "Relu" and "ucb1.up_dwc" in node.output[0]).op_type = "Softplus"


def another_residual(graph: onnx.GraphProto) -> None:
    """What a gated norm adds is one number for each channel."""
    added = next(node for node in graph.node if node.op_type == "Add" and "penet_blocks.1" in node.output[0]
                 and "penet_blocks.0" in node.input[1])  # fmt: skip
    added.input[1] = "numbers"
    graph.initializer.append(numpy_helper.from_array(np.zeros((1, 24, 1, 1, 1), np.float32), "numbers"))


@pytest.mark.parametrize(
    ("edit", "without"),
    [
        (other_bound, "msdc"),
        (other_slope, "groupnorm_act"),
        (other_padding, "msca_attention"),
        (other_corners, "upsample_dw"),
        (other_epsilon, "groupnorm_act"),
        (another_residual, "groupnorm_act"),
        (a_dilation, "msdc"),
        (a_missing_bias, None),
        (another_activation, "upsample_dw"),
    ],
    ids=lambda value: value.__name__ if callable(value) else str(value),
)
def test_what_only_resembles_a_block_is_none(edit: Edit, without: str | None, demo: Path) -> None:
    model = onnx.load(demo)
    edit(model.graph)
    assert found(model) == Counter(FOUND) - Counter([without] if without else [])


def in_one_pass(demo: Path) -> onnx.ModelProto:
    """Variances as networks with layers in INT8 have them."""
    model = load_model(demo)
    assert one_pass_variance.apply(model) == FOUND["groupnorm_act"]
    return ir.to_proto(model)


def another_count(graph: onnx.GraphProto) -> None:
    """The first norm's squares are divided by another number than that of the values."""
    squares = next(node for node in graph.node if node.name.endswith(":average"))
    squares.input[1] = "fewer"
    graph.initializer.append(numpy_helper.from_array(np.array(7, np.float32), "fewer"))


def other_lengths(graph: onnx.GraphProto) -> None:
    """The squares of the first norm are of whole slices."""
    length = next(node for node in graph.node if node.op_type == "ReduceL2")
    length.input[1] = "slices"
    graph.initializer.append(numpy_helper.from_array(np.array([3, 4]), "slices"))


@pytest.mark.parametrize("edit", [None, another_count, other_lengths])
def test_variances_in_one_pass(edit: Edit | None, demo: Path) -> None:
    model = in_one_pass(demo)
    if edit is not None:
        edit(model.graph)
    assert found(model) == Counter(FOUND) - Counter(["groupnorm_act"] if edit else [])


def test_a_value_inside_of_a_block_that_is_read_elsewhere_is_still_made(demo: Path) -> None:
    """Then the block's nodes stay, beside the kernel."""
    model = onnx.load(demo)
    root = next(node for node in model.graph.node if node.op_type == "Sqrt")
    model.graph.output.append(helper.make_tensor_value_info(root.output[0], onnx.TensorProto.FLOAT, None))
    assert found(model) == FOUND


@pytest.mark.parametrize("kind", ["f32", "f16", "bf16"])
def test_a_constant_is_computed_from_others(kind: str) -> None:
    stored = opset13.convert(opset13.constant(np.array([1.5, -2, 0.25], np.float32)), kind)
    turned = opset13.reshape(stored, opset13.constant(np.array([1, 3])), False)
    x = opset13.parameter([1, 3], np.float32, name="x")
    network = openvino.Model([opset13.add(x, opset13.convert(turned, "f32"))], [x], "sum")
    reader = Reader(network)
    (node,) = reader.graph.nodes
    assert node.operator == "Add"
    assert reader.graph.array(node.inputs[1]).tolist() == [[1.5, -2, 0.25]]


def test_what_has_no_fixed_shape_keeps_a_name_that_no_pattern_has() -> None:
    x = opset13.parameter([1, -1], np.float32, name="x")
    network = openvino.Model([opset13.multiply(opset13.add(x, x), opset13.constant(np.float32(2)))], [x], "free")
    assert [node.operator for node in Reader(network).graph.nodes] == ["Add", "Multiply"]


def test_clips_and_leaky_slopes_in_onnx_words() -> None:
    x = opset13.parameter([1, 3], np.float32, name="x")
    clipped = opset13.minimum(opset13.constant(np.float32(6)), opset13.maximum(x, opset13.constant(np.float32(0))))
    curved = opset13.prelu(opset13.clamp(clipped, -1.0, 2.0), opset13.constant(np.array([0.2], np.float32)))
    by_channel = opset13.prelu(curved, opset13.constant(np.array([0.1, 0.2, 0.3], np.float32)))
    reader = Reader(openvino.Model([by_channel], [x], "curves"))
    nodes = {node.operator: node for node in reader.graph.nodes}
    assert list(nodes) == ["Max", "Clip", "LeakyRelu", "PRelu"]
    bounds = [
        [reader.graph.array(bound).item() for bound in node.inputs[1:]]
        for node in reader.graph.nodes
        if node.operator == "Clip"
    ]
    assert bounds == [[0, 6], [-1, 2]]
    assert nodes["LeakyRelu"].attributes["alpha"] == pytest.approx(0.2)
