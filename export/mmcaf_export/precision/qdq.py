"""INT8 as QuantizeLinear and DequantizeLinear pairs, in the form that every runtime takes.

Activations: one symmetric scale per tensor. Weights: one symmetric scale per output, which is a channel of a
convolution, and a column of a product's matrix or, where that is stored transposed, a row. Zero points are 0 and biases
stay in floating point, as TensorRT demands (TensorRT documentation, "Working with Quantized Types"; ONNX operators
QuantizeLinear and DequantizeLinear).
"""

from collections.abc import Collection, Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from .edit import add_constant, constant_of, drop_unused, insert_after, make_node
from .layers import weight_axis

LEVELS = 127  # symmetric: -128 is not used
_INT8 = ir.DataType.INT8


def insert_qdq(model: ir.Model, nodes: Collection[str], ranges: Mapping[str, float]) -> None:
    """Quantise the inputs and weights of the named convolutions and matrix products, in place.

    Args:
        nodes: names of Conv, MatMul and Gemm nodes with stored weights, as `weight_axis` knows them.
        ranges: value -> largest magnitude to represent, for every value that these nodes read.
    """
    graph = model.graph
    axes = {node: axis for node in graph if node.name in nodes and (axis := weight_axis(node)) is not None}
    if others := set(nodes) - {node.name for node in axes}:
        raise ValueError(f"{', '.join(sorted(others))} is no convolution or product with a stored weight")
    read: dict[ir.Value, ir.Value] = {}
    weights: dict[tuple[ir.Value, int], ir.Value] = {}
    for node, axis in axes.items():
        source, weight = node.inputs[0], node.inputs[1]
        if source is None or weight is None or source.name is None:
            raise ValueError(f"{node.name}: a layer without input or weight")
        if source not in read:
            read[source] = _quantised_value(graph, source, ranges[source.name])
        if (weight, axis) not in weights:
            weights[weight, axis] = _quantised_weight(graph, weight, axis)
        node.replace_input_with(0, read[source])
        node.replace_input_with(1, weights[weight, axis])
    drop_unused(model)


def quantise_weight(weight: NDArray[np.float32], axis: int = 0) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Weight as int8 and one scale for each place on `axis`, which counts outputs; one of zeros gets the scale 1."""
    others = tuple(at for at in range(weight.ndim) if at != axis)
    largest = np.abs(weight).max(axis=others, keepdims=True)
    scales = (largest / LEVELS).astype(np.float32)
    scales[scales == 0] = 1
    rounded = np.rint(weight / scales)
    return np.clip(rounded, -LEVELS, LEVELS).astype(np.int8), scales.reshape(-1)


def _quantised_value(graph: ir.Graph, value: ir.Value, largest: float) -> ir.Value:
    scale = add_constant(graph, f"{value.name}:scale", np.array(max(largest, 1e-12) / LEVELS, np.float32))
    zero = add_constant(graph, f"{value.name}:zero", np.array(0, np.int8))
    down = make_node("QuantizeLinear", [value, scale, zero], f"{value.name}:int8", _INT8, value.shape)
    up = make_node(
        "DequantizeLinear",
        [down.outputs[0], scale, zero],
        f"{value.name}:dequantised",
        ir.DataType.FLOAT,
        value.shape,
    )
    insert_after(graph, value, [down, up])
    return up.outputs[0]


def _quantised_weight(graph: ir.Graph, weight: ir.Value, axis: int) -> ir.Value:
    array = constant_of(weight)
    if array is None:
        raise ValueError(f"{weight.name} is no stored weight")
    stored, scales = quantise_weight(array.astype(np.float32), axis)
    name = f"{weight.name}:columns" if axis else weight.name
    inputs = [
        add_constant(graph, f"{name}:int8", stored),
        add_constant(graph, f"{name}:scale", scales),
        add_constant(graph, f"{name}:zero", np.zeros(len(scales), np.int8)),
    ]
    node = make_node("DequantizeLinear", inputs, f"{name}:dequantised", ir.DataType.FLOAT, weight.shape, axis=axis)
    graph.insert_before(graph[0], [node])
    return node.outputs[0]
