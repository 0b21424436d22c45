"""msdc: the sum of three clipped depthwise convolutions of one map."""

from dataclasses import replace

import numpy as np

from ..fuse import Call
from ..pattern import Made, Value, View
from .depthwise import depthwise
from .rounded import whole_numbers

KERNELS = (1, 3, 5)
MOST_PLANES = 6
"""Of a map whose sum is resized where it is made."""


def find_resized(view: View, name: str) -> Call | None:
    """With the linear resize that follows, if nothing else reads the sum."""
    resize = view.node(name, "Resize")
    if resize is None or len(view.graph.readers()[resize.inputs[0]]) > 1 or resize.inputs[0] in view.graph.outputs:
        return None
    settings = resize.attributes.get("mode"), resize.attributes.get("coordinate_transformation_mode")
    before, after = view.graph.sizes[resize.inputs[0]], view.graph.sizes[name]
    if settings != ("linear", "align_corners") or before[:2] != after[:2] or before[2] > MOST_PLANES:
        return None
    call = find(view, resize.inputs[0])
    return replace(call, options={**call.options, "resized": list(after[2:])}) if call is not None else None


def find(view: View, name: str) -> Call | None:
    """The branches come in any order; outer taps that only met padding may have been cut off."""
    parts = [Value() for _ in KERNELS]
    match = view.match(Made("Add", Made("Add", parts[0], parts[1]), parts[2]), name)
    if match is None:
        return None
    clipped = [view.node(match[part], "Clip") for part in parts]
    bounds = [[view.constant(bound) for bound in node.inputs[1:]] for node in clipped if node is not None]
    numbers = [[bound.reshape(-1).tolist() for bound in pair if bound is not None] for pair in bounds]
    if numbers != [[[0.0], [6.0]]] * len(KERNELS):
        return None
    found = [depthwise(view, node.inputs[0]) for node in clipped if node is not None]
    branches = sorted((branch for branch in found if branch is not None), key=lambda branch: branch.reach)
    if len(branches) < len(KERNELS) or len({branch.source for branch in branches}) > 1:
        return None
    wide = [branch.rounded for branch in branches[1:]]
    if branches[0].rounded is not None or len({one and one.step for one in wide}) > 1:
        return None
    if any(branch.reach > size for branch, size in zip(branches, KERNELS, strict=True)):
        return None
    taps = np.concatenate([branch.taps(size) for branch, size in zip(branches, KERNELS, strict=True)], axis=1)
    bias = np.stack([branch.bias for branch in branches], axis=1)
    if (whole := wide[0]) is None:
        return Call("msdc", [branches[0].source], [taps, bias])
    if any(whole_numbers(branch.weight) is None for branch in branches[1:]):
        return None
    return Call("msdc", [whole.value], [taps, bias], {"step": whole.step})
