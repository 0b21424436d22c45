"""Upsampling by two and depthwise convolution in plain PyTorch: the meaning of the kernel."""

import torch.nn.functional as F
from torch import Tensor, nn

from ..launch import float32_unless_double
from ..msdc.reference import fold_batch_norm


def upsample_dw(x: Tensor, taps: Tensor, bias: Tensor) -> Tensor:
    """ReLU(depthwise 3x3x3 (trilinear x2 of x, corner samples kept in place), zero padded, + bias).

    Args:
        x: [N, C, D, H, W].
        taps: [C, 27].
        bias: [C].

    Returns:
        [N, C, 2D, 2H, 2W] in the type of x.
    """
    wide = float32_unless_double(x)
    channels = x.shape[1]
    doubled = [2 * n for n in x.shape[2:]]
    up = F.interpolate(wide, size=doubled, mode="trilinear", align_corners=True)
    weight = taps.to(wide.dtype).reshape(channels, 1, 3, 3, 3)
    return F.relu(F.conv3d(up, weight, bias.to(wide.dtype), padding=1, groups=channels)).to(x.dtype)


def fold(convolution: nn.Conv3d, norm: nn.BatchNorm3d) -> tuple[Tensor, Tensor]:
    """The depthwise convolution with its batch norm as (taps [C, 27], bias [C]), float32."""
    weight, bias = fold_batch_norm(convolution, norm)
    return weight.flatten(1).float().contiguous(), bias.float()
