"""INT8 with BF16 maps: what lies between the layers of an INT8 network is kept in BF16, and computed in FP32.

Between convolutions a network is bound by memory, and a map in BF16 is half of one in FP32. So each map that is kept,
the result of a convolution or the end of a chain of element-wise operations, is rounded to BF16 once, by a Cast down
and a Cast up; norms, sums, gates and the chains themselves stay in FP32. The convolutions and large products that are
not in INT8 compute in BF16, as in a BF16 network. A map that a layer in INT8 alone reads is quantised from FP32.
"""

import numpy as np
import onnx_ir as ir

from .edit import add_constant, constant_of, drop_unused, elements, insert_after, make_node
from .layers import multiplied
from .typed import BF16_OPSET, MAP_ELEMENTS, lower_precision

BF16 = ir.DataType.BFLOAT16

_ELEMENT_WISE = {
    *("Add", "Sub", "Mul", "Div", "Neg", "Abs", "Sqrt", "Pow", "Exp", "Log", "Erf", "Min", "Max", "Where"),
    *("Relu", "LeakyRelu", "PRelu", "Elu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Gelu", "Softplus"),
}
_SUMS = {"ReduceMean", "ReduceSum", "ReduceL2", "ReduceSumSquare", "GlobalAveragePool", "Softmax"}
_MOVES = {
    *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split", "Concat", "Gather", "Pad"),
    *("Expand", "Identity", "MaxPool"),
}
"""These only move values, which are rounded already."""
_OF_THEIR_OWN_TYPE = {"Cast", "Constant", "ConstantOfShape", "QuantizeLinear", "DequantizeLinear"}


def keep_maps_in_bf16(model: ir.Model) -> None:
    """Keep the maps of an INT8 network in BF16, in place; its inputs and outputs stay float32."""
    graph = model.graph
    lower_precision(model, "bf16", [str(node.name) for node in graph if _is_quantised(node)])
    for node in list(graph):
        for value in node.outputs:
            if _is_kept(node, value):
                _round(graph, value)
    drop_unused(model)
    model.opset_imports[""] = max(model.opset_imports[""], BF16_OPSET)


def simulate_bf16(model: ir.Model) -> None:
    """Compute in float32 with rounded results whatever a network computes in BF16, in place.

    It answers as hardware does that multiplies in BF16 and adds in float32, on any runtime that can cast.
    """
    graph = model.graph
    for node in list(graph):
        made = node.outputs[0]
        if not multiplied(node) or made.dtype != BF16:
            continue
        for index, value in enumerate(node.inputs):
            if value is not None and value.dtype == BF16:
                node.replace_input_with(index, _in_float(graph, value))
        uses = list(made.uses())
        made.type = ir.TensorType(ir.DataType.FLOAT)
        rounded = _cast(graph, made, f"{made.name}:rounded", BF16)
        for use in uses:
            use.node.replace_input_with(use.idx, rounded)
    drop_unused(model)


def _is_quantised(node: ir.Node) -> bool:
    """Whether it is a layer in INT8."""
    source = node.inputs[0].producer() if node.inputs and node.inputs[0] is not None else None
    return bool(multiplied(node)) and source is not None and source.op_type == "DequantizeLinear"


def _is_kept(node: ir.Node, value: ir.Value) -> bool:
    """Whether a value is a map in FP32 that others than one layer's rounding, a sum or one more step read."""
    if value.dtype != ir.DataType.FLOAT or value.is_graph_output() or elements(value.shape) < MAP_ELEMENTS:
        return False
    if node.op_type in _SUMS | _MOVES | _OF_THEIR_OWN_TYPE:
        return False
    readers = [use.node for use in value.uses()]
    if all(reader.op_type in _SUMS | {"QuantizeLinear"} or _lowers(reader) for reader in readers):
        return False
    return not (node.op_type in _ELEMENT_WISE and len(readers) == 1 and readers[0].op_type in _ELEMENT_WISE)


def _round(graph: ir.Graph, value: ir.Value) -> None:
    """Have all that read a value read it as it is in BF16."""
    uses = list(value.uses())
    down = _cast(graph, value, f"{value.name}:kept", BF16)
    up = _cast(graph, down, f"{value.name}:read", ir.DataType.FLOAT)
    for use in uses:
        if _lowers(use.node):  # What it would make of the rounded value is there already.
            ir.convenience.replace_all_uses_with(use.node.outputs[0], down)
        else:
            use.node.replace_input_with(use.idx, up)


def _lowers(node: ir.Node) -> bool:
    return node.op_type == "Cast" and node.outputs[0].dtype == BF16


def _in_float(graph: ir.Graph, value: ir.Value) -> ir.Value:
    """A BF16 value as float32."""
    array, name = constant_of(value), f"{value.name}:float"
    if array is None:
        made = [use.node.outputs[0] for use in value.uses() if use.node.name == name]
        return made[0] if made else _cast(graph, value, name, ir.DataType.FLOAT)
    if name not in graph.initializers:
        add_constant(graph, name, array.astype(np.float32))
    return graph.initializers[name]


def _cast(graph: ir.Graph, value: ir.Value, name: str, dtype: ir.DataType) -> ir.Value:
    node = make_node("Cast", [value], name, dtype, value.shape, to=int(dtype))
    insert_after(graph, value, [node])
    return node.outputs[0]
