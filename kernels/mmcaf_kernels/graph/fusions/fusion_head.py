"""fusion_head: three scales of one-token cross-attention between image and table features, BSF, and the classifier."""

from collections.abc import Mapping

import torch

from ...fusion_head.reference import Fusion, layers, pack
from ..fuse import Call
from ..pattern import Either, Made, Match, Pattern, Value, View, Weight

NORMS = ("norm_img", "norm_tab")
STATE = ("weight", "bias", "running_mean", "running_var")
WIDEST = 128


def find(view: View, name: str) -> Call | None:
    """In either fusion mode, the classifier with it."""
    if view.node(name, "Gemm") is None and view.node(name, "Add") is None:
        return None
    for fusion in ("tokens", "mean"):
        head = _Head(fusion)
        match = view.match(head.logit, name)
        if match is not None:
            return head.call(view, match)
    return None


class _Head:
    """The pattern of the whole head, built as the reference computes it."""

    def __init__(self, fusion: Fusion) -> None:
        self.fusion: Fusion = fusion
        self.weights: dict[str, tuple[Weight, Weight]] = {name: (Weight(), Weight()) for name in layers(4, fusion)}
        self.norms = {norm: tuple(Weight() for _ in STATE) for norm in NORMS}
        self.one, self.two, self.half = Weight(), Weight(), Weight()
        self.image, self.table = Value(), Value()
        self.normed = [
            Made("BatchNormalization", source, *self.norms[norm])
            for source, norm in ((self.image, "norm_img"), (self.table, "norm_tab"))
        ]
        a, b = self.normed
        a1, b1 = self._exchange("cross_attention1", a, b)
        a2, b2 = self._exchange("cross_attention2", *self._descend("1", a, b, a1, b1))
        a3, b3 = self._exchange("cross_attention3", *self._descend("2", a, b, a2, b2))
        coarse = self._weigh("SF1", self._join(a2, b2), self._join(a3, b3))
        fused = self._weigh("SF2", self._join(a1, b1), coarse)
        self.flat = Either(Made("Reshape", fused), Made("Flatten", fused), fused)
        self.logit = self._linear("head", self.flat)

    def _linear(self, name: str, x: Pattern) -> Pattern:
        weight, bias = self.weights[name]
        return Made("Gemm", x, weight, bias, transB=1)

    def _linear_of_rows(self, name: str, x: Pattern) -> Pattern:
        """Of [N, 2, width] it is a product and a sum, the weight transposed."""
        weight, bias = self.weights[name]
        return Made("Add", Made("MatMul", x, weight), bias)

    def _exchange(self, name: str, a: Pattern, b: Pattern) -> tuple[Pattern, Pattern]:
        values = f"{name}.v_proj"
        return Made("Add", a, self._linear(values, b)), Made("Add", b, self._linear(values, a))

    def _descend(self, level: str, a: Pattern, b: Pattern, a1: Pattern, b1: Pattern) -> tuple[Pattern, Pattern]:
        down = f"down{level}.0"
        return (
            Made("Add", Made("Relu", self._linear(down, a)), self._linear(f"sample_img{level}", a1)),
            Made("Add", Made("Relu", self._linear(down, b)), self._linear(f"sample_tab{level}", b1)),
        )

    def _join(self, a: Pattern, b: Pattern) -> Pattern:
        if self.fusion == "tokens":
            return Made("Concat", Made("Unsqueeze", a), Made("Unsqueeze", b), axis=1)
        total = Made("Add", a, b)
        return Either(Made("Div", total, self.two), Made("Mul", total, self.half))

    def _weigh(self, name: str, fine: Pattern, coarse: Pattern) -> Pattern:
        linear = self._linear_of_rows if self.fusion == "tokens" else self._linear
        fine, coarse = linear(f"{name}.fc1x", fine), linear(f"{name}.fc1y", coarse)
        weight = Made("Softmax", Made("Mul", fine, coarse), axis=-1)
        return Made("Mul", Made("Add", fine, coarse), Made("Add", weight, self.one))

    def call(self, view: View, match: Match) -> Call | None:
        """The kernel's call, if every constant is what the head has there."""
        width = view.graph.sizes[match[self.image]][-1]
        numbers = ((self.one, 1.0), (self.two, 2.0), (self.half, 0.5))
        if any(match.weight(part).reshape(-1).tolist() != [wanted] for part, wanted in numbers if part in match.found):
            return None
        if width % 4 or not 4 <= width <= WIDEST:
            return None
        state = dict(self._state(match))
        eps = {node.attributes.get("epsilon", 1e-5) for node in map(match.node, self.normed)}
        shapes = layers(width, self.fusion)
        if len(eps) > 1 or any(state[f"{name}.weight"].shape != shapes[name] for name in shapes):
            return None
        head = state["head.weight"], state["head.bias"]
        parameters = pack(state, head, self.fusion, eps.pop()).numpy()
        return Call("fusion_head", [match[self.image], match[self.table]], [parameters], {"fusion": self.fusion}, True)

    def _state(self, match: Match) -> Mapping[str, torch.Tensor]:
        """Parameters by the names that `pack` knows."""
        found = {
            f"{norm}.{part}": torch.from_numpy(match.weight(pattern))
            for norm, patterns in self.norms.items()
            for part, pattern in zip(STATE, patterns, strict=True)
        }
        for name, (weight, bias) in self.weights.items():
            by_rows = self.fusion == "tokens" and name.startswith("SF")
            stored = torch.from_numpy(match.weight(weight))
            found[f"{name}.weight"] = stored.T.contiguous() if by_rows else stored
            found[f"{name}.bias"] = torch.from_numpy(match.weight(bias))
        return found
