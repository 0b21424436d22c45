"""Kolmogorov-Arnold layer with cubic splines in plain PyTorch: the meaning of the kernel."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..launch import float32_unless_double

ORDER = 3


def kan(x: Tensor, knots: Tensor, base: Tensor, coefficients: Tensor) -> Tensor:
    """y[n, o] = sum over i of base[i, o] silu(x[n, i]) + sum over j of coefficients[i, o, j] B_j(x[n, i]).

    Args:
        x: [N, inputs].
        knots: [inputs, K], not decreasing along K; B_0 to B_{K - 5} are the cubic B-splines on
            them, zero outside [knots[0], knots[K - 1]).
        base: [inputs, outputs].
        coefficients: [inputs, outputs, K - 4].

    Returns:
        [N, outputs] in the type of x.
    """
    wide = float32_unless_double(x)
    knots, base, coefficients = (weight.to(wide.dtype) for weight in (knots, base, coefficients))
    spline = torch.einsum("nij,ioj->no", b_splines(wide, knots), coefficients)
    return (F.silu(wide) @ base + spline).to(x.dtype)


def b_splines(x: Tensor, knots: Tensor) -> Tensor:
    """Cubic B-splines of x [N, inputs] by the recursion of Cox and de Boor, 0 / 0 being 0: [N, inputs, K - 4]."""
    x = x[:, :, None]
    bases = ((x >= knots[:, :-1]) & (x < knots[:, 1:])).to(x.dtype)
    for order in range(1, ORDER + 1):
        span = knots[:, order:] - knots[:, :-order]
        inverse = torch.where(span > 0, 1 / span, 0)
        rise = (x - knots[:, : -order - 1]) * inverse[:, :-1]
        fall = (knots[:, order + 1 :] - x) * inverse[:, 1:]
        bases = rise * bases[:, :, :-1] + fall * bases[:, :, 1:]
    return bases


def fold(coefficients: Tensor, mask: Tensor, scale_base: Tensor, scale_spline: Tensor) -> tuple[Tensor, Tensor]:
    """(base, coefficients) of a layer stored with a mask and a scale per input-output pair, float32."""
    masked = mask.double() * scale_spline.double()
    return (mask.double() * scale_base.double()).float(), (masked[:, :, None] * coefficients.double()).float()
