"""Replacement convolutions around given weights."""

import torch
from torch import Tensor, nn


def frozen(value: Tensor, like: Tensor) -> nn.Parameter:
    """A float64 result as a weight of the same type as `like`: the only rounding of a rewrite."""
    return nn.Parameter(value.detach().to(like.dtype).contiguous(), requires_grad=False)


def convolution_like(
    conv: nn.Conv3d, weight: Tensor, bias: Tensor | None, padding: tuple[int, int, int] | None = None
) -> nn.Conv3d:
    """A convolution with the stride, padding and groups of `conv` and float64 weights of another shape.

    Its kernel may be smaller; without `padding`, that of `conv` is reduced alike, so that the output's size stays.
    """
    if padding is None:
        kernel = tuple(weight.shape[2:])
        first, second, third = (
            int(conv.padding[axis]) - (conv.kernel_size[axis] - kernel[axis]) // 2 for axis in range(3)
        )
        padding = first, second, third
    made = _hollow(conv, weight.shape, padding, conv.stride, bias is not None)
    made.weight = frozen(weight, conv.weight)
    if bias is not None:
        made.bias = frozen(bias, conv.weight)
    return made


def with_stride(conv: nn.Conv3d, stride: tuple[int, ...]) -> nn.Conv3d:
    """The same convolution, its weights shared, with another stride."""
    padding = int(conv.padding[0]), int(conv.padding[1]), int(conv.padding[2])
    made = _hollow(conv, conv.weight.shape, padding, stride, conv.bias is not None)
    made.weight, made.bias = conv.weight, conv.bias
    return made


def _hollow(
    conv: nn.Conv3d, shape: torch.Size, padding: tuple[int, int, int], stride: tuple[int, ...], bias: bool
) -> nn.Conv3d:
    """A convolution in evaluation mode whose weights are still to be set."""
    with torch.device("meta"):
        made = nn.Conv3d(
            shape[1] * conv.groups,
            shape[0],
            (shape[2], shape[3], shape[4]),
            stride=(stride[0], stride[1], stride[2]),
            padding=padding,
            groups=conv.groups,
            bias=bias,
        )
    return made.eval()


def bias_of(conv: nn.Conv3d) -> Tensor:
    """The bias in float64, zeros where there is none: [outputs]."""
    if conv.bias is None:
        return torch.zeros(conv.weight.shape[0], dtype=torch.float64, device=conv.weight.device)
    return conv.bias.detach().double()
