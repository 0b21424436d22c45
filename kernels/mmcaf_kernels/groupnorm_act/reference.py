"""Group norm with activation, squeeze-and-excite gate and residual, in plain PyTorch: the meaning of the kernels."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..launch import float32_unless_double

GATE_SLOPE = 0.01
"""Slope of the leaky ReLU inside the gate."""
Gate = tuple[Tensor, Tensor, Tensor, Tensor]
"""Weights and biases of the two layers: [hidden, C], [hidden], [C, hidden], [C]."""


def groupnorm_act(
    x: Tensor,
    groups: int,
    weight: Tensor,
    bias: Tensor,
    *,
    eps: float = 1e-5,
    slope: float | None = 0.01,
    gate: Gate | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """leaky_relu(group_norm(x) * gate + residual), [N, C, D, H, W] in the type of x.

    The gate of a channel is sigmoid(layer2(leaky_relu(layer1(m)))) of the means m of the normalised
    channels; without `gate` it is one. A slope of None leaves out the activation.
    """
    wide = float32_unless_double(x)
    y = F.group_norm(wide, groups, weight.to(wide.dtype), bias.to(wide.dtype), eps)
    if gate is not None:
        narrow, narrow_bias, widen, widen_bias = (part.to(wide.dtype) for part in gate)
        hidden = F.leaky_relu(F.linear(y.mean(dim=(2, 3, 4)), narrow, narrow_bias), GATE_SLOPE)
        y = y * torch.sigmoid(F.linear(hidden, widen, widen_bias))[:, :, None, None, None]
    if residual is not None:
        y = y + residual.to(wide.dtype)
    return (y if slope is None else F.leaky_relu(y, slope)).to(x.dtype)
