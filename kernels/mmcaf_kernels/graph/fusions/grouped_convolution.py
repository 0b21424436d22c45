"""grouped_convolution: a 3 x 3 x 3 convolution of groups of a few channels, every second place or all."""

from ..fuse import Call
from ..pattern import View
from .rounded import unrounded, whole_numbers

TAPS = (3, 3, 3)
GROUP_SIZES = (4, 8, 16)
"""Channels of a group, of the map and of the result, for which there is a kernel."""
PLAIN = {"group": 1, "pads": [0] * 6, "strides": [1, 1, 1], "dilations": [1, 1, 1]}


def find(view: View, name: str) -> Call | None:
    """With a bias or without; of a rounded map with rounded weights, or of one that is not rounded."""
    node = view.node(name, "Conv")
    weight = view.constant(node.inputs[1]) if node is not None else None
    if node is None or weight is None or weight.shape[2:] != TAPS:
        return None
    settings = {key: node.attributes.get(key, plain) for key, plain in PLAIN.items()}
    outputs, width = weight.shape[:2]
    if width not in GROUP_SIZES or outputs != settings["group"] * width or settings["group"] == 1:
        return None
    if settings["pads"] != [1] * 6 or settings["dilations"] != [1] * 3 or settings["strides"] not in ([1] * 3, [2] * 3):
        return None
    bias = [view.constant(part) for part in node.inputs[2:]]
    source, rounded = unrounded(view, node.inputs[0])
    if any(part is None for part in bias) or (rounded is not None and whole_numbers(weight) is None):
        return None
    options = {"groups": settings["group"], "stride": settings["strides"][0]}
    if rounded is not None:
        source, options = rounded.value, options | {"step": rounded.step}
    return Call("grouped_convolution", [source], [weight, *(part for part in bias if part is not None)], options)
