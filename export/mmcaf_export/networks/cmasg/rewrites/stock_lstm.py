"""Hard gates, and none, run on the LSTM operator that every runtime has."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmcaf_export.rewrites.rewrite import Rewrite
from mmcaf_export.rewrites.weights import frozen

from ..config import CmasgConfig
from ..network import CmasgNet
from ..operators import lstm
from ..recurrent import DIRECTIONS, BiLstm, SparseGate, pooled
from .gates import gate_weights, keep_density, of_steps, reordered, summed_bias

CLOSED = 120.0
"""What closes a gate: 1 / (1 + exp(120)) is 0 in FP32, and FP16, which holds the operator's values in FP32, too."""


class StockBiLstm(nn.Module):
    """As BiLstm with hard gates or none, on ONNX's LSTM.

    For every gate there is one more input, 1 where it is closed, whose weight takes the input, forget and output gates
    of its unit to 0, or the forget gate to 1 if a closed gate holds the cell. Steps of padding are closed for all.
    """

    kept: Tensor | None

    def __init__(self, bilstm: BiLstm, gate: SparseGate | None, config: CmasgConfig) -> None:
        super().__init__()
        self.hidden, self.pooling = config.hidden, config.pooling
        order = (0, 0 if config.output_gate_source == "i" else 3, 1, 2)  # i, o, f, c of torch's i, f, c, o
        signs = (-1.0, -1.0, 1.0 if config.gate_state == "hold" else -1.0, 0.0)
        weights, recurrent, biases = [], [], []
        for ending in DIRECTIONS:
            weight = reordered(bilstm, f"weight_ih_l0{ending}", order)
            eye = torch.eye(self.hidden, dtype=weight.dtype, device=weight.device)
            closing = torch.cat([CLOSED * sign * eye for sign in signs])
            weights.append(torch.cat([weight, closing if gate is not None else closing.sum(1, keepdim=True)], dim=1))
            recurrent.append(reordered(bilstm, f"weight_hh_l0{ending}", order))
            bias = summed_bias(bilstm, ending, order)
            biases.append(torch.cat([bias, torch.zeros_like(bias)]))
        like = bilstm.get_parameter("weight_ih_l0")
        self.weight = frozen(torch.stack(weights), like)  # [2, 4 H, d + H], or d + 1 without gates
        self.recurrent = frozen(torch.stack(recurrent), like)
        self.bias = frozen(torch.stack(biases), like)
        self.read = gate_weights(gate) if gate is not None else None
        steps = of_steps(gate, like)
        self.register_buffer("kept", None if steps is None else torch.cat(steps, dim=1))  # [steps, 2 H]

    def forward(self, x: Tensor, lengths: Tensor, gate: None) -> Tensor:
        real = (torch.arange(x.shape[1], device=x.device) < lengths[:, None]).to(x.dtype)[:, :, None]  # [N, n, 1]
        if self.read is None:
            both = self._run(x, 1 - real, slice(None), "bidirectional")
            outputs = torch.cat([both[:, 0], both[:, 1]], dim=-1)
        else:
            opened = (self.read(x) > 0).to(x.dtype) * real
            if self.kept is not None:
                opened = opened * self.kept[: x.shape[1]]
            ahead, behind = (1 - opened).split(self.hidden, dim=-1)
            found = self._run(x, ahead, slice(0, 1), "forward"), self._run(x, behind, slice(1, 2), "reverse")
            outputs = torch.cat([direction[:, 0] for direction in found], dim=-1)
        return pooled(outputs.transpose(0, 1), lengths, self.hidden, self.pooling)

    def _run(self, x: Tensor, closed: Tensor, of: slice, direction: str) -> Tensor:
        steps = torch.cat([x, closed], dim=-1).transpose(0, 1)
        return lstm(steps, self.weight[of], self.recurrent[of], self.bias[of], direction)


def apply(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    """Replace the gated LSTM where its gates are hard and read nothing but the input, and the plain one."""
    if not isinstance(network, CmasgNet) or not isinstance(network.bilstm, BiLstm):
        return False
    config = network.config
    if config.sparse_gate and (config.gate_value != "hard" or config.gate_input != "x"):
        return False
    keep_density(network)
    network.bilstm = StockBiLstm(network.bilstm, network.sparse_gate, config).eval()
    network.sparse_gate = None
    return True


REWRITE = Rewrite(
    "stock_lstm",
    "Gates of 0 or 1 become inputs of the standard LSTM operator whose weights close its gates; both biases are added.",
    apply,
)
