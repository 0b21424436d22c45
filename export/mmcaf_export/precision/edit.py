"""Small edits of an ONNX graph that every precision needs."""

import re
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

_PARTS = re.compile(r"([0-9]+)\*[A-Za-z]\w*")

TEXT_LENGTH = 64
"""Word pieces that stand for the free axis L wherever a network's arithmetic is estimated."""

FLOATING = {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16}


def add_constant(graph: ir.Graph, name: str, array: NDArray[Any]) -> ir.Value:
    """Register `array` as an initializer called `name`."""
    tensor = ir.tensor(array, name=name)
    value = ir.Value(name=name, const_value=tensor, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype))
    graph.register_initializer(value)
    return value


def make_node(
    operator: str, inputs: list[ir.Value], name: str, dtype: ir.DataType, shape: ir.Shape | None, **attributes: Any
) -> ir.Node:
    """A node with one output, both called `name`."""
    output = ir.Value(name=name, type=ir.TensorType(dtype), shape=shape)
    return ir.node(operator, inputs, attributes, outputs=[output], name=name)


def insert_after(graph: ir.Graph, value: ir.Value, nodes: list[ir.Node]) -> None:
    """Put nodes directly behind the one that makes `value`, or first if it is an input."""
    producer = value.producer()
    if producer is None:
        graph.insert_before(graph[0], nodes)
    else:
        graph.insert_after(producer, nodes)


def constant_of(value: ir.Value | None) -> NDArray[Any] | None:
    """The array of an initializer, else None."""
    if value is None or not value.is_initializer() or value.const_value is None:
        return None
    return np.asarray(value.const_value.numpy())


def drop_unused(model: ir.Model) -> None:
    """Remove nodes and initializers that no output depends on."""
    graph = model.graph
    kept = set(graph.outputs)
    for node in reversed(list(graph)):
        if not any(output.uses() or output in kept for output in node.outputs):
            graph.remove(node, safe=True)
    for name, value in list(graph.initializers.items()):
        if not value.uses() and value not in kept:
            del graph.initializers[name]


def elements(shape: ir.Shape | None) -> int:
    """Elements for a batch of one and a text of TEXT_LENGTH; an axis of 16*N, parts of a case in the batch, is 16."""
    if shape is None:
        return 0
    return int(np.prod([_length(size) for size in shape], dtype=np.int64))


def _length(size: int | ir.SymbolicDim) -> int:
    if isinstance(size, int):
        return size
    if "L" in size.free_symbols():
        length = size.evaluate({"N": 1, "L": TEXT_LENGTH})
        return length if isinstance(length, int) else 1
    parts = _PARTS.fullmatch(size.value or "")
    return int(parts.group(1)) if parts else 1
