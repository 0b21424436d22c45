"""groupnorm_act: a group norm written as one scale and one shift per channel, computed from the channels' means."""

import math

from ..fuse import Call
from ..pattern import Either, Made, Match, Mean, Pattern, Value, View, Weight

SPACE, GROUP = (2, 3, 4), 2
GATE_SLOPE = 0.01


class _Norm:
    """The patterns of a norm's scale and shift."""

    def __init__(self) -> None:
        self.x, self.weight, self.bias, self.eps = Value(), Weight(), Weight(), Weight()
        means = Mean(self.x, *SPACE)
        centred = Made("Sub", self.x, means)
        self.length, self.count = Made("ReduceL2", self.x), Weight()
        squares = Made("Div", Made("Mul", self.length, self.length), self.count)
        in_one_pass = Made("Relu", Made("Sub", squares, Made("Mul", means, means)))  # as INT8 networks have it
        self.grouped = Made("Reshape", Either(Mean(Made("Mul", centred, centred), *SPACE), in_one_pass))
        own = Made("Reshape", means)
        mean = Mean(own, GROUP)
        offset = Made("Sub", own, mean)
        both = Made("Add", self.grouped, Made("Mul", offset, offset))
        variance = Mean(both, GROUP)
        scale = Made("Div", self.weight, Made("Sqrt", Made("Add", variance, self.eps)))
        shift = Made("Sub", self.bias, Made("Mul", mean, scale))
        self.means, self.scale, self.shift = means, Made("Reshape", scale), Made("Reshape", shift)

    def plain(self) -> Pattern:
        return Made("Add", Made("Mul", self.x, self.scale), self.shift)

    def call(self, view: View, match: Match, slope: float, gate: "_Gate | None", residual: str | None) -> Call | None:
        """The kernel's call, if groups are runs of channels and the constants have the sizes that follow."""
        channels = view.graph.sizes[match[self.x]][1]
        groups = view.graph.sizes[match[self.grouped]][1]
        weight, bias = match.weight(self.weight).reshape(-1), match.weight(self.bias).reshape(-1)
        eps = match.weight(self.eps)
        if self.length in match.found and not self._is_mean_square(view, match):
            return None
        if view.graph.sizes[match[self.grouped]][1:] != (groups, channels // groups) or eps.size != 1:
            return None
        if not weight.size == bias.size == channels or not 0 <= slope <= 1:
            return None
        parameters = [weight, bias]
        if gate is not None:
            parameters += [match.weight(part) for part in gate.layers]
        if residual is not None and view.graph.sizes[residual] != view.graph.sizes[match[self.x]]:
            return None
        options = {"groups": groups, "eps": eps.item(), "slope": slope}
        return Call("groupnorm_act", [match[self.x], residual], parameters, options)

    def _is_mean_square(self, view: View, match: Match) -> bool:
        """Whether the squared length of each channel is divided by the number of its values."""
        samples, channels, *space = view.graph.sizes[match[self.x]]
        lengths = view.graph.sizes[match[self.length]]
        return lengths == (samples, channels, 1, 1, 1) and match.weight(self.count).reshape(-1).tolist() == [
            math.prod(space)
        ]


class _Gate:
    """Squeeze and excite of the means that the normalised channels have."""

    def __init__(self, norm: _Norm) -> None:
        self.layers = [Weight() for _ in range(4)]
        squeezed = Made("Reshape", Made("Add", Made("Mul", norm.means, norm.scale), norm.shift))
        self.hidden = Made("LeakyRelu", Made("Gemm", squeezed, *self.layers[:2], transB=1))
        excited = Made("Sigmoid", Made("Gemm", self.hidden, *self.layers[2:], transB=1))
        self.gate = Made("Unsqueeze", Made("Unsqueeze", excited))

    def has_slope(self, match: Match) -> bool:
        return math.isclose(match.node(self.hidden).attributes.get("alpha", 0.01), GATE_SLOPE, rel_tol=1e-6)


def find(view: View, name: str) -> Call | None:
    """With an activation or without, with gate and residual or without both."""
    slope = 1.0
    active = view.node(name, "LeakyRelu")
    if active is not None:
        slope, name = active.attributes.get("alpha", 0.01), active.inputs[0]
    norm = _Norm()
    match = view.match(norm.plain(), name)
    if match is not None:
        return norm.call(view, match, slope, None, None)
    gate, residual = _Gate(norm), Value()
    scaled = Made("Mul", norm.x, Made("Mul", norm.scale, gate.gate))
    match = view.match(Made("Add", Made("Add", scaled, Made("Mul", norm.shift, gate.gate)), residual), name)
    if match is None or not gate.has_slope(match):
        return None
    return norm.call(view, match, slope, gate, match[residual])
