"""A network as a list of operators between named values; what is known of each value before anything runs."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

KERNEL = "mmcaf."
"""Before the name of a node's operator if that is one of this package's."""
Array = NDArray[Any]


class UnsupportedGraphError(ValueError):
    """An ONNX network that these programs do not compute; says which operator or setting."""


@dataclass(frozen=True, eq=False)
class Node:
    """One operator, of ONNX or, with KERNEL before its name, of torch.ops.mmcaf; an absent input is "".

    What a graph among its attributes takes from outside stands behind its own inputs.
    """

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    name: str = ""


@dataclass
class Graph:
    """Nodes in an order in which they can run; every value is made once.

    constants: value -> array. inputs: input -> shape. outputs: the values to return.
    sizes, types: shape of every value, and type by NumPy's name or "bfloat16".
    """

    nodes: list[Node]
    constants: dict[str, Any]
    inputs: dict[str, tuple[int, ...]]
    outputs: tuple[str, ...]
    sizes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)

    def array(self, name: str) -> Array:
        """The constant of this name; floating point as float32 or float64."""
        found: Array = self.constants[name]
        return found.astype(np.float32) if found.dtype == np.float16 else found

    def producers(self) -> dict[str, Node]:
        """Value -> the node that makes it."""
        return {output: node for node in self.nodes for output in node.outputs}

    def readers(self) -> dict[str, list[Node]]:
        """Value -> the nodes that read it, a node as often as it does."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in node.inputs:
                found.setdefault(name, []).append(node)
        return found

    def outside(self) -> list[str]:
        """Values that the nodes and outputs of a body take from the graph around it."""
        own = {"", *self.inputs, *self.constants, *self.producers()}
        read = [name for node in self.nodes for name in node.inputs]
        return list(dict.fromkeys(name for name in (*read, *self.outputs) if name not in own))

    def origins(self, names: Iterable[str]) -> set[str]:
        """These values and all that they depend on."""
        needed = set(names)
        for node in reversed(self.nodes):
            if needed.intersection(node.outputs):
                needed.update(node.inputs)
        return needed

    def add_constant(self, name: str, array: Array) -> str:
        """Keep an array under a name that begins as given; returns the name."""
        name = self._free(name)
        self.constants[name] = array
        self.sizes[name], self.types[name] = array.shape, array.dtype.name
        return name

    def _free(self, name: str) -> str:
        while name in self.types or name in self.constants:
            name += "'"
        return name

    def replace(self, old: Sequence[Node], new: Sequence[Node]) -> None:
        """Put nodes in the place of others; they make what those made, and their inputs do not depend on it."""
        at = min(index for index, node in enumerate(self.nodes) if node in old)
        self.nodes[at : at + 1] = new
        self.nodes = [node for node in self.nodes if node not in old]
        made = {"", *self.inputs, *self.constants}
        waiting, self.nodes = self.nodes, []
        while waiting:
            late = []
            for node in waiting:
                if made.issuperset(node.inputs):
                    self.nodes.append(node)
                    made.update(node.outputs)
                else:
                    late.append(node)
            if len(late) == len(waiting):
                raise ValueError(f"{late[0].name or late[0].operator}: its inputs depend on what it makes")
            waiting = late

    def drop_unused(self) -> None:
        """Remove nodes and constants that no output depends on."""
        needed = set(self.outputs)
        kept = []
        for node in reversed(self.nodes):
            if needed.intersection(node.outputs):
                kept.append(node)
                needed.update(node.inputs)
        self.nodes = kept[::-1]
        self.constants = {name: value for name, value in self.constants.items() if name in needed}


def every_node(nodes: Iterable[Node]) -> Iterator[Node]:
    """The nodes and those of the graphs among their attributes."""
    for node in nodes:
        yield node
        for value in node.attributes.values():
            if isinstance(value, Graph):
                yield from every_node(value.nodes)


def last_uses(nodes: Iterable[Node], kept: Iterable[str]) -> list[tuple[str, ...]]:
    """For each node, the values that nothing reads after it, so that they can be freed; `kept` are never listed."""
    seen, lists = set(kept), []
    for node in reversed(list(nodes)):
        fresh = {name for name in (*node.inputs, *node.outputs) if name and name not in seen}
        seen |= fresh
        lists.append(tuple(sorted(fresh)))
    return lists[::-1]
