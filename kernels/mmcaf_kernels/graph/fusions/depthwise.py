"""Depthwise convolutions that keep the size, in the forms in which graphs hold them."""

from typing import NamedTuple

import numpy as np

from ..graph import Array, Node
from ..pattern import Made, Value, View, Weight
from .rounded import Rounded, unrounded


class Depthwise(NamedTuple):
    """source: the value that is convolved. weight: [C, d, h, w], odd, zero padded; bias: [C]; float32.

    rounded: the whole numbers that the source was rounded to before; None if it was not.
    """

    source: str
    weight: Array
    bias: Array
    rounded: Rounded | None = None

    @property
    def reach(self) -> int:
        """Largest of the three sizes."""
        return max(self.weight.shape[1:])

    def taps(self, size: int) -> Array:
        """[C, size^3]."""
        return padded(self.weight, size).reshape(len(self.weight), -1)


def padded(weight: Array, size: int) -> Array:
    """[C, d, h, w], all odd -> [C, size, size, size], zeros in the place of outer taps that were cut off."""
    margins = [(0, 0), *(((size - length) // 2,) * 2 for length in weight.shape[1:])]
    return np.pad(weight, margins)


def depthwise(view: View, name: str) -> Depthwise | None:
    """How a value is a depthwise convolution of another, as a Conv or as one product and sum per element."""
    node = view.node(name, "Conv")
    return _convolution(view, node) if node is not None else _scale(view, name)


def _convolution(view: View, node: Node) -> Depthwise | None:
    weight = view.constant(node.inputs[1])
    bias = view.constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if weight is None or weight.ndim != 5 or (bias is None and len(node.inputs) > 2):
        return None
    channels, kernel = weight.shape[0], list(weight.shape[2:])
    known = {
        "group": channels,
        "pads": [length // 2 for length in kernel] * 2,
        "strides": [1, 1, 1],
        "dilations": [1, 1, 1],
    }
    plain = {"group": 1, "pads": [0] * 6, "strides": [1, 1, 1], "dilations": [1, 1, 1]}
    if weight.shape[1] != 1 or any(length % 2 == 0 for length in kernel):
        return None
    if view.graph.sizes[node.inputs[0]][1] != channels:
        return None
    if any(node.attributes.get(key, plain[key]) != wanted for key, wanted in known.items()):
        return None
    shift = bias if bias is not None else np.zeros(channels)
    taps = weight.squeeze(1).astype(np.float32, copy=False)
    source, rounded = unrounded(view, node.inputs[0])
    return Depthwise(source, taps, shift.astype(np.float32, copy=False), rounded)


def _scale(view: View, name: str) -> Depthwise | None:
    x, weight, bias = Value(), Weight(), Weight()
    match = view.match(Made("Add", Made("Mul", x, weight), bias), name)
    if match is None:
        return None
    channels = view.graph.sizes[match[x]][1]
    shapes = {tuple(match.weight(part).shape) for part in (weight, bias)}
    if not shapes <= {(channels, 1, 1, 1), (1, channels, 1, 1, 1)}:
        return None
    return Depthwise(match[x], match.weight(weight).reshape(channels, 1, 1, 1), match.weight(bias).flatten())
