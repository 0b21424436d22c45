"""The table encoder's splines as the cubic polynomials that they are between two knots."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcaf_export.rewrites.rewrite import Rewrite
from mmcaf_export.rewrites.weights import frozen

from ..kan import KanLayer

DEGREE = 3


class PiecewiseKan(nn.Module):
    """table [N, inputs] -> [N, outputs], as KanLayer.

    `lower` and `upper` [inputs, pieces] are the knots around each piece, `pieces`
    [inputs * pieces * 4, outputs] the coefficients of the powers of the distance from `lower`.
    """

    def __init__(self, layer: KanLayer) -> None:
        super().__init__()
        knots = layer.grid.detach()
        self.lower, self.upper = frozen(knots[:, :-1], layer.grid), frozen(knots[:, 1:], layer.grid)
        basis = _basis_polynomials(knots.double())  # [inputs, pieces, bases, powers]
        mask = layer.mask.detach().double()
        weight = (mask * layer.scale_sp.detach().double())[:, :, None] * layer.coef.detach().double()
        pieces = torch.einsum("ipbk,iob->ipko", basis, weight)
        self.pieces = frozen(pieces.flatten(0, 2), layer.coef)
        self.scale_base = frozen(mask * layer.scale_base.detach().double(), layer.scale_base)

    def forward(self, table: Tensor) -> Tensor:
        x = table[:, :, None]
        inside = (x >= self.lower) & (x < self.upper)
        step = torch.where(inside, x - self.lower, 0.0)
        square = step * step
        powers = torch.stack([inside.to(table.dtype), step, square, square * step], dim=-1)
        return F.silu(table) @ self.scale_base + powers.flatten(1) @ self.pieces


def _basis_polynomials(knots: Tensor) -> Tensor:
    """Coefficients of every B-spline basis on every piece, by Cox-de Boor on polynomials.

    knots [inputs, K] -> [inputs, K - 1 pieces, K - 1 - DEGREE bases, DEGREE + 1 powers of the
    distance from the piece's lower knot].
    """
    inputs, count = knots.shape
    pieces = count - 1
    bases = torch.zeros(inputs, pieces, pieces, DEGREE + 1, dtype=torch.float64)
    bases[:, range(pieces), range(pieces), 0] = 1
    start = knots[:, :-1, None]
    for order in range(1, DEGREE + 1):
        left, right = knots[:, None, : -order - 1], knots[:, None, order + 1 :]
        rise = _inverse(knots[:, order:-1] - knots[:, : -order - 1])[:, None, :]
        fall = _inverse(knots[:, order + 1 :] - knots[:, 1:-order])[:, None, :]
        bases = _times(bases[:, :, :-1], (start - left) * rise, rise) + _times(
            bases[:, :, 1:], (right - start) * fall, -fall
        )
    return bases


def _times(polynomial: Tensor, constant: Tensor, slope: Tensor) -> Tensor:
    """The product with constant + slope * distance; the highest power is known to stay zero."""
    return polynomial * constant[..., None] + F.pad(polynomial[..., :-1], (1, 0)) * slope[..., None]


def _inverse(span: Tensor) -> Tensor:
    return torch.where(span > 0, 1.0 / span, torch.zeros_like(span))


def apply(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    """Replace every KAN layer."""
    found = {path: module for path, module in network.named_modules() if isinstance(module, KanLayer)}
    for path, layer in found.items():
        network.set_submodule(path, PiecewiseKan(layer))
    return bool(found)


REWRITE = Rewrite(
    "spline_pieces",
    "Each spline is evaluated as its cubic polynomial between two stored knots instead of by Cox-de Boor recursion.",
    apply,
)
