"""upsample_dw: a trilinear resize to twice the size, a depthwise convolution and a ReLU."""

from ..fuse import Call
from ..pattern import Made, Value, View
from .depthwise import depthwise

SIZE = 3


def find(view: View, name: str) -> Call | None:
    convolved = Value()
    match = view.match(Made("Relu", convolved), name)
    branch = depthwise(view, match[convolved]) if match is not None else None
    resize = view.node(branch.source, "Resize") if branch is not None else None
    if branch is None or resize is None or branch.rounded is not None or branch.reach > SIZE:
        return None
    settings = resize.attributes.get("mode"), resize.attributes.get("coordinate_transformation_mode")
    source = view.origin(resize.inputs[0])
    before, after = view.graph.sizes[source], view.graph.sizes[branch.source]
    doubled = (*before[:2], *(2 * length for length in before[2:]))
    if settings != ("linear", "align_corners") or after != doubled:
        return None
    return Call("upsample_dw", [source], [branch.taps(SIZE), branch.bias])
