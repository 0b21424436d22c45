"""The gated bidirectional LSTM, as the publication defines it: one step after the other, each direction for itself."""

import torch
from torch import Tensor, nn

from .config import CmasgConfig

DIRECTIONS = ("", "_reverse")
"""What the parameter names of each direction end with, as in torch.nn.LSTM."""


class SparseGate(nn.Module):
    """A gate for each LSTM unit and step: a sigmoid of the step's input, and a stored bit that keeps the unit or not.

    keep_l0: 1 for a unit that is kept; where it is 0 the gate is closed at every step. keep_steps_l0, if there is one
    [steps, H]: 0 where the gate of a unit is closed at one step, by its place in the sequence in both directions.
    """

    def __init__(self, config: CmasgConfig) -> None:
        super().__init__()
        self.hard = config.gate_value == "hard"
        for ending, hidden in zip(DIRECTIONS, (config.hidden, config.hidden_reverse), strict=True):
            self.register_parameter(f"weight_l0{ending}", _matrix(hidden, config.features))
            if config.gate_input == "xh":
                self.register_parameter(f"hidden_weight_l0{ending}", _matrix(hidden, hidden))
            self.register_parameter(f"bias_l0{ending}", nn.Parameter(torch.full((hidden,), 2.0)))
            self.register_buffer(f"keep_l0{ending}", torch.ones(hidden, dtype=torch.bool))
            if config.keep_steps:
                bits = torch.ones(config.keep_steps, hidden, dtype=torch.bool)
                self.register_buffer(f"keep_steps_l0{ending}", bits)

    def from_input(self, x: Tensor, ending: str) -> Tensor:
        """What the gates of a direction read off the input, of all steps at once: [N, n, d] -> [N, n, H]."""
        return x @ self.get_parameter(f"weight_l0{ending}").T + self.get_parameter(f"bias_l0{ending}")

    @property
    def of_steps(self) -> bool:
        """Whether it has bits for each step."""
        return f"keep_steps_l0{DIRECTIONS[0]}" in self._buffers

    def bits(self, ending: str) -> Tensor:
        """1 where a gate may be open: of each step that there are bits for, or of all alike, [steps or 1, H]."""
        keep = self.get_buffer(f"keep_l0{ending}")[None]
        if self.of_steps:
            keep = keep * self.get_buffer(f"keep_steps_l0{ending}")
        return keep.to(torch.float32)

    def opened(self, x: Tensor, ending: str) -> Tensor:
        """1 where a gate that reads the input alone is more than 0, [N or 1, n, H]."""
        bits = self.bits(ending).to(x.dtype)
        bits = bits[: x.shape[1]] if self.of_steps else bits.expand(x.shape[1], -1)
        return (self.from_input(x, ending) > 0).to(x.dtype) * bits if self.hard else bits[None]

    def open(self, read: Tensor, hidden: Tensor, ending: str, step: int) -> Tensor:
        """The gates of one step: what they read off its input and the last output, both [N, H] -> [N, H]."""
        own = f"hidden_weight_l0{ending}"
        if own in self._parameters:
            read = read + hidden @ self.get_parameter(own).T
        opened = (read > 0).to(read.dtype) if self.hard else read.sigmoid()
        bits = self.bits(ending)
        return opened * bits[step if self.of_steps else 0].to(read.dtype)


class BiLstm(nn.Module):
    """One bidirectional layer whose input, forget and output gates a SparseGate multiplies.

    x [N, n, d], lengths [N], gate or None for a plain LSTM -> the outputs pooled, [N, hidden + hidden_reverse].
    Steps from a case's length on change no state and put out 0, in both directions. Parameter names and the order of
    gates (input, forget, cell, output) are those of torch.nn.LSTM.
    """

    def __init__(self, config: CmasgConfig) -> None:
        super().__init__()
        self.holds = config.gate_state == "hold"
        self.misprint = config.output_gate_source == "i"
        self.hidden, self.pooling = config.hidden, config.pooling
        for ending, hidden in zip(DIRECTIONS, (config.hidden, config.hidden_reverse), strict=True):
            self.register_parameter(f"weight_ih_l0{ending}", _matrix(4 * hidden, config.features))
            self.register_parameter(f"weight_hh_l0{ending}", _matrix(4 * hidden, hidden))
            self.register_parameter(f"bias_ih_l0{ending}", nn.Parameter(torch.zeros(4 * hidden)))
            self.register_parameter(f"bias_hh_l0{ending}", nn.Parameter(torch.zeros(4 * hidden)))

    def forward(self, x: Tensor, lengths: Tensor, gate: SparseGate | None) -> Tensor:
        return pooled(self.outputs(x, lengths, gate), lengths, self.hidden, self.pooling)

    def outputs(self, x: Tensor, lengths: Tensor, gate: SparseGate | None) -> Tensor:
        """The outputs of every step, [N, n, hidden + hidden_reverse]."""
        return torch.cat([self._direction(x, lengths, gate, ending) for ending in DIRECTIONS], dim=-1)

    def _direction(self, x: Tensor, lengths: Tensor, gate: SparseGate | None, ending: str) -> Tensor:
        recurrent = self.get_parameter(f"weight_hh_l0{ending}")
        bias = self.get_parameter(f"bias_ih_l0{ending}") + self.get_parameter(f"bias_hh_l0{ending}")
        inputs = x @ self.get_parameter(f"weight_ih_l0{ending}").T + bias
        read = gate.from_input(x, ending) if gate is not None else None
        h = c = x.new_zeros(len(x), recurrent.shape[1])
        outputs: list[Tensor] = []
        steps = range(x.shape[1])
        for step in steps if ending == DIRECTIONS[0] else reversed(steps):
            i, f, g, o = (inputs[:, step] + h @ recurrent.T).chunk(4, dim=-1)
            i, f, o = i.sigmoid(), f.sigmoid(), o.sigmoid()
            if self.misprint:
                o = i
            if gate is not None and read is not None:
                opened = gate.open(read[:, step], h, ending, step)
                i, f, o = i * opened, f * opened, o * opened
                if self.holds:
                    f = f + (1 - opened)
            cell = f * c + i * g.tanh()
            output = o * cell.tanh()
            real = (step < lengths)[:, None]
            h, c = torch.where(real, output, h), torch.where(real, cell, c)
            outputs.append(torch.where(real, output, 0))
        return torch.stack(outputs if ending == DIRECTIONS[0] else outputs[::-1], dim=1)


def pooled(outputs: Tensor, lengths: Tensor, hidden: int, pooling: str) -> Tensor:
    """The LSTM's outputs [N, n, H] as one vector for each case, [N, H].

    Args:
        hidden: units of the forward direction, the first of H.
        pooling: mean, over a case's own steps; last, the last output of each direction in its own order.
    """
    if pooling == "mean":
        return outputs.sum(dim=1) / lengths[:, None].to(outputs.dtype)
    last = torch.arange(outputs.shape[1], device=outputs.device) == (lengths - 1)[:, None]
    forward = torch.where(last[:, :, None], outputs[:, :, :hidden], 0).sum(dim=1)
    return torch.cat([forward, outputs[:, 0, hidden:]], dim=-1)


def _matrix(rows: int, columns: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(rows, columns).normal_(std=columns**-0.5))
