"""Kolmogorov-Arnold layer that encodes the clinical table of MMCAF-Net.

Parameter names are those of the published MMCAF-Net (models/kan/KANLayer.py).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ORDER = 3  # cubic splines
INTERVALS = 5  # between -1 and 1


class KanLayer(nn.Module):
    """table [N, inputs] -> [N, outputs]; one SiLU and one cubic spline per input-output pair.

    Knots lie as stored in `grid` [inputs, INTERVALS + 2 * ORDER + 1]. Outside the outermost
    knots the spline is zero and only the SiLU term remains; nothing is clamped.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        step = 2.0 / INTERVALS
        knots = torch.arange(-ORDER, INTERVALS + ORDER + 1) * step - 1.0
        self.grid = nn.Parameter(knots.repeat(inputs, 1), requires_grad=False)
        self.coef = nn.Parameter(0.1 * torch.randn(inputs, outputs, INTERVALS + ORDER))
        self.mask = nn.Parameter(torch.ones(inputs, outputs), requires_grad=False)
        self.scale_base = nn.Parameter(torch.randn(inputs, outputs) / inputs**0.5)
        self.scale_sp = nn.Parameter(torch.ones(inputs, outputs))

    def forward(self, table: Tensor) -> Tensor:
        base = F.silu(table) @ (self.mask * self.scale_base)
        weight = (self.mask * self.scale_sp)[:, None, :] * self.coef.transpose(1, 2)
        spline = b_splines(table, self.grid).flatten(1) @ weight.flatten(0, 1)
        return base + spline


def b_splines(x: Tensor, knots: Tensor) -> Tensor:
    """B-spline bases of x [N, inputs] on knots [inputs, K] by Cox-de Boor: [N, inputs, K - 1 - ORDER].

    A zero-length interval (two equal knots) contributes nothing.
    """
    x = x[:, :, None]
    bases = ((x >= knots[:, :-1]) & (x < knots[:, 1:])).to(x.dtype)
    for order in range(1, ORDER + 1):
        rise = (x - knots[:, : -order - 1]) * _inverse(knots[:, order:-1] - knots[:, : -order - 1])
        fall = (knots[:, order + 1 :] - x) * _inverse(knots[:, order + 1 :] - knots[:, 1:-order])
        bases = rise * bases[:, :, :-1] + fall * bases[:, :, 1:]
    return bases


def _inverse(span: Tensor) -> Tensor:
    return torch.where(span > 0, 1.0 / span, torch.zeros_like(span))
