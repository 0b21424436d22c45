"""Puts this project's kernels into an openvino.Model, in the places of the blocks that they compute.

The kernels read and write maps with the channels innermost, as OpenVINO's convolutions do, while a model says
[N, C, ...]. So each stands between two Transposes, which OpenVINO drops where they meet a convolution, and kernels that
follow each other pass their maps on as they are.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ...graph.fuse import fuse
from ...graph.fusions.processor import FUSIONS
from ...graph.fusions.rounded import whole_numbers
from ...graph.graph import KERNEL, Array, Node
from .editing import Editor
from .loops import replace_loops
from .reading import Reader

TYPES = {"float32": "f32", "bfloat16": "bf16"}
"""What the kernels read and write."""

WIDEST_GROUP = 4
"""Channels of a group of floating point beyond which OpenVINO's own convolution takes less time than the kernel."""


def place_kernels(core: Any, network: Any) -> Editor:
    """Replace, in place, every loop and block of the network that a kernel computes; what was done to it.

    Args:
        core: an openvino.Core with the kernels' operators.
        network: an openvino.Model whose inputs have their shapes; what depends on a free length stays.
    """
    editor = Editor(network)
    replace_loops(core, network, editor)
    place_blocks(network, editor)
    return editor


def place_blocks(network: Any, editor: Editor) -> None:
    """As `place_kernels`, of blocks alone."""
    reader = Reader(network)
    fuse(reader.graph, FUSIONS, one_type=False)
    places = _Places(reader, editor)
    for node in reader.graph.nodes:
        if node.operator.startswith(KERNEL) and places.suit(node):
            places.put(node, node.operator.removeprefix(KERNEL))


class _Places:
    """A network while kernels are put into it."""

    def __init__(self, reader: Reader, editor: Editor) -> None:
        self._reader, self._editor = reader, editor
        self._channels_last: dict[str, Any] = {}
        self._readers = reader.graph.readers()

    def suit(self, node: Node) -> bool:
        """Whether the kernels know the types of what a node reads and makes, and are the faster for its shape."""
        graph = self._reader.graph
        if node.operator == KERNEL + "grouped_convolution" and graph.types[node.inputs[0]] in TYPES:
            channels = graph.sizes[node.inputs[0]][1]
            if channels > node.attributes["groups"] * WIDEST_GROUP:
                return False
        maps = [name for name in node.inputs if name and name not in graph.constants]
        return all(graph.types[name] in (*TYPES, "int8") for name in maps) and graph.types[node.outputs[0]] in TYPES

    def put(self, node: Node, kernel: str) -> None:
        """Put one kernel where the block that makes its result was."""
        name = node.outputs[0]
        old = self._reader.output(name)
        rounded, others = self._readers_of(name)
        if (others and kernel in ONE_OUTPUT) or kernel == "max_pool":
            rounded = []
        operator, inputs, attributes = OPERATORS[kernel](self, node)
        kinds = {"floating": self.type_of(name) if others or not rounded else "none"}
        if rounded:
            kinds |= {"rounded": "i8", "step": rounded[0].attributes["step"]}
        attributes |= kinds if kernel != "max_pool" else {}
        made = self._editor.kernel(operator, inputs, attributes, f"{old.get_node().get_friendly_name()}/{kernel}")
        if kinds["floating"] != "none":
            self._channels_last[name] = made[0]
            self._editor.replace(old, self._channels_second(made[0]))
        for one in rounded:
            self._dequantise(one, made[-1])

    def _readers_of(self, name: str) -> tuple[list[Node], bool]:
        """What rounds a value to the same whole numbers as the first that does; and whether others read it."""
        readers = self._readers.get(name, [])
        rounding = [node for node in readers if node.operator == "QuantizeLinear"]
        same = [node for node in rounding if node.attributes == rounding[0].attributes]
        others = [node for node in readers if node.operator != "FakeQuantize" and node not in same]
        return same, bool(others) or name in self._reader.graph.outputs

    def _dequantise(self, rounding: Node, whole: Any) -> None:
        """Let what reads a rounded value read the kernel's whole numbers.

        They are multiplied with their step before the axes are turned back: only so does OpenVINO take the step into
        the convolution that follows, and the convolution runs in INT8.
        """
        name = rounding.outputs[0]
        self._channels_last[name] = whole
        self._editor.replace(self._reader.output(name), self._channels_second(whole))
        for node in self._readers.get(name, []):
            if node.operator == "DequantizeLinear":
                value = self._editor.scale(self._editor.convert(whole, "f32"), node.attributes["step"])
                old = self._reader.output(node.outputs[0])
                typed = self._in_type(value, old.get_element_type().to_string())
                self._editor.replace(old, self._channels_second(typed))

    def channels_last(self, name: str, kind: str | None = None) -> Any:
        """A map [N, C, ...] as [N, ..., C]; in a type of OpenVINO's if one is named."""
        if name not in self._channels_last:
            value = self._reader.output(name)
            self._channels_last[name] = self._editor.transpose(value, [0, *range(2, len(value.get_shape())), 1])
        made = self._channels_last[name]
        return made if kind is None else self._in_type(made, kind)

    def type_of(self, name: str) -> str:
        """In which a kernel makes a value, as OpenVINO names it."""
        return TYPES[self._reader.graph.types[name]]

    def constant(self, name: str) -> Any:
        """A parameter of a kernel as a constant of the network."""
        return self.given(self.array(name))

    def array(self, name: str) -> Array:
        """A parameter of a kernel, which may be changed."""
        return np.array(self._reader.graph.array(name), np.float32)

    def given(self, array: Array) -> Any:
        """An array as a constant of the network."""
        return self._editor.constant(np.ascontiguousarray(array, np.float32))

    def _in_type(self, value: Any, kind: str) -> Any:
        return value if value.get_element_type().to_string() == kind else self._editor.convert(value, kind)

    def _channels_second(self, value: Any) -> Any:
        """A map [N, ..., C] as [N, C, ...]."""
        axes = len(value.get_partial_shape())
        return self._editor.transpose(value, [0, axes - 1, *range(1, axes - 1)])


Call = tuple[str, list[Any], dict[str, Any]]
"""An operator's name, its inputs and its attributes."""


def _groupnorm_act(places: _Places, node: Node) -> Call:
    x, residual, *parameters = node.inputs
    maps = [places.channels_last(name) for name in (x, residual) if name]
    constants = [places.constant(name) for name in parameters]
    attributes = node.attributes | {"residual": bool(residual), "gate": len(parameters) > 2}
    return "GroupNormAct", [maps[0], *constants[:2], *maps[1:], *constants[2:]], attributes


def _msdc(places: _Places, node: Node) -> Call:
    x, taps, bias = places.channels_last(node.inputs[0]), *(places.array(name) for name in node.inputs[1:])
    scales, step = np.ones((3, len(taps)), np.float32), node.attributes.get("step")
    if step is not None:
        sizes = [(1, 28), (28, 153)]
        scales[0] = step
        for row, (begin, end) in enumerate(sizes, start=1):
            whole, steps = _whole(taps[:, begin:end])
            taps[:, begin:end], scales[row] = whole, steps * step
    attributes = {"resized": node.attributes.get("resized", [])}
    return "MultiScaleDepthwise", [x, *map(places.given, (taps, scales, bias.T))], attributes


def _grouped_convolution(places: _Places, node: Node) -> Call:
    x, weight, *bias = node.inputs
    taps = places.array(weight)
    attributes = dict(node.attributes)
    scale, step = np.ones(len(taps), np.float32), attributes.pop("step", None)
    if step is not None:
        taps, steps = _whole(taps)
        scale = steps * np.float32(step)
    added = places.array(bias[0]) if bias else np.zeros(len(taps), np.float32)
    return "GroupedConvolution", [places.channels_last(x), *map(places.given, (taps, scale, added))], attributes


def _upsample_dw(places: _Places, node: Node) -> Call:
    x, *parameters = node.inputs
    return "UpsampleDepthwise", [places.channels_last(x), *map(places.constant, parameters)], {}


def _max_pool(places: _Places, node: Node) -> Call:
    attributes = {"kernel": [3] * 3, "strides": [2] * 3, "pads": [1] * 6}
    return "MaxPool", [places.channels_last(node.inputs[0], places.type_of(node.outputs[0]))], attributes


def _whole(weight: Array) -> tuple[Array, Array]:
    found = whole_numbers(weight)
    if found is None:
        raise ValueError("weights of a rounded map that are not rounded")
    return found


OPERATORS: dict[str, Callable[[_Places, Node], Call]] = {
    "groupnorm_act": _groupnorm_act,
    "msdc": _msdc,
    "upsample_dw": _upsample_dw,
    "grouped_convolution": _grouped_convolution,
    "max_pool": _max_pool,
}
ONE_OUTPUT = ("msdc", "upsample_dw", "grouped_convolution")
"""Kernels that write a map either as it is or rounded."""
