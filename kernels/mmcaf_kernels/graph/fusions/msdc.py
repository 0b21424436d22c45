"""msdc: the sum of three clipped depthwise convolutions of one map."""

import numpy as np

from ..fuse import Call
from ..pattern import Made, Value, View
from .depthwise import depthwise

KERNELS = (1, 3, 5)


def find(view: View, name: str) -> Call | None:
    """The branches come in any order; outer taps that only met padding may have been cut off."""
    parts = [Value() for _ in KERNELS]
    match = view.match(Made("Add", Made("Add", parts[0], parts[1]), parts[2]), name)
    if match is None:
        return None
    clipped = [view.node(match[part], "Clip") for part in parts]
    bounds = [[view.constant(bound) for bound in node.inputs[1:]] for node in clipped if node is not None]
    if [[float(bound) for bound in pair if bound is not None] for pair in bounds] != [[0.0, 6.0]] * len(KERNELS):
        return None
    found = [depthwise(view, node.inputs[0]) for node in clipped if node is not None]
    branches = sorted((branch for branch in found if branch is not None), key=lambda branch: branch.reach)
    if len(branches) < len(KERNELS) or len({branch.source for branch in branches}) > 1:
        return None
    rounded = {branch.rounded for branch in branches if branch.reach > 1}
    if len(rounded) > 1 or branches[0].rounded is not None:
        return None
    if any(branch.reach > size for branch, size in zip(branches, KERNELS, strict=True)):
        return None
    taps = np.concatenate([branch.taps(size) for branch, size in zip(branches, KERNELS, strict=True)], axis=1)
    bias = np.stack([branch.bias for branch in branches], axis=1)
    if (whole := rounded.pop()) is None:
        return Call("msdc", [branches[0].source], [taps, bias])
    return Call("msdc", [whole.value], [taps, bias], {"step": whole.step})
