"""Reading: an ONNX file with fixed input sizes becomes a graph in which shapes and everything constant are known."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from .graph import Graph, Node, UnsupportedGraphError
from .operators import Arguments, check_supported, function_of

LARGEST_FOLDED = 2**20
"""Values; a larger result of constants is computed in every run rather than kept."""


def read(path: Path, inputs: Mapping[str, Sequence[int]]) -> Graph:
    """Read an ONNX model as a graph for inputs of these shapes.

    Every value's shape and type is found by running the operators on the meta device; what depends on constants
    and shapes alone is computed here.

    Raises:
        UnsupportedGraphError: an operator, or a setting of one, that these programs do not compute.
        ValueError: the model's inputs are others.
    """
    model = onnx.load(path)
    constants = {tensor.name: _tensor(tensor) for tensor in model.graph.initializer}
    expected = {entry.name for entry in model.graph.input} - constants.keys()
    if expected != set(inputs):
        raise ValueError(f"{path.name}: inputs {sorted(inputs)} were given; the network takes {sorted(expected)}")
    nodes = [_node(node) for node in model.graph.node]
    check_supported(nodes)
    shapes = {name: tuple(shape) for name, shape in inputs.items()}
    graph = Graph(nodes, constants, shapes, tuple(entry.name for entry in model.graph.output))
    whole = {entry.name for entry in model.graph.input if entry.type.tensor_type.elem_type == TensorProto.INT64}
    graph.types = {name: torch.int64 if name in whole else torch.float32 for name in shapes}
    _settle(graph)
    graph.drop_unused()
    return graph


def _settle(graph: Graph) -> None:
    """Find shapes and types, and turn what is constant into constants."""
    known = {name: torch.empty(shape, dtype=graph.types[name], device="meta") for name, shape in graph.inputs.items()}
    known |= {name: tensor.to("meta") for name, tensor in graph.constants.items()}
    left = []
    for node in graph.nodes:
        made = _constant(node, graph, known)
        if made is None:
            function, read = function_of(Arguments(node, graph.constants))
            made = _run(node, function, [known[name] if name else None for name in read])
            left.append(node)
        elif all(tensor.numel() <= LARGEST_FOLDED for tensor in made):
            graph.constants.update(zip(node.outputs, made, strict=True))
        else:
            left.append(node)
        known.update((name, tensor.to("meta")) for name, tensor in zip(node.outputs, made, strict=True) if name)
    graph.nodes = left
    graph.sizes = {name: tuple(tensor.shape) for name, tensor in known.items()}
    graph.types = {name: tensor.dtype for name, tensor in known.items()}


def _constant(node: Node, graph: Graph, known: Mapping[str, Tensor]) -> list[Tensor] | None:
    """The node's results if they do not depend on the inputs' values."""
    if node.operator == "Shape":
        shape = torch.tensor(known[node.inputs[0]].shape)
        return [shape[node.attributes.get("start", 0) : node.attributes.get("end", None)]]
    if any(name and name not in graph.constants for name in node.inputs):
        return None
    function, read = function_of(Arguments(node, graph.constants))
    return _run(node, function, [graph.constants[name] if name else None for name in read])


def _run(node: Node, function: Any, values: list[Tensor | None]) -> list[Tensor]:
    try:
        made = function(*values)
    except (RuntimeError, TypeError, NotImplementedError) as failure:
        shapes = [list(value.shape) if value is not None else None for value in values]
        reason = str(failure).splitlines()[0]
        raise UnsupportedGraphError(
            f"{node.name or node.operator} ({node.operator}) of {shapes}: {reason}"
        ) from failure
    return list(made) if isinstance(made, tuple) else [made]


def _node(node: onnx.NodeProto) -> Node:
    attributes = {entry.name: _attribute(entry) for entry in node.attribute}
    domain = f"{node.domain}." if node.domain not in ("", "ai.onnx") else ""
    return Node(domain + node.op_type, tuple(node.input), tuple(node.output), attributes, node.name)


def _attribute(entry: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(entry)
    if isinstance(value, TensorProto):
        return _tensor(value)
    return value.decode() if isinstance(value, bytes) else value


def _tensor(stored: TensorProto) -> Tensor:
    """A copy as torch has it; torch does not know numpy's bfloat16."""
    array = numpy_helper.to_array(stored)
    if stored.data_type == TensorProto.BFLOAT16:
        return torch.from_numpy(array.view("int16").copy()).view(torch.bfloat16)
    return torch.from_numpy(array.copy())
