"""Recurrent torch operators that an exported network is made of, and what they are in ONNX.

lstm is ONNX's LSTM. gated_lstm, which no ONNX operator is, becomes a Scan over the steps. In torch both are plain
loops: they serve to compare a rewritten network with its source.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any

import onnx_ir as ir
import torch
from onnxscript import evaluator
from torch import Tensor

from mmcaf_export.onnx_operators import TRANSLATIONS
from mmcaf_export.rewrites.cost import PRODUCTS


@torch.library.custom_op("mmcaf_export::lstm", mutates_args=())
def lstm(x: Tensor, weight: Tensor, recurrent: Tensor, bias: Tensor, direction: str) -> Tensor:
    """An LSTM as ONNX's operator has it, of D directions.

    Args:
        x: [n, N, d]. weight: [D, 4 H, d], recurrent: [D, 4 H, H], bias: [D, 8 H], gates in the order i, o, f, c.
        direction: forward; reverse, from the last step to the first; or bidirectional, which has D = 2.

    Returns:
        [n, D, N, H].
    """
    hidden = recurrent.shape[2]
    outputs = x.new_empty(len(x), len(weight), x.shape[1], hidden)
    for at in range(len(weight)):
        inputs = x @ weight[at].T + bias[at, : 4 * hidden] + bias[at, 4 * hidden :]
        h = c = x.new_zeros(x.shape[1], hidden)
        backwards = at == 1 or direction == "reverse"
        for step in reversed(range(len(x))) if backwards else range(len(x)):
            i, o, f, g = (inputs[step] + h @ recurrent[at].T).chunk(4, dim=-1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            outputs[step, at] = h = o.sigmoid() * c.tanh()
    return outputs


@lstm.register_fake
def _(x: Tensor, weight: Tensor, recurrent: Tensor, bias: Tensor, direction: str) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0], x.shape[1], recurrent.shape[2])


@torch.library.custom_op("mmcaf_export::gated_lstm", mutates_args=())
def gated_lstm(
    inputs: Tensor, recurrent: Tensor, shift: Tensor, gates: Tensor | None, holds: bool, misprint: bool, hard: bool
) -> Tensor:
    """Both directions of a gated LSTM at once, every sigmoid written as (1 + tanh(half)) / 2.

    With t = tanh(inputs + output @ recurrent) + shift, in parts i, f, o, c: cell = gate (f cell + i c), and output =
    gate o tanh(cell), where gate is half of what it is in the publication.

    Args:
        inputs: what each step's input adds, bias included, [turns, U, 2, N, P H], U steps in each turn of the loop; the
            second direction's steps in its own order, so that step 0 is the first of both.
        recurrent: [2, H, P H]. shift: [P H].
        gates: half of the gates, [turns, U, 2, N, H]; None if they are read off the last output too: then they are the
            last of the parts, the whole of (1 + tanh(half)) for a soft gate, above zero for an open hard one.
        holds: a closed gate holds the cell. misprint: i takes the place of o, which is no part. hard: see gates.

    Returns:
        [turns, U, 2, N, H], in the order of `inputs`.
    """
    return states(inputs, recurrent, shift, gates, holds, misprint, hard)[0]


def states(
    inputs: Tensor, recurrent: Tensor, shift: Tensor, gates: Tensor | None, holds: bool, misprint: bool, hard: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """As `gated_lstm`; beside the outputs, the cells of every step, and tanh of what it reads, t without the shift."""
    hidden = recurrent.shape[1]
    h = c = inputs.new_zeros(2, inputs.shape[3], hidden)
    outputs = inputs.new_empty(*inputs.shape[:4], hidden)
    cells, curves = torch.empty_like(outputs), torch.empty_like(inputs)
    for step in product(range(inputs.shape[0]), range(inputs.shape[1])):
        curves[step] = (inputs[step] + h @ recurrent).tanh()
        parts = list((curves[step] + shift).split(hidden, dim=-1))
        gate = gates[step] if gates is not None else inner(parts.pop(), hard)
        i, f, o, g = parts if not misprint else (parts[0], parts[1], parts[0], parts[2])
        held = (1 - 2 * gate) * c if holds else 0
        cells[step] = c = gate * (f * c + i * g) + held
        outputs[step] = h = gate * (o * c.tanh())
    return outputs, cells, curves


@gated_lstm.register_fake
def _(
    inputs: Tensor, recurrent: Tensor, shift: Tensor, gates: Tensor | None, holds: bool, misprint: bool, hard: bool
) -> Tensor:
    return inputs.new_empty(*inputs.shape[:4], recurrent.shape[1])


def inner(read: Tensor, hard: bool) -> Tensor:
    return 0.5 * (read > 0).to(read.dtype) if hard else 0.25 * read


def _lstm_node(x: ir.Value, weight: ir.Value, recurrent: ir.Value, bias: ir.Value, direction: str) -> ir.Value:
    hidden = size_of(recurrent, 2)
    return _record("LSTM", [x, weight, recurrent, bias], hidden_size=hidden, direction=direction)[0]


def _scan_node(
    inputs: ir.Value,
    recurrent: ir.Value,
    shift: ir.Value,
    gates: ir.Value | None,
    holds: bool,
    misprint: bool,
    hard: bool,
) -> ir.Value:
    return scan(inputs, recurrent, shift, gates, holds, misprint, hard)[0]


def scan(
    inputs: ir.Value,
    recurrent: ir.Value,
    shift: ir.Value,
    gates: ir.Value | None,
    holds: bool,
    misprint: bool,
    hard: bool,
    cells_and_curves: bool = False,
) -> Sequence[ir.Value]:
    """A Scan whose body multiplies both directions by their matrices as a batch of two.

    Its values are the outputs; if asked, in their place, the cells and tanh of what a step reads.
    """
    hidden, width, unrolled = size_of(recurrent, 1), size_of(recurrent, 2), size_of(inputs, 1)
    body = Body()
    h, c = (body.input(name, [1, 2, None, hidden]) for name in ("h", "c"))
    scanned = [inputs] if gates is None else [inputs, gates]
    widths = {"inputs": width, "gates": hidden}
    taken = [body.input(name, [unrolled, 2, None, size]) for name, size in list(widths.items())[: len(scanned)]]
    steps = [body.nodes_of("Split", value, outputs=unrolled, axis=0, num_outputs=unrolled) for value in taken]
    outputs: list[ir.Value] = []
    cells: list[ir.Value] = []
    curves: list[ir.Value] = []
    for z, *given in zip(*steps, strict=True):
        curves.append(body.node("Tanh", body.node("Add", body.node("MatMul", h, recurrent), z)))
        t = body.node("Add", curves[-1], shift)
        parts = list(body.nodes_of("Split", t, outputs=width // hidden, axis=-1, num_outputs=width // hidden))
        gate = given[0] if given else body.inner(parts.pop(), hard)
        i, f, o, g = parts if not misprint else (parts[0], parts[1], parts[0], parts[2])
        cell = body.node("Mul", body.node("Add", body.node("Mul", f, c), body.node("Mul", i, g)), gate)
        if holds:
            kept = body.node("Sub", body.constant(1.0), body.node("Add", gate, gate))
            cell = body.node("Add", cell, body.node("Mul", kept, c))
        c = cell
        h = body.node("Mul", body.node("Mul", body.node("Tanh", c), o), gate)
        outputs.append(h)
        cells.append(c)
    made = [body.node("Concat", *values, axis=0) for values in ((cells, curves) if cells_and_curves else (outputs,))]
    return record_scan(body, [h, c], made, [start_of(inputs, hidden)] * 2, scanned)


def record_scan(
    body: "Body",
    carried: list[ir.Value],
    made: list[ir.Value],
    start: Sequence[ir.Value],
    scanned: Sequence[ir.Value],
    backwards: bool = False,
) -> Sequence[ir.Value]:
    """Add a Scan of this body: what each turn hands to the next, and what of all turns is kept, which is returned.

    Backwards, the last turn comes first, and what is kept lies as the turns do.
    """
    graph, count = body.graph([*carried, *made]), len(carried) + len(made)
    ways = {"scan_input_directions": [1] * len(scanned), "scan_output_directions": [1] * len(made)} if backwards else {}
    found = _record("Scan", [*start, *scanned], outputs=count, body=graph, num_scan_inputs=len(scanned), **ways)
    return found[len(carried) :]


def start_of(inputs: ir.Value, hidden: int) -> ir.Value:
    """Zeros [1, 2, N, hidden] for the N of [turns, U, 2, N, ...]."""
    batch = _record("Shape", [inputs], start=3, end=4)[0]
    shape = _record("Concat", [_constant([1, 2]), batch, _constant([hidden])], axis=0)[0]
    return _record("Expand", [_constant(0.0), shape])[0]


def _constant(value: float | list[int]) -> ir.Value:
    return _record("Constant", [], value=_tensor(value))[0]


def _record(operator: str, inputs: Sequence[ir.Value], outputs: int = 1, **attributes: Any) -> Sequence[ir.Value]:
    """Add a node to the graph that torch.onnx is writing; its own helper knows one output of a Scan only."""
    node = ir.node(operator, inputs, attributes, num_outputs=outputs)
    recorder: Any = evaluator.default()
    recorder.nodes.append(node)
    return node.outputs


def _tensor(value: float | list[int]) -> ir.TensorProtocol:
    dtype = ir.DataType.FLOAT if isinstance(value, float) else ir.DataType.INT64
    return ir.tensor(value, dtype=dtype)


def size_of(value: ir.Value, axis: int) -> int:
    size = value.shape[axis] if value.shape is not None else None
    if not isinstance(size, int):
        raise ValueError(f"{value.name} has no fixed axis {axis}")
    return size


class Body:
    """The graph of one turn of a Scan, built node by node."""

    def __init__(self) -> None:
        self._inputs: list[ir.Value] = []
        self._nodes: list[ir.Node] = []

    def input(self, name: str, shape: list[int | None]) -> ir.Value:
        value = ir.Value(name=f"step_{name}", shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT))
        self._inputs.append(value)
        return value

    def constant(self, value: float | list[int]) -> ir.Value:
        return self.node("Constant", value=_tensor(value))

    def node(self, operator: str, *inputs: ir.Value, **attributes: Any) -> ir.Value:
        return self.nodes_of(operator, *inputs, **attributes)[0]

    def nodes_of(self, operator: str, *inputs: ir.Value, outputs: int = 1, **attributes: Any) -> Sequence[ir.Value]:
        name = f"step_{operator}_{len(self._nodes)}"
        node = ir.node(operator, list(inputs), attributes, num_outputs=outputs, name=name)
        for index, value in enumerate(node.outputs):
            value.name = name if outputs == 1 else f"{name}:{index}"
        self._nodes.append(node)
        return node.outputs

    def inner(self, read: ir.Value, hard: bool) -> ir.Value:
        """Half a gate that was read off the last output too."""
        if not hard:
            return self.node("Mul", read, self.constant(0.25))
        opened = self.node("Cast", self.node("Greater", read, self.constant(0.0)), to=int(ir.DataType.FLOAT))
        return self.node("Mul", opened, self.constant(0.5))

    def graph(self, outputs: list[ir.Value]) -> ir.Graph:
        for value in outputs:
            value.type = ir.TensorType(ir.DataType.FLOAT)
        return ir.Graph(self._inputs, outputs, nodes=self._nodes, name="step")


TRANSLATIONS[torch.ops.mmcaf_export.lstm.default] = _lstm_node
TRANSLATIONS[torch.ops.mmcaf_export.gated_lstm.default] = _scan_node
PRODUCTS["lstm"] = lambda read, written: written.numel() * 8 * (read[1].shape[2] + read[2].shape[2])
PRODUCTS["gated_lstm"] = lambda read, written: written.numel() * (2 * read[1].shape[2] + 12)
