"""Small layers shared by the volumetric networks: normalisation, upsampling, channel shuffle."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS_PER_GROUP = 16


def reduced(channels: int) -> int:
    """One sixteenth of the channels, at least one: group count and squeeze width."""
    return max(1, channels // CHANNELS_PER_GROUP)


def group_norm(channels: int) -> nn.GroupNorm:
    """Group norm over runs of 16 consecutive channels."""
    return nn.GroupNorm(reduced(channels), channels)


def pointwise(inputs: int, outputs: int, *, bias: bool = False, stride: int = 1) -> nn.Conv3d:
    """1x1x1 convolution [N, inputs, D, H, W] -> [N, outputs, D', H', W']."""
    return nn.Conv3d(inputs, outputs, 1, stride=stride, bias=bias)


def depthwise(channels: int, kernel: int) -> nn.Conv3d:
    """Depthwise convolution that keeps the size: [N, C, D, H, W] -> the same."""
    return nn.Conv3d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False)


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Trilinear resampling of [N, C, D, H, W] to `size`, corner samples kept in place."""
    if tuple(x.shape[2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="trilinear", align_corners=True)


def even_then_odd(x: Tensor) -> Tensor:
    """Channel shuffle of [N, 2C, D, H, W] with C groups: all even channels, then all odd ones."""
    channels = x.shape[1]
    pairs = x.reshape(x.shape[0], channels // 2, 2, *x.shape[2:])
    return pairs.transpose(1, 2).reshape(x.shape)


class Double(nn.Module):
    """Trilinear upsampling by two: [N, C, D, H, W] -> [N, C, 2D, 2H, 2W]."""

    def forward(self, x: Tensor) -> Tensor:
        return resize(x, [2 * n for n in x.shape[2:]])
