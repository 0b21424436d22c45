"""FP16 and BF16 graphs, strongly typed: every tensor has its type, every change of type is a Cast.

Low precision is for maps, the large tensors, where it saves time and memory. Everything small stays in FP32:
statistics of norms, gates, softmax, the table's branch and the classifier. So does what only feeds a norm or a sum
over a map: squares in a variance, which FP16 could not even hold. So do recurrent layers and loops, where errors add up
from step to step, and tables of embeddings. BF16, with its eight bits, is for convolutions and large matrix products
alone; sums and element-wise products of maps between them stay in FP32.
"""

from collections.abc import Collection
from typing import Any, Literal

import ml_dtypes
import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from .edit import FLOATING, add_constant, constant_of, drop_unused, elements, insert_after, make_node
from .layers import PRODUCT_FLOPS, multiplied

Low = Literal["fp16", "bf16"]

MAP_ELEMENTS = 4096
"""A tensor of at least so many elements per window is a map."""

BF16_OPSET = 22  # the first whose Conv takes bfloat16
_TYPES = {"fp16": ir.DataType.FLOAT16, "bf16": ir.DataType.BFLOAT16}
_NUMPY = {"fp16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16)}
_SUMS = {"ReduceMean", "ReduceSum", "ReduceL2", "GlobalAveragePool", "Softmax", "LayerNormalization"}
_STEP_BY_STEP = {"LSTM", "GRU", "RNN", "Scan", "Loop", "If"}
_OF_THEIR_OWN_TYPE = {"Cast", "Constant", "ConstantOfShape", "QuantizeLinear", "DequantizeLinear"}


def lower_precision(model: ir.Model, precision: Low, keep: Collection[str] = ()) -> None:
    """Turn a float32 model into the low precision, in place; its inputs and outputs stay float32.

    Args:
        keep: names of nodes that stay in FP32 whatever they make.

    Raises:
        OverflowError: a weight is too large for the type.
    """
    graph, dtype = model.graph, _TYPES[precision]
    low = _low_nodes(graph, precision, keep)
    for node in low:
        for output in _typed_outputs(node):
            output.type = ir.TensorType(dtype)
    for node in list(graph.all_nodes()):  # also those of loops' bodies, which may read values from outside
        wanted = dtype if node in low else ir.DataType.FLOAT
        for index in _typed_inputs(node):
            value = node.inputs[index]
            if value is not None and value.dtype in FLOATING and value.dtype != wanted:
                node.replace_input_with(index, _cast(graph, value, wanted, precision))
    drop_unused(model)
    if precision == "bf16":
        model.opset_imports[""] = max(model.opset_imports[""], BF16_OPSET)


def simulate_precision(model: ir.Model, precision: Low, keep: Collection[str] = ()) -> None:
    """As `lower_precision`, but in float32 with every value rounded through the low type, in place.

    It answers as hardware does that multiplies in the low type and adds in float32, on any runtime that can cast.
    """
    graph = model.graph
    done: set[ir.Value] = set()
    for node in _low_nodes(graph, precision, keep):
        for index in _typed_inputs(node):
            value = node.inputs[index]
            if value is not None and value.dtype in FLOATING and value not in done:
                rounded = _rounded(graph, value, precision)
                done.add(rounded)
                node.replace_input_with(index, rounded)
        for output in _typed_outputs(node):
            uses = list(output.uses())
            rounded = _rounded(graph, output, precision)
            done.add(rounded)
            for use in uses:
                use.node.replace_input_with(use.idx, rounded)
    drop_unused(model)


def low_layers(model: ir.Model, precision: Low) -> dict[str, float]:
    """The convolutions and matrix products that would be in the low type, in order -> operations per window."""
    low = _low_nodes(model.graph, precision, ())
    return {str(node.name): float(multiplied(node)) for node in low if multiplied(node)}


def _low_nodes(graph: ir.Graph, precision: Low, keep: Collection[str]) -> list[ir.Node]:
    """The nodes that compute maps in the low type, in order, without those whose maps are only summed up."""
    outputs = set(graph.outputs)
    low: set[ir.Node] = set()
    for node in reversed(list(graph)):
        made = node.outputs[0]
        if node.op_type in _SUMS | _STEP_BY_STEP | _OF_THEIR_OWN_TYPE or _is_embedding(node):
            continue
        if made.dtype not in FLOATING or outputs & set(node.outputs) or node.name in keep:
            continue
        if elements(made.shape) < MAP_ELEMENTS:
            continue
        feeds_low = precision == "fp16" and any(use.node in low for output in node.outputs for use in output.uses())
        if node.op_type == "Conv" or multiplied(node) >= PRODUCT_FLOPS or feeds_low:
            low.add(node)
    return [node for node in graph if node in low]


def _is_embedding(node: ir.Node) -> bool:
    """Whether it picks rows of a stored table."""
    table = node.inputs[0] if node.op_type == "Gather" else None
    return table is not None and table.is_initializer()


def _typed_inputs(node: ir.Node) -> range:
    """Positions of the inputs that share the node's type; a resize's scales do not."""
    return range(1 if node.op_type == "Resize" else len(node.inputs))


def _typed_outputs(node: ir.Node) -> list[ir.Value]:
    """The outputs that share the node's type; a pooling's positions do not."""
    return [output for output in node.outputs if output.dtype in FLOATING]


def _cast(graph: ir.Graph, value: ir.Value, dtype: ir.DataType, precision: Low) -> ir.Value:
    """The value in another type; asked again, the same one."""
    name = f"{value.name}:{dtype.name.lower()}"
    array = constant_of(value)
    if array is not None:
        if name not in graph.initializers:
            add_constant(graph, name, _lowered(array, precision, str(value.name)))
        return graph.initializers[name]
    for use in value.uses():
        if use.node.name == name:
            return use.node.outputs[0]
    node = make_node("Cast", [value], name, dtype, value.shape, to=int(dtype))
    insert_after(graph, value, [node])
    return node.outputs[0]


def _rounded(graph: ir.Graph, value: ir.Value, precision: Low) -> ir.Value:
    """The value in float32 after a visit to the low type."""
    array = constant_of(value)
    if array is not None:
        name = f"{value.name}:rounded"
        if name not in graph.initializers:
            add_constant(graph, name, _lowered(array, precision, str(value.name)).astype(np.float32))
        return graph.initializers[name]
    down = _cast(graph, value, _TYPES[precision], precision)
    return _cast(graph, down, ir.DataType.FLOAT, precision)


def _lowered(array: NDArray[Any], precision: Low, name: str) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        lowered = array.astype(_NUMPY[precision])
    if np.isfinite(array).all() and not np.isfinite(lowered.astype(np.float32)).all():
        raise OverflowError(f"{name} reaches {float(np.abs(array).max()):g}, too large for {precision}")
    return lowered
