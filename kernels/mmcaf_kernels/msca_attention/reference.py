"""Channel attention followed by spatial attention in plain PyTorch: the meaning of the kernels."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..launch import float32_unless_double

REACH = 3
"""Of the spatial convolution, 7 x 7 x 7."""


def msca_attention(x: Tensor, narrow: Tensor, widen: Tensor, spatial: Tensor) -> Tensor:
    """Gate the channels of x [N, C, D, H, W], then its positions; the result is of the type of x.

    Args:
        x: [N, C, D, H, W].
        narrow: [hidden, C] and widen: [C, hidden]; a channel's gate is the sigmoid of
            widen relu(narrow mean) + widen relu(narrow maximum).
        spatial: [2, 7, 7, 7]; a position's gate is the sigmoid of its convolution with the mean
            and the maximum over the gated channels, zero padded.
    """
    wide = float32_unless_double(x)
    narrow, widen, spatial = (weight.to(wide.dtype) for weight in (narrow, widen, spatial))
    pooled = torch.stack([wide.mean(dim=(2, 3, 4)), wide.amax(dim=(2, 3, 4))])
    gate = torch.sigmoid(F.linear(F.relu(F.linear(pooled, narrow)), widen).sum(dim=0))
    y = wide * gate[:, :, None, None, None]
    maps = torch.cat([y.mean(dim=1, keepdim=True), y.amax(dim=1, keepdim=True)], dim=1)
    return (y * torch.sigmoid(F.conv3d(maps, spatial[None], padding=REACH))).to(x.dtype)
