"""max_pool: the largest of each 3 x 3 x 3 places, of which every second is taken."""

from ..fuse import Call
from ..pattern import View

SETTINGS = {
    "kernel_shape": [3] * 3,
    "strides": [2] * 3,
    "pads": [1] * 6,
    "dilations": [1] * 3,
    "ceil_mode": 0,
}
PLAIN = {"strides": [1] * 3, "pads": [0] * 6, "dilations": [1] * 3, "ceil_mode": 0}


def find(view: View, name: str) -> Call | None:
    """Where only the largest values are asked for, not their places."""
    node = view.node(name, "MaxPool")
    if node is None or any(node.attributes.get(key, PLAIN.get(key)) != wanted for key, wanted in SETTINGS.items()):
        return None
    readers = view.graph.readers()
    if any(readers.get(place) or place in view.graph.outputs for place in node.outputs[1:]):
        return None
    return Call("max_pool", [view.origin(node.inputs[0])], [])
