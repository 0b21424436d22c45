"""Reading: an ONNX file becomes, for given input sizes, a graph in which shapes and everything constant are known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from .graph import Graph, Node, UnsupportedGraphError
from .operators import Arguments, check_supported, function_of
from .operators.loops import BODY, TAKEN, body_inputs
from .operators.steps import read_by, steps_of
from .tensors import TensorGraph, type_name

LARGEST_FOLDED = 2**20
"""Values; a larger result of constants is computed in every run rather than kept."""


@dataclass(frozen=True)
class Model:
    """An ONNX file as it is written, the shapes of its inputs not known yet.

    name: of the file. whole: the inputs that are int64.
    """

    name: str
    graph: TensorGraph
    whole: frozenset[str]

    def settled(self, inputs: Mapping[str, Sequence[int]]) -> TensorGraph:
        """A graph for inputs of these shapes, which holds the model's own constants as far as they are needed.

        Every value's shape and type is found by running the operators on the meta device; what depends on constants
        and shapes alone is computed here.

        Raises:
            UnsupportedGraphError: an operator, or a setting of one, that these programs do not compute.
            ValueError: the model's inputs are others.
        """
        if self.graph.inputs.keys() != set(inputs):
            takes = sorted(self.graph.inputs)
            raise ValueError(f"{self.name}: inputs {sorted(inputs)} were given; the network takes {takes}")
        check_supported(self.graph.nodes)
        shapes = {name: tuple(shape) for name, shape in inputs.items()}
        graph = TensorGraph(list(self.graph.nodes), dict(self.graph.constants), shapes, self.graph.outputs)
        types = {name: torch.int64 if name in self.whole else torch.float32 for name in shapes}
        _settle(graph, {name: torch.empty(shape, dtype=types[name], device="meta") for name, shape in shapes.items()})
        graph.drop_unused()
        return graph


def read(path: Path) -> Model:
    """Read an ONNX model."""
    stored = onnx.load(path)
    whole = {entry.name for entry in stored.graph.input if entry.type.tensor_type.elem_type == TensorProto.INT64}
    return Model(path.name, _graph(stored.graph), frozenset(whole))


def _settle(graph: TensorGraph, given: Mapping[str, Tensor]) -> None:
    """Find shapes and types, and turn what is constant into constants; `given` are the inputs, on the meta device."""
    known = {**given, **{name: tensor.to("meta") for name, tensor in graph.constants.items()}}
    left = []
    for node in graph.nodes:
        if isinstance(node.attributes.get(BODY), TensorGraph):
            node = _with_body(node, graph, known)
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
    graph.types = {name: type_name(tensor.dtype) for name, tensor in known.items()}


def _with_body(node: Node, graph: TensorGraph, known: dict[str, Tensor]) -> Node:
    """The node, its body settled; what the body then takes from outside, constants included, are inputs of the node."""
    raw: TensorGraph = node.attributes[BODY]
    outside = raw.outside()
    inputs = body_inputs(Arguments(node, graph.constants), known)
    constants = {name: graph.constants[name] for name in outside if name in graph.constants}
    shapes = {name: tuple(value.shape) for name, value in inputs.items()}
    body = TensorGraph(raw.nodes, {**raw.constants, **constants}, shapes, raw.outputs)
    _settle(body, {**{name: known[name] for name in outside}, **inputs})
    body.drop_unused()
    taken = sorted((read_by(steps_of(body)) | set(body.outputs)) & {*body.constants, *outside})
    names = []
    for name in taken:
        if name not in known:
            tensor = body.constants[name]
            name = graph.add_tensor(f"{node.outputs[0]}:{name}", tensor)
            known[name] = tensor.to("meta")
        names.append(name)
    own = node.inputs[: len(inputs)]
    return replace(node, inputs=(*own, *names), attributes={**node.attributes, BODY: body, TAKEN: tuple(taken)})


def _constant(node: Node, graph: TensorGraph, known: Mapping[str, Tensor]) -> list[Tensor] | None:
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


def _graph(stored: onnx.GraphProto) -> TensorGraph:
    """As it is written; the shapes of its inputs are not known yet."""
    constants = {tensor.name: _tensor(tensor) for tensor in stored.initializer}
    inputs: dict[str, tuple[int, ...]] = {entry.name: () for entry in stored.input if entry.name not in constants}
    nodes = [_node(node) for node in stored.node]
    return TensorGraph(nodes, constants, inputs, tuple(entry.name for entry in stored.output))


def _node(node: onnx.NodeProto) -> Node:
    attributes = {entry.name: _attribute(entry) for entry in node.attribute}
    domain = f"{node.domain}." if node.domain not in ("", "ai.onnx") else ""
    bodies = [value for value in attributes.values() if isinstance(value, Graph)]
    outside = dict.fromkeys(name for body in bodies for name in body.outside())
    return Node(domain + node.op_type, (*node.input, *outside), tuple(node.output), attributes, node.name)


def _attribute(entry: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(entry)
    if isinstance(value, TensorProto):
        return _tensor(value)
    if isinstance(value, onnx.GraphProto):
        return _graph(value)
    return value.decode() if isinstance(value, bytes) else value


def _tensor(stored: TensorProto) -> Tensor:
    """A copy as torch has it; torch does not know numpy's bfloat16."""
    array = numpy_helper.to_array(stored)
    if stored.data_type == TensorProto.BFLOAT16:
        return torch.from_numpy(array.view("int16").copy()).view(torch.bfloat16)
    return torch.from_numpy(array.copy())
