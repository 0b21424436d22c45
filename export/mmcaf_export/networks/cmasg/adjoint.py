"""The gradient of the gated LSTM: what a step's outputs cost, carried back from the last step to the first.

All that a step's own values decide is computed for all steps at once; the loop, a second Scan that runs backwards,
holds only what one step hands to the one before it.
"""

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor

from mmcaf_export.onnx_operators import TRANSLATIONS

from .operators import Body, gated_lstm, inner, record_scan, scan, size_of, start_of, states


@torch.library.custom_op("mmcaf_export::gated_lstm_states", mutates_args=())
def gated_lstm_states(
    inputs: Tensor, recurrent: Tensor, shift: Tensor, gates: Tensor | None, holds: bool, misprint: bool, hard: bool
) -> tuple[Tensor, Tensor]:
    """What a step of `gated_lstm` makes on the way to its output: its cells, and tanh of what it reads."""
    _outputs, cells, curves = states(inputs, recurrent, shift, gates, holds, misprint, hard)
    return cells, curves


@gated_lstm_states.register_fake
def _(
    inputs: Tensor, recurrent: Tensor, shift: Tensor, gates: Tensor | None, holds: bool, misprint: bool, hard: bool
) -> tuple[Tensor, Tensor]:
    return inputs.new_empty(*inputs.shape[:4], recurrent.shape[1]), torch.empty_like(inputs)


@torch.library.custom_op("mmcaf_export::lstm_adjoint", mutates_args=())
def lstm_adjoint(slopes: Tensor, factors: Tensor, along: Tensor, kept: Tensor, back: Tensor, of: str) -> Tensor:
    """What each step's output and cell cost, from the last step to the first.

    With h the cost of a step's output, its own slope and what the next step handed back, and c that of its cell, what
    the next step left of it and along h: to the step before go (w factors) @ back and kept c, where w is one h or c
    for each letter of `of`.

    Args:
        slopes, along, kept: [turns, U, 2, N, H]. factors: [turns, U, 2, N, T H]. back: [2, T H, H]. of: T letters.

    Returns:
        The w of every step, [turns, U, 2, N, T H].
    """
    h = c = torch.zeros_like(slopes[0, 0])
    made = torch.empty_like(factors)
    for turn in reversed(range(slopes.shape[0])):
        for step in reversed(range(slopes.shape[1])):
            at = (turn, step)
            h = h + slopes[at]
            c = c + along[at] * h
            made[at] = torch.cat([{"h": h, "c": c}[letter] for letter in of], dim=-1)
            h, c = (made[at] * factors[at]) @ back, kept[at] * c
    return made


@lstm_adjoint.register_fake
def _(slopes: Tensor, factors: Tensor, along: Tensor, kept: Tensor, back: Tensor, of: str) -> Tensor:
    return torch.empty_like(factors)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*(value for value in inputs[:4] if value is not None))
    ctx.options = inputs[4:]


def _backward(ctx: Any, slopes: Tensor) -> tuple[Tensor | None, ...]:
    inputs, recurrent, shift, *rest = ctx.saved_tensors
    gates = rest[0] if rest else None
    holds, misprint, hard = ctx.options
    cells, curves = gated_lstm_states(inputs, recurrent, shift, gates, holds, misprint, hard)
    hidden, before = recurrent.shape[1], _earlier(cells)
    parts = list((curves + shift).split(hidden, dim=-1))
    gate = inner(parts.pop(), hard) if gates is None else gates
    i, f, o, g = parts if not misprint else (parts[0], parts[1], parts[0], parts[2])
    peak = cells.tanh()
    cell_of_gate = f * before + i * g - (2 * before if holds else 0)
    output_of_gate = o * peak
    # What a part costs is so many times what the step's cell or its output costs: part, which of both, how many times.
    terms = [(0, "c", g), (1, "c", before), (0 if misprint else 2, "h", peak), (2 if misprint else 3, "c", i)]
    factors = torch.cat([value for _, _, value in terms], dim=-1).unflatten(-1, (len(terms), hidden))
    factors = (factors * gate.unsqueeze(-2)).flatten(-2)
    if gates is None and not hard:  # Of the part that is the gate; a hard one is flat.
        terms += [(len(parts), "c", cell_of_gate), (len(parts), "h", output_of_gate)]
        factors = torch.cat([factors, 0.25 * cell_of_gate, 0.25 * output_of_gate], dim=-1)
    order = [part for part, _, _ in terms]
    factors = factors * _arranged(1 - curves * curves, order, hidden)
    back = _arranged(recurrent, order, hidden).mT
    of = "".join(letter for _, letter, _ in terms)
    kept = gate * f + (1 - 2 * gate if holds else 0)
    made = lstm_adjoint(slopes, factors, gate * o * (1 - peak * peak), kept, back, of)
    costs = made * factors
    if order != list(range(curves.shape[-1] // hidden)):
        found = costs.split(hidden, dim=-1)
        sums = [
            sum((cost for part, cost in zip(order, found, strict=True) if part == wanted), torch.zeros_like(gate))
            for wanted in range(curves.shape[-1] // hidden)
        ]
        costs = torch.cat(sums, dim=-1)
    of_gates = None
    if gates is not None:
        c, h = (made.narrow(-1, of.index(letter) * hidden, hidden) for letter in "ch")
        of_gates = c * cell_of_gate + h * output_of_gate
    return costs, None, None, of_gates, None, None, None


def _arranged(values: Tensor, order: Sequence[int], hidden: int) -> Tensor:
    """Parts [..., P H] in an order, in which they may come more than once, or not at all."""
    if list(order) == list(range(values.shape[-1] // hidden)):
        return values
    return torch.cat([values.narrow(-1, part * hidden, hidden) for part in order], dim=-1)


def _earlier(values: Tensor) -> Tensor:
    """What the step before each had, zeros before the first: [turns, U, ...]."""
    flat = values.flatten(0, 1)
    return torch.cat([torch.zeros_like(flat[:1]), flat[:-1]]).unflatten(0, values.shape[:2])


gated_lstm.register_autograd(_backward, setup_context=_keep)


def _states_nodes(
    inputs: ir.Value,
    recurrent: ir.Value,
    shift: ir.Value,
    gates: ir.Value | None,
    holds: bool,
    misprint: bool,
    hard: bool,
) -> tuple[ir.Value, ...]:
    return tuple(scan(inputs, recurrent, shift, gates, holds, misprint, hard, cells_and_curves=True))


def _adjoint_node(
    slopes: ir.Value, factors: ir.Value, along: ir.Value, kept: ir.Value, back: ir.Value, of: str
) -> ir.Value:
    hidden, width, unrolled = size_of(back, 2), size_of(back, 1), size_of(slopes, 1)
    body = Body()
    h, c = (body.input(name, [1, 2, None, hidden]) for name in ("h", "c"))
    scanned = [slopes, factors, along, kept]
    sizes = {"slopes": hidden, "factors": width, "along": hidden, "kept": hidden}
    taken = [body.input(name, [unrolled, 2, None, size]) for name, size in sizes.items()]
    split = [body.nodes_of("Split", value, outputs=unrolled, axis=0, num_outputs=unrolled) for value in taken]
    made = []
    for slope, factor, through, share in reversed(list(zip(*split, strict=True))):
        h = body.node("Add", h, slope)
        c = body.node("Add", c, body.node("Mul", through, h))
        made.append(body.node("Concat", *({"h": h, "c": c}[letter] for letter in of), axis=-1))
        h, c = body.node("MatMul", body.node("Mul", made[-1], factor), back), body.node("Mul", share, c)
    of_all = body.node("Concat", *reversed(made), axis=0)
    return record_scan(body, [h, c], [of_all], [start_of(slopes, hidden)] * 2, scanned, backwards=True)[0]


TRANSLATIONS[torch.ops.mmcaf_export.gated_lstm_states.default] = _states_nodes
TRANSLATIONS[torch.ops.mmcaf_export.lstm_adjoint.default] = _adjoint_node
