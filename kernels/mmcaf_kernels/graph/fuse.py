"""Puts the kernels into a graph: each fusion looks at one value and says which kernel makes it, and of what."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .graph import KERNEL, Array, Graph, Node
from .pattern import FLOATING, View

NUMBERS = {"float32": 1, "float16": 10, "float64": 11, "bfloat16": 16}
"""Type -> ONNX's number of it."""


@dataclass(frozen=True)
class Call:
    """A kernel's call that makes a value.

    activations: values in the order of the operator, None for an absent one. parameters: constants that follow.
    options: passed by name. precise: computed in float32 whatever the activations are. beside: other values that the
    call makes, in the order in which the operator gives them after the first.
    """

    kernel: str
    activations: Sequence[str | None]
    parameters: Sequence[Array]
    options: dict[str, Any] = field(default_factory=dict)
    precise: bool = False
    beside: Sequence[str] = ()


Fusion = Callable[[View, str], Call | None]
"""The call that makes a value, or None if the value is nothing that the kernel computes."""


def fuse(graph: Graph, fusions: Sequence[Fusion], *, one_type: bool = True) -> None:
    """Replace, from the last value to the first, what a kernel computes; each fusion goes over the whole graph.

    A value inside of what is replaced that something else reads too is still made beside the kernel.

    Args:
        one_type: whether the kernels take and make activations of one floating type, to which others are cast; else
            they read each as it is and write the narrower of a value's own type and that in which it is read.
    """
    for fusion in fusions:
        view = View(graph)
        for node in reversed(list(graph.nodes)):
            if node.operator == "Cast" or view.made_by.get(node.outputs[0]) is not node:
                continue  # what a Cast reads is looked at by itself; what is not there was part of something replaced
            call = fusion(view, node.outputs[0])
            if call is not None and not _in_a_circle(graph, node, call):
                _replace(graph, [node, *(view.made_by[name] for name in call.beside)], call, one_type)
                graph.drop_unused()
                view = View(graph)


def _in_a_circle(graph: Graph, node: Node, call: Call) -> bool:
    """Whether the call would read what follows from its own results."""
    read = graph.origins(name for name in call.activations if name is not None)
    return not read.isdisjoint((node.outputs[0], *call.beside))


def _replace(graph: Graph, nodes: Sequence[Node], call: Call, one_type: bool) -> None:
    made = [node.outputs[0] for node in nodes]
    wanted = [_type_as_read(graph, name) for name in made]
    stem = f"{made[0]}:{call.kernel}"
    parameters = [graph.add_constant(f"{stem}.{place}", array) for place, array in enumerate(call.parameters)]
    if not one_type:
        own = [graph.types[name] for name in made]
        graph.types.update((name, _narrower(pair)) for name, *pair in zip(made, own, wanted, strict=True))
        inputs = [*(name or "" for name in call.activations), *parameters]
        graph.replace(nodes, [Node(KERNEL + call.kernel, tuple(inputs), tuple(made), call.options, nodes[0].name)])
        return
    given = [name for name in call.activations if name is not None]
    types = [_narrowest(graph, name) for name in given if graph.types[name] in FLOATING]
    computed = "float32" if call.precise else _widest([*types, *wanted])
    new: list[Node] = []
    inputs = []
    for name in call.activations:
        if name is not None and graph.types[name] in FLOATING and graph.types[name] != computed:
            cast = f"{made[0]}:{KERNEL}{len(new)}"
            new.append(_cast(graph, name, cast, computed))
            name = cast
        inputs.append(name or "")
    inputs += parameters
    results = [
        name if dtype == computed else f"{stem}:result{place}"
        for place, (name, dtype) in enumerate(zip(made, wanted, strict=True))
    ]
    new.append(Node(KERNEL + call.kernel, tuple(inputs), tuple(results), call.options, nodes[0].name))
    for name, result, dtype in zip(made, results, wanted, strict=True):
        graph.types[result], graph.sizes[result] = computed, graph.sizes[name]
        if result != name:
            new.append(_cast(graph, result, name, dtype))
    graph.replace(nodes, new)


def _cast(graph: Graph, source: str, name: str, dtype: str) -> Node:
    graph.types[name], graph.sizes[name] = dtype, graph.sizes[source]
    return Node("Cast", (source,), (name,), {"to": NUMBERS[dtype]}, name)


def _type_as_read(graph: Graph, name: str) -> str:
    """The type in which all readers take a value: its own, unless every one is a Cast to the same other of floats."""
    readers = graph.readers().get(name, [])
    if name in graph.outputs or not readers or any(node.operator != "Cast" for node in readers):
        return graph.types[name]
    types = {graph.types[node.outputs[0]] for node in readers}
    return types.pop() if len(types) == 1 and types <= FLOATING else graph.types[name]


def _narrowest(graph: Graph, name: str) -> str:
    """The least precise floating type among a value's own and those that it is cast to."""
    readers = [node for node in graph.readers().get(name, []) if node.operator == "Cast"]
    types = {graph.types[name], *(graph.types[node.outputs[0]] for node in readers)}
    return _narrower(types & FLOATING)


def _narrower(types: Iterable[str]) -> str:
    return min(types, key=("bfloat16", "float16", "float32", "float64").index)


def _widest(types: Sequence[str]) -> str:
    """The one type of all, else one that holds every value of each."""
    if len(set(types)) == 1:
        return types[0]
    return "float64" if "float64" in types else "float32"
