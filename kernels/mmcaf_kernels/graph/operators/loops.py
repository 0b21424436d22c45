"""Operators that go through a sequence step by step."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..graph import Graph
from .registry import Arguments, Function, operation
from .steps import run, steps_of

BODY, TAKEN = "body", "taken"
"""Attributes of a Scan: its body, and the body's names for the inputs that stand behind the node's own."""

DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
"""An LSTM's direction -> for each set of weights, whether it goes from the last step to the first."""
PLAIN = [b"Sigmoid", b"Tanh", b"Tanh"]


def body_inputs(given: Arguments, known: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a Scan's body is given in each turn, as tensors on the meta device: states, then slices of sequences."""
    body: Graph = given(BODY)
    own = given.node.inputs[: len(given.node.inputs) - len(body.outside())]
    if len(own) != len(body.inputs):
        raise given.unsupported(f"{len(own)} inputs for a body of {len(body.inputs)}; as many are known")
    states = len(own) - given("num_scan_inputs")
    values = [known[name] for name in own]
    axes = given("scan_input_axes", [0] * given("num_scan_inputs"))
    rests = [value.movedim(axis, 0).shape[1:] for value, axis in zip(values[states:], axes, strict=True)]
    slices = [value.new_empty(rest) for value, rest in zip(values[states:], rests, strict=True)]
    return dict(zip(body.inputs, [*values[:states], *slices], strict=True))


@operation("Scan")
def _scan(given: Arguments) -> Function:
    """The body must have been read; states come first, then what is gone through."""
    body: Graph = given(BODY)
    count, names, steps = given("num_scan_inputs"), tuple(body.inputs), steps_of(body)
    states = len(names) - count
    results = len(body.outputs) - states
    axes, backwards = given("scan_input_axes", [0] * count), given("scan_input_directions", [0] * count)
    to_axes, from_end = given("scan_output_axes", [0] * results), given("scan_output_directions", [0] * results)

    def scan(*values: Tensor) -> tuple[Tensor, ...]:
        taken = dict(zip(given(TAKEN), values[len(names) :], strict=True))
        sequences = values[states : len(names)]
        lengths = [sequence.shape[axis] for sequence, axis in zip(sequences, axes, strict=True)]
        if len(set(lengths)) != 1 or not lengths[0]:
            raise given.unsupported(f"sequences of {lengths} steps; one or more, and as many in each, are known")
        unbound = [sequence.unbind(axis) for sequence, axis in zip(sequences, axes, strict=True)]
        turns = [part[::-1] if back else part for part, back in zip(unbound, backwards, strict=True)]
        state, made = list(values[:states]), []
        for turn in zip(*turns, strict=True):
            local = {**taken, **dict(zip(names, [*state, *turn], strict=True))}
            run(steps, local)
            found = [local[name] for name in body.outputs]
            state = found[:states]
            made.append(found[states:])
        gone = [parts[::-1] if back else parts for parts, back in zip(zip(*made, strict=True), from_end, strict=True)]
        return (*state, *(torch.stack(parts, dim=axis) for parts, axis in zip(gone, to_axes, strict=True)))

    return scan


@operation("LSTM")
def _lstm(given: Arguments) -> Function:
    """All directions in one product for each step; what the input adds is computed for all steps at once."""
    given.expect("layout", 0)
    given.expect("input_forget", 0)
    given.expect("activations", PLAIN, PLAIN * 2)
    given.expect("clip", 0.0)
    if given.has(4) or given.has(7):
        raise given.unsupported("lengths of sequences or peepholes are given; an LSTM without them is known")
    backwards = DIRECTIONS[given("direction", "forward")]

    def turned(parts: Tensor, axis: int) -> Tensor:
        """Each direction's steps in its own order, or back: steps are axis 0, directions `axis`."""
        ways = zip(parts.unbind(axis), backwards, strict=True)
        return torch.stack([part.flip(0) if back else part for part, back in ways], dim=1)

    def through(
        x: Tensor,  # [n, N, d]
        weight: Tensor,  # [D, 4 H, d], gates in the order i, o, f, c
        recurrent: Tensor,  # [D, 4 H, H]
        bias: Tensor | None = None,  # [D, 8 H]
        _: None = None,
        h: Tensor | None = None,  # [D, N, H]
        c: Tensor | None = None,  # [D, N, H]
    ) -> tuple[Tensor, ...]:
        hidden = recurrent.shape[2]
        added = x @ weight.flatten(0, 1).T  # [n, N, D * 4 H]
        if bias is not None:
            added = added + (bias[:, : 4 * hidden] + bias[:, 4 * hidden :]).flatten()
        start = x.new_zeros(len(weight), x.shape[1], hidden)
        h, c = start if h is None else h, start if c is None else c
        outputs = []
        for step in turned(added.unflatten(2, (len(weight), -1)), 2):  # [D, N, 4 H]
            gates = torch.baddbmm(step, h, recurrent.transpose(1, 2))
            i, o, f = gates[..., : 3 * hidden].sigmoid().chunk(3, dim=-1)
            c = f * c + i * gates[..., 3 * hidden :].tanh()
            h = o * c.tanh()
            outputs.append(h)
        return (turned(torch.stack(outputs), 1), h, c)[: len(given.node.outputs)]

    return through
