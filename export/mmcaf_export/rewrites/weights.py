"""Replacement convolutions around given weights."""

import torch
from torch import Tensor, nn


def frozen(value: Tensor, like: Tensor) -> nn.Parameter:
    """A float64 result as a weight of the same type as `like`: the only rounding of a rewrite."""
    return nn.Parameter(value.detach().to(like.dtype).contiguous(), requires_grad=False)


def convolution_like(conv: nn.Conv3d, weight: Tensor, bias: Tensor | None) -> nn.Conv3d:
    """A convolution with the stride, padding and groups of `conv` and float64 weights of another shape.

    Its kernel may be smaller and its padding is then reduced alike, so that the output's size stays.
    """
    kernel = tuple(weight.shape[2:])
    padding = tuple(int(conv.padding[axis]) - (conv.kernel_size[axis] - kernel[axis]) // 2 for axis in range(3))
    with torch.device("meta"):
        made = nn.Conv3d(
            weight.shape[1] * conv.groups,
            weight.shape[0],
            kernel,  # type: ignore[arg-type]
            stride=conv.stride,  # type: ignore[arg-type]
            padding=padding,  # type: ignore[arg-type]
            groups=conv.groups,
            bias=bias is not None,
        )
    made.weight = frozen(weight, conv.weight)
    if bias is not None:
        made.bias = frozen(bias, conv.weight)
    return made.eval()


def bias_of(conv: nn.Conv3d) -> Tensor:
    """The bias in float64, zeros where there is none: [outputs]."""
    if conv.bias is None:
        return torch.zeros(conv.weight.shape[0], dtype=torch.float64, device=conv.weight.device)
    return conv.bias.detach().double()
