"""A network as a list of operators between named values; what is known of each value before anything runs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

KERNEL = "mmcaf."
"""Before the name of a node's operator if that is one of this package's."""


class UnsupportedGraphError(ValueError):
    """An ONNX network that these programs do not compute; says which operator or setting."""


@dataclass(frozen=True, eq=False)
class Node:
    """One operator, of ONNX or, with KERNEL before its name, of torch.ops.mmcaf; an absent input is ""."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    name: str = ""


@dataclass
class Graph:
    """Nodes in an order in which they can run; every value is made once.

    constants: value -> tensor on the CPU. inputs: input -> shape. outputs: the values to return.
    sizes, types: shape and type of every value.
    """

    nodes: list[Node]
    constants: dict[str, Tensor]
    inputs: dict[str, tuple[int, ...]]
    outputs: tuple[str, ...]
    sizes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    types: dict[str, torch.dtype] = field(default_factory=dict)

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

    def add_constant(self, name: str, tensor: Tensor) -> str:
        """Keep a tensor under a name that begins as given; returns the name."""
        free = name
        while free in self.types:
            free += "'"
        self.constants[free] = tensor
        self.sizes[free], self.types[free] = tuple(tensor.shape), tensor.dtype
        return free

    def replace(self, old: Node, new: Sequence[Node]) -> None:
        """Put nodes in the place of one; the last of them makes what that one made."""
        at = next(index for index, node in enumerate(self.nodes) if node is old)
        self.nodes[at : at + 1] = new

    def drop_unused(self) -> None:
        """Remove nodes and constants that no output depends on."""
        needed = set(self.outputs)
        kept = []
        for node in reversed(self.nodes):
            if needed.intersection(node.outputs):
                kept.append(node)
                needed.update(node.inputs)
        self.nodes = kept[::-1]
        self.constants = {name: tensor for name, tensor in self.constants.items() if name in needed}


def last_uses(nodes: Iterable[Node], kept: Iterable[str]) -> list[tuple[str, ...]]:
    """For each node, the values that nothing reads after it, so that they can be freed; `kept` are never listed."""
    seen, lists = set(kept), []
    for node in reversed(list(nodes)):
        fresh = {name for name in (*node.inputs, *node.outputs) if name and name not in seen}
        seen |= fresh
        lists.append(tuple(sorted(fresh)))
    return lists[::-1]
