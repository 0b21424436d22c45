"""Soft gates, and gates that read the last output: everything but the recurrent product leaves the loop."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcaf_export.rewrites.rewrite import Rewrite
from mmcaf_export.rewrites.weights import frozen

from ..config import CmasgConfig
from ..network import CmasgNet
from ..operators import gated_lstm
from ..recurrent import DIRECTIONS, BiLstm, SparseGate
from .gates import gate_weights, keep_density, of_steps, reordered, summed_bias

UNROLLED = 4
"""Steps in one turn of the loop; runtimes take more time to turn it than to add a step to it."""

CLOSED = 60.0
"""Half of what a closed gate reads: tanh(-60) is -1 in every type."""


class HoistedBiLstm(nn.Module):
    """As BiLstm, its input terms and gates computed for all steps at once and both directions run together.

    A sigmoid is (1 + tanh(half)) / 2; the halves are in the weights. Steps of padding have closed gates: they change
    nothing before a case's first own step of the backward direction, and nothing is read after its last one.
    """

    kept: Tensor | None

    def __init__(self, bilstm: BiLstm, gate: SparseGate | None, config: CmasgConfig) -> None:
        super().__init__()
        self.hidden = config.hidden
        self.holds, self.misprint = bilstm.holds, bilstm.misprint
        self.hard = gate is not None and gate.hard
        self.pooling = config.pooling
        self.inner = gate is not None and config.gate_input == "xh"
        order = (0, 1, 2) if self.misprint else (0, 1, 3, 2)  # i, f, o, c of torch's i, f, c, o
        like = bilstm.get_parameter("weight_ih_l0")
        scale = torch.full((len(order),), 0.5, dtype=torch.float64)
        scale[-1] = 1  # the cell's tanh
        scale = scale.repeat_interleave(self.hidden).to(like.device)
        recurrent = []
        for ending in DIRECTIONS:
            weight = reordered(bilstm, f"weight_ih_l0{ending}", order) * scale[:, None]
            bias = summed_bias(bilstm, ending, order) * scale
            step = reordered(bilstm, f"weight_hh_l0{ending}", order) * scale[:, None]
            if gate is not None and self.inner:
                names = (f"weight_l0{ending}", f"bias_l0{ending}", f"hidden_weight_l0{ending}")
                own, own_bias, own_step = (gate.get_parameter(name).detach().double() / 2 for name in names)
                weight, bias, step = (torch.cat(parts) for parts in ((weight, own), (bias, own_bias), (step, own_step)))
            self.register_parameter(f"weight{ending}", frozen(weight, like))
            self.register_parameter(f"bias{ending}", frozen(bias, like))
            recurrent.append(step)
        self.recurrent = frozen(torch.stack([one.T for one in recurrent]), like)
        shift = [torch.ones(self.hidden * (len(order) - 1)), torch.zeros(self.hidden)]
        if self.inner:
            shift.append(torch.full((self.hidden,), 0.0 if self.hard else 1.0))
        self.shift = frozen(torch.cat(shift).to(like.device), like)
        self.read = None if gate is None or self.inner else gate_weights(gate)
        kept = None
        if (bits := of_steps(gate, like)) is not None:  # As long as a sequence with the last turn's padding may be.
            kept = torch.stack([F.pad(steps, (0, 0, 0, UNROLLED - 1)) for steps in bits], dim=1)  # [steps, 2, H]
        self.register_buffer("kept", kept)

    def forward(self, x: Tensor, lengths: Tensor, gate: None) -> Tensor:
        turns = (x.shape[1] + UNROLLED - 1) // UNROLLED
        steps = F.pad(x, (0, 0, 0, UNROLLED - 1))[:, : turns * UNROLLED].transpose(0, 1)  # [n, N, d]
        backward = steps.flip(0)
        real = torch.arange(steps.shape[0], device=x.device)[:, None, None] < lengths[:, None]  # [n, N, 1]
        real = torch.stack([real, real.flip(0)], dim=1)  # [n, 2, N, 1]
        if self.kept is not None:
            ahead, behind = self.kept[: steps.shape[0]].unbind(dim=1)
            real = real & (torch.stack([ahead, behind.flip(0)], dim=1)[:, :, None] > 0)  # [n, 2, N, H]
        inputs = torch.stack([self._inputs(steps, ""), self._inputs(backward, "_reverse")], dim=1)
        gates = None
        if self.inner:
            rest, read = inputs.split([inputs.shape[-1] - self.hidden, self.hidden], dim=-1)
            inputs = torch.cat([rest, torch.where(real, read, -CLOSED)], dim=-1)
        else:
            ahead, behind = self._halves(steps).split(self.hidden, dim=-1)
            gates = torch.where(real, torch.stack([ahead, behind.flip(0)], dim=1), 0).unflatten(0, (-1, UNROLLED))
        inputs = inputs.unflatten(0, (-1, UNROLLED))
        outputs = gated_lstm(inputs, self.recurrent, self.shift, gates, self.holds, self.misprint, self.hard)
        return self._pooled(outputs.flatten(0, 1), lengths)

    def _halves(self, steps: Tensor) -> Tensor:
        """Half of the gates of both directions, [n, N, 2 H]; of a plain LSTM they are all open."""
        if self.read is None:
            return steps.new_full((*steps.shape[:2], 2 * self.hidden), 0.5)
        read = self.read(steps)
        return 0.5 * (read > 0).to(read.dtype) if self.hard else torch.sigmoid(read) / 2

    def _inputs(self, steps: Tensor, ending: str) -> Tensor:
        """[n, N, d] -> [n, N, P H], as one product of a flat matrix, to which runtimes add the bias at no cost."""
        weight, bias = self.get_parameter(f"weight{ending}"), self.get_parameter(f"bias{ending}")
        return F.linear(steps.flatten(0, 1), weight, bias).unflatten(0, (steps.shape[0], -1))

    def _pooled(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        """As `pooled`, of outputs [n, 2, N, H], the second direction in its own order."""
        if self.pooling == "mean":
            return outputs.sum(dim=0).transpose(0, 1).flatten(1) / lengths[:, None].to(outputs.dtype)
        last = torch.arange(outputs.shape[0], device=outputs.device)[:, None] == lengths - 1
        ahead = torch.where(last[:, :, None], outputs[:, 0], 0).sum(dim=0)
        return torch.cat([ahead, outputs[-1, 1]], dim=-1)


def apply(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    """Replace the LSTM, whatever its gates, also where it has none."""
    if not isinstance(network, CmasgNet) or not isinstance(network.bilstm, BiLstm):
        return False
    keep_density(network)
    network.bilstm = HoistedBiLstm(network.bilstm, network.sparse_gate, network.config).eval()
    network.sparse_gate = None
    return True


REWRITE = Rewrite(
    "hoisted_gates",
    "What the LSTM and its gates take from their input is computed for all steps at once, in front of the loop, which "
    "runs both directions together; sigmoids become tanh with their factors in the weights, and both biases are added.",
    apply,
)
