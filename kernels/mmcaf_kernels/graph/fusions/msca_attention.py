"""msca_attention: a gate per channel from means and maxima, then a gate per position from those over channels."""

from math import prod

from ..fuse import Call
from ..pattern import Made, Mean, Value, View, Weight
from .depthwise import padded

SPACE, CHANNELS = [2, 3, 4], [1]
REACH = 3


def find(view: View, name: str) -> Call | None:
    """Outer taps of the spatial convolution that only met padding may have been cut off."""
    x, narrow, widen, spatial = Value(), Weight(), Weight(), Weight()
    means = Mean(x, *SPACE)
    peaks = Made("ReduceMax", x, axes=SPACE, keepdims=1)
    hidden = Made("Relu", Made("Conv", Made("Concat", means, peaks, axis=2), narrow, group=1))
    summed = Made("ReduceSum", hidden, axes=[2], keepdims=1)
    gated = Made("Mul", x, Made("Sigmoid", Made("Conv", summed, widen, group=1)))
    mean = Mean(gated, *CHANNELS)
    peak = Made("ReduceMax", gated, axes=CHANNELS, keepdims=1)
    maps = Made("Concat", mean, peak, axis=1)
    convolved = Made("Conv", maps, spatial, group=1, strides=[1, 1, 1], dilations=[1, 1, 1])
    match = view.match(Made("Mul", gated, Made("Sigmoid", convolved)), name)
    if match is None:
        return None
    channels = view.graph.sizes[match[x]][1]
    first, second, kernel = (match.weight(part) for part in (narrow, widen, spatial))
    if prod(first.shape[2:]) != 1 or prod(second.shape[2:]) != 1 or kernel.shape[:2] != (1, 2):
        return None
    sides = list(kernel.shape[2:])
    if any(side % 2 == 0 or side > 2 * REACH + 1 for side in sides):
        return None
    if match.node(convolved).attributes.get("pads") != [side // 2 for side in sides] * 2:
        return None
    if first.shape[1] != channels or second.shape[0] != channels:
        return None
    whole = padded(kernel[0], 2 * REACH + 1)
    return Call("msca_attention", [match[x]], [first.reshape(len(first), -1), second.reshape(len(second), -1), whole])
