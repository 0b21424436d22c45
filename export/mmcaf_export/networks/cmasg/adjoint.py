"""The gradient of the gated LSTM: what a step's outputs cost, carried back from the last step to the first.

All that a step's own values decide is computed for all steps at once; the loop, a second Scan, holds only what one step
hands to the one before it.
"""

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
    """As `gated_lstm`, with the cells of every step beside its outputs."""
    return states(inputs, recurrent, shift, gates, holds, misprint, hard)


@gated_lstm_states.register_fake
def _(
    inputs: Tensor, recurrent: Tensor, shift: Tensor, gates: Tensor | None, holds: bool, misprint: bool, hard: bool
) -> tuple[Tensor, Tensor]:
    made = inputs.new_empty(*inputs.shape[:4], recurrent.shape[1])
    return made, torch.empty_like(made)


@torch.library.custom_op("mmcaf_export::lstm_adjoint", mutates_args=())
def lstm_adjoint(
    slopes: Tensor, of_cell: Tensor, of_output: Tensor, along: Tensor, kept: Tensor, recurrent: Tensor
) -> Tensor:
    """What each step's parts cost: steps in reverse order, the last one first.

    With h the cost of a step's output, its own slope and what the next step handed back, and c that of its cell,
    c + along h: the parts cost of_cell c + of_output h, each of them so many times; to the step before go
    parts @ recurrent and kept c.

    Args:
        slopes, along, kept: [turns, U, 2, N, H]. of_cell, of_output: [turns, U, 2, N, P H]. recurrent: [2, P H, H].

    Returns:
        [turns, U, 2, N, P H].
    """
    h = c = torch.zeros_like(slopes[0, 0])
    parts = torch.empty_like(of_cell)
    times = of_cell.shape[-1] // slopes.shape[-1]
    for turn in range(slopes.shape[0]):
        for step in range(slopes.shape[1]):
            at = (turn, step)
            h = h + slopes[at]
            c = c + along[at] * h
            parts[at] = of_cell[at] * c.repeat(1, 1, times) + of_output[at] * h.repeat(1, 1, times)
            h, c = parts[at] @ recurrent, kept[at] * c
    return parts


@lstm_adjoint.register_fake
def _(slopes: Tensor, of_cell: Tensor, of_output: Tensor, along: Tensor, kept: Tensor, recurrent: Tensor) -> Tensor:
    return torch.empty_like(of_cell)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*(value for value in inputs[:4] if value is not None))
    ctx.options = inputs[4:]


def _backward(ctx: Any, slopes: Tensor) -> tuple[Tensor | None, ...]:
    inputs, recurrent, shift, *rest = ctx.saved_tensors
    gates = rest[0] if rest else None
    holds, misprint, hard = ctx.options
    outputs, cells = gated_lstm_states(inputs, recurrent, shift, gates, holds, misprint, hard)
    before = _earlier(cells)
    read = (inputs.flatten(0, 1) + _earlier(outputs).flatten(0, 1) @ recurrent).unflatten(0, inputs.shape[:2])
    curves = read.tanh()
    parts = list((curves + shift).split(recurrent.shape[1], dim=-1))
    own = gates is None
    gate = inner(parts.pop(), hard) if gates is None else gates
    i, f, o, g = parts if not misprint else (parts[0], parts[1], parts[0], parts[2])
    peak = cells.tanh()
    zero = torch.zeros_like(cells)
    cell_of_gate = f * before + i * g - (2 * before if holds else 0)
    output_of_gate = o * peak
    if own:  # Of the part that is the gate; a hard one is flat.
        cell_of_gate, output_of_gate = (zero, zero) if hard else (0.25 * cell_of_gate, 0.25 * output_of_gate)
    of_cell = [gate * g, gate * before, gate * i] if misprint else [gate * g, gate * before, zero, gate * i]
    of_output = [gate * peak, zero, zero] if misprint else [zero, zero, gate * peak, zero]
    slope = 1 - curves * curves
    back = recurrent
    if not own:  # Its cost is given back beside the parts', and handed to no step.
        back = torch.cat([recurrent, torch.zeros_like(recurrent[:, :, : recurrent.shape[1]])], dim=-1)
        slope = torch.cat([slope, torch.ones_like(zero)], dim=-1)
    costs = lstm_adjoint(
        _reversed(slopes),
        _reversed(torch.cat([*of_cell, cell_of_gate], dim=-1) * slope),
        _reversed(torch.cat([*of_output, output_of_gate], dim=-1) * slope),
        _reversed(gate * o * (1 - peak * peak)),
        _reversed(gate * f + (1 - 2 * gate if holds else 0)),
        back.mT,
    )
    costs = _reversed(costs)
    width = inputs.shape[-1]
    return costs[..., :width], None, None, None if own else costs[..., width:], None, None, None


def _reversed(values: Tensor) -> Tensor:
    """Steps [turns, U, ...] in the other order."""
    return values.flip(0, 1)


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
    return tuple(scan(inputs, recurrent, shift, gates, holds, misprint, hard, cells=True))


def _adjoint_node(
    slopes: ir.Value, of_cell: ir.Value, of_output: ir.Value, along: ir.Value, kept: ir.Value, recurrent: ir.Value
) -> ir.Value:
    hidden, width, unrolled = size_of(recurrent, 2), size_of(recurrent, 1), size_of(slopes, 1)
    body = Body()
    h, c = (body.input(name, [1, 2, None, hidden]) for name in ("h", "c"))
    scanned = [slopes, of_cell, of_output, along, kept]
    sizes = (hidden, width, width, hidden, hidden)
    names = ("slopes", "of_cell", "of_output", "along", "kept")
    taken = [body.input(name, [unrolled, 2, None, size]) for name, size in zip(names, sizes, strict=True)]
    split = [body.nodes_of("Split", value, outputs=unrolled, axis=0, num_outputs=unrolled) for value in taken]
    made = []
    times = width // hidden
    for steps in zip(*split, strict=True):
        slope, cell, output, through, share = steps
        h = body.node("Add", h, slope)
        c = body.node("Add", c, body.node("Mul", through, h))
        costs = [
            body.node("Mul", factor, body.node("Concat", *[value] * times, axis=-1))
            for factor, value in ((cell, c), (output, h))
        ]
        parts = body.node("Add", *costs)
        made.append(parts)
        h, c = body.node("MatMul", parts, recurrent), body.node("Mul", share, c)
    kept_of_all = body.node("Concat", *made, axis=0)
    return record_scan(body, [h, c], [kept_of_all], [start_of(slopes, hidden)] * 2, scanned)[0]


TRANSLATIONS[torch.ops.mmcaf_export.gated_lstm_states.default] = _states_nodes
TRANSLATIONS[torch.ops.mmcaf_export.lstm_adjoint.default] = _adjoint_node
