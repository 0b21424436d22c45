"""cross_attention: the tokens of an image and of a text take from each other, by the same scores both ways."""

from ...cross_attention.operator import WIDEST_HEAD
from ..fuse import Call
from ..pattern import Made, Value, View, Weight

TURNED = [0, 2, 1]
FAR_BELOW = -1e4
"""What the scores of hidden tokens are set to, at most; no softmax leaves anything of it beside a score."""


def find(view: View, name: str) -> Call | None:
    """One head without projections: tokens [N, T, d] are queries, keys and values; the text's are masked.

    The value looked at is what the image takes; what the text takes is found from the scores. A text whose tokens are
    all hidden gives the image nothing, where the network, which has no such text, gives the mean of them.
    """
    image, text, mask, scale, below = Value(), Value(), Value(), Weight(), Weight()
    scores = Made("Mul", Made("MatMul", image, Made("Transpose", text, perm=TURNED)), scale)
    shown = Made("Where", Made("Unsqueeze", mask, axes=[1]), scores, below)
    match = view.match(Made("MatMul", Made("Softmax", shown, axis=-1), text), name)
    if match is None:
        return None
    back = _back(view, match[scores], match[image])
    sizes = view.graph.sizes
    samples, _, width = sizes[match[image]]
    if back is None or width > WIDEST_HEAD or sizes[match[mask]] != (samples, sizes[match[text]][1]):
        return None
    factor, hidden = match.weight(scale), match.weight(below)
    if factor.size != 1 or hidden.size != 1 or hidden > FAR_BELOW:
        return None
    options = {"scale": factor.item()}
    return Call("cross_attention", [match[image], match[text], match[mask]], [], options, beside=[back])


def _back(view: View, scores: str, image: str) -> str | None:
    """The value that takes from the image by these scores, turned."""
    both, taken = Value(), Value()
    pattern = Made("MatMul", Made("Softmax", Made("Transpose", both, perm=TURNED), axis=-1), taken)
    for node in view.graph.nodes:
        match = view.match(pattern, node.outputs[0])
        if match is not None and (match[both], match[taken]) == (scores, image):
            return node.outputs[0]
    return None
