"""Graphs of an ensemble's members side by side as one graph, with the same inputs.

Each member is written by itself: torch's exporter, given all of them at once, takes time that grows with the square of
their number.
"""

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir.tape import Tape

Join = Callable[[Tape, Sequence[ir.Value]], ir.Value]
"""What each member has for an output -> the one that is made of these."""
_AXIS = "members.axis"


def side_by_side(models: Sequence[ir.Model], joins: Sequence[Join], *, shared_out: str | None = None) -> ir.Model:
    """One model of the members' models, which are taken apart for it. Names of a member begin with `members.0.` and so
    on.

    Args:
        models: with the same inputs and outputs, of the same operator set, without functions.
        joins: of each output.
        shared_out: an input that is [1, members, ...] in the whole, of which each member gets its own [1, ...].
    """
    first, tape = models[0], Tape()
    inputs = [ir.Value(name=one.name, shape=one.shape, type=one.type) for one in first.graph.inputs]
    for value in inputs:
        if value.name == shared_out and value.shape is not None:
            value.shape = ir.Shape([value.shape[0], len(models), *value.shape[1:]])
    outputs = [(one.name, one.type) for one in first.graph.outputs]
    nodes: list[ir.Node] = []
    weights: list[ir.Value] = []
    answers = []
    for at, model in enumerate(models):
        graph = model.graph
        _prefix(graph, f"members.{at}.")
        for own, given in zip(graph.inputs, inputs, strict=True):
            ir.convenience.replace_all_uses_with(own, _part(tape, given, at) if given.name == shared_out else given)
        answers.append(list(graph.outputs))
        graph.outputs.clear()
        weights += graph.initializers.values()
        graph.initializers.clear()
        taken = list(graph)
        graph.remove(taken)
        nodes += taken
    parts = list(tape.nodes)
    made = []
    for (name, kind), join, each in zip(outputs, joins, zip(*answers, strict=True), strict=True):
        value = join(tape, each)
        value.name, value.type = name, kind
        made.append(value)
    for number, node in enumerate(tape.nodes):
        node.name = f"members/{node.op_type}" if number == 0 else f"members/{node.op_type}_{number}"
        for output in node.outputs:
            if output not in made:
                output.name = node.name
    joined = tape.nodes[len(parts) :]
    constants = [*weights, *tape.initializers]
    graph = ir.Graph(
        inputs,
        made,
        nodes=[*parts, *nodes, *joined],
        initializers=constants,
        opset_imports=dict(first.graph.opset_imports),
        name=first.graph.name,
    )
    return ir.Model(graph, ir_version=first.ir_version, producer_name=first.producer_name)


def stacked(tape: Tape, each: Sequence[ir.Value]) -> ir.Value:
    """[N, ...] of each member -> [N, members, ...]."""
    axis = _constant(tape, _AXIS, np.array([1], np.int64))
    value = tape.op("Concat", [tape.op("Unsqueeze", [one, axis]) for one in each], {"axis": 1})
    if each[0].shape is not None:
        value.shape = ir.Shape([each[0].shape[0], len(each), *each[0].shape[1:]])
    return value


def mean(tape: Tape, each: Sequence[ir.Value]) -> ir.Value:
    """Of the members, of the same shape."""
    return _alike(tape.op("Mean", each), each)


def positive_sum(tape: Tape, each: Sequence[ir.Value]) -> ir.Value:
    """Of the members, of the same shape, and what is below 0 cut off."""
    return _alike(tape.op("Relu", [tape.op("Sum", each)]), each)


def _alike(value: ir.Value, each: Sequence[ir.Value]) -> ir.Value:
    value.shape = each[0].shape
    return value


def _part(tape: Tape, given: ir.Value, at: int) -> ir.Value:
    """One member's of what has an axis for members behind the first."""
    return tape.op("Gather", [given, _constant(tape, f"members.{at}.index", np.array(at, np.int64))], {"axis": 1})


def _constant(tape: Tape, name: str, array: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]") -> ir.Value:
    known = next((value for value in tape.initializers if value.name == name), None)
    return known or tape.initializer(ir.tensor(array, name=name))


def _prefix(graph: ir.Graph, prefix: str) -> None:
    """Begin all names with it, but those of inputs: also those in the bodies of a Scan, Loop or If."""
    for value in list(graph.initializers.values()):
        value.name = f"{prefix}{value.name}"
    for node in ir.traversal.RecursiveGraphIterator(graph):
        node.name = f"{prefix}{node.name}"
        for output in node.outputs:
            if output.name:
                output.name = f"{prefix}{output.name}"
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                body = attribute.as_graph()
                for value in (*body.inputs, *list(body.initializers.values())):
                    value.name = f"{prefix}{value.name}"
