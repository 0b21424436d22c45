"""Replacement convolutions, of images or volumes, around given weights."""

from collections.abc import Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

Convolution = nn.Conv2d | nn.Conv3d
ConvT = TypeVar("ConvT", bound=Convolution)


def frozen(value: Tensor, like: Tensor) -> nn.Parameter:
    """A float64 result as a weight of the same type as `like`: the only rounding of a rewrite."""
    return nn.Parameter(value.detach().to(like.dtype).contiguous(), requires_grad=False)


def convolution_like(
    conv: ConvT, weight: Tensor, bias: Tensor | None, padding: Sequence[int] | str | None = None
) -> ConvT:
    """A convolution with the stride, padding, dilation and groups of `conv` and float64 weights of another shape.

    Its kernel may be smaller; without `padding`, that of `conv` is reduced alike, so that the output's size stays.
    """
    kernel = tuple(weight.shape[2:])
    if padding is None and kernel == conv.kernel_size:
        padding = conv.padding
    elif padding is None:
        padding = [
            int(conv.padding[axis]) - (conv.kernel_size[axis] - kernel[axis]) // 2 for axis in range(len(kernel))
        ]
    made = _hollow(conv, weight.shape, padding, conv.stride, bias is not None)
    made.weight = frozen(weight, conv.weight)
    if bias is not None:
        made.bias = frozen(bias, conv.weight)
    return made


def with_stride(conv: ConvT, stride: tuple[int, ...]) -> ConvT:
    """The same convolution, its weights shared, with another stride."""
    made = _hollow(conv, conv.weight.shape, list(map(int, conv.padding)), stride, conv.bias is not None)
    made.weight, made.bias = conv.weight, conv.bias
    return made


def _hollow(conv: ConvT, shape: torch.Size, padding: Sequence[int] | str, stride: Sequence[int], bias: bool) -> ConvT:
    """A convolution in evaluation mode whose weights are still to be set."""
    kind: Any = type(conv)
    with torch.device("meta"):
        made = kind(
            shape[1] * conv.groups,
            shape[0],
            tuple(shape[2:]),
            stride=tuple(stride),
            padding=padding if isinstance(padding, str) else tuple(padding),
            dilation=conv.dilation,
            groups=conv.groups,
            bias=bias,
            padding_mode=conv.padding_mode,
        )
    return cast(ConvT, made.eval())


def bias_of(conv: Convolution) -> Tensor:
    """The bias in float64, zeros where there is none: [outputs]."""
    if conv.bias is None:
        return torch.zeros(conv.weight.shape[0], dtype=torch.float64, device=conv.weight.device)
    return conv.bias.detach().double()


def padding_of(conv: Convolution) -> tuple[int, ...] | None:
    """What is put before and after each axis; None where the two differ, as "same" may have it."""
    if not isinstance(conv.padding, str):
        return tuple(map(int, conv.padding))
    if conv.padding == "valid":
        return (0,) * len(conv.kernel_size)
    both = [stretch * (taps - 1) for stretch, taps in zip(conv.dilation, conv.kernel_size, strict=True)]
    return None if any(one % 2 for one in both) else tuple(one // 2 for one in both)
