"""Edits of an openvino.Model, each done at once and kept, so that a program without Python can do the same to its own.

What is kept names values of the network by the place of their node among `get_ordered_ops` before the first edit, and
values that edits have made by their number. `placement` writes it down.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from ...graph.graph import Array
from ..extension import extension

Reference = int | list[int]
"""A value: the number of one that an edit has made, or place and output of a node of the network as it was."""


@cache
def factory() -> Any:
    """What makes nodes of a network that are kernels: OpenVINO's NodeFactory, with the extension.

    Raises:
        KernelsMissingError: there are none here.
    """
    made = import_module("openvino.utils.node_factory").NodeFactory()
    made.add_extension(str(extension()))
    return made


class Editor:
    """One network while it is changed.

    Attributes:
        edits: in order, each its kind and what that takes. nodes: place -> type and name, of those that edits name.
        constants: the arrays of the edits "constant".
    """

    def __init__(self, network: Any) -> None:
        """network: an openvino.Model whose inputs have their shapes."""
        self.edits: list[list[Any]] = []
        self.nodes: dict[int, tuple[str, str]] = {}
        self.constants: list[Array] = []
        self._opset = import_module("openvino").opset13
        self._places = {node.get_instance_id(): at for at, node in enumerate(network.get_ordered_ops())}
        self._made: dict[tuple[int, int], int] = {}

    def constant(self, array: Array) -> Any:
        """An array of float32 as a constant."""
        self.constants.append(array)
        self.edits.append(["constant", len(self.constants) - 1])
        return self._number(self._opset.constant(array))[0]

    def kernel(self, operator: str, inputs: Sequence[Any], attributes: Mapping[str, Any], name: str) -> list[Any]:
        """The outputs of one of this project's operators."""
        self.edits.append(["kernel", operator, name, [self._reference(value) for value in inputs], dict(attributes)])
        node = factory().create(operator, list(inputs), dict(attributes))
        node.set_friendly_name(name)
        return self._number(node)

    def transpose(self, value: Any, order: Sequence[int]) -> Any:
        """A value with its axes in another order."""
        self.edits.append(["transpose", self._reference(value), list(order)])
        return self._number(self._opset.transpose(value, self._opset.constant(np.array(order))))[0]

    def convert(self, value: Any, kind: str) -> Any:
        """A value in another type, by OpenVINO's name."""
        self.edits.append(["convert", self._reference(value), kind])
        return self._number(self._opset.convert(value, kind))[0]

    def scale(self, value: Any, factor: float) -> Any:
        """A value of float32, multiplied."""
        factor = float(np.float32(factor))
        self.edits.append(["scale", self._reference(value), factor])
        return self._number(self._opset.multiply(value, self._opset.constant(np.float32(factor))))[0]

    def replace(self, old: Any, new: Any) -> None:
        """Let what reads one value read another."""
        self.edits.append(["replace", self._reference(old), self._reference(new)])
        old.replace(new)

    def _number(self, node: Any) -> list[Any]:
        outputs: list[Any] = node.outputs()
        for output in outputs:
            self._made[node.get_instance_id(), output.get_index()] = len(self._made)
        return outputs

    def _reference(self, value: Any) -> Reference:
        node, port = value.get_node(), value.get_index()
        key = (node.get_instance_id(), port)
        if key in self._made:
            return self._made[key]
        place = self._places[node.get_instance_id()]
        self.nodes[place] = (node.get_type_name(), node.get_friendly_name())
        return [place, port]
