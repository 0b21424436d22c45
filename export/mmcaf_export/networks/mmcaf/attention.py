"""E3D-MSCA of MMCAF-Net: channel attention, spatial attention, multi-kernel DCFB, and UCB.

Parameter names are those of the published MMCAF-Net (models/model_utils/multiscale.py).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import Double, depthwise, even_then_odd, pointwise, reduced

KERNELS = (1, 3, 5)  # of the parallel depthwise convolutions


class ChannelAttention(nn.Module):
    """CAB: gates each channel of [N, C, D, H, W] from its mean and its maximum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = pointwise(channels, reduced(channels))
        self.fc2 = pointwise(reduced(channels), channels)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=(2, 3, 4), keepdim=True)
        peak = x.amax(dim=(2, 3, 4), keepdim=True)
        return x * torch.sigmoid(self._squeeze(mean) + self._squeeze(peak))

    def _squeeze(self, pooled: Tensor) -> Tensor:
        return self.fc2(F.relu(self.fc1(pooled)))


class SpatialAttention(nn.Module):
    """SAB: gates each position of [N, C, D, H, W] from the mean and maximum over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.conv(pooled))


class MultiKernelDepthwise(nn.Module):
    """MSDC: sum of three depthwise branches that all read the same [N, C, D, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconvs = nn.ModuleList(
            nn.Sequential(depthwise(channels, kernel), nn.BatchNorm3d(channels), nn.ReLU6()) for kernel in KERNELS
        )

    def forward(self, x: Tensor) -> Tensor:
        first, second, third = self.dwconvs
        return first(x) + second(x) + third(x)


class DepthwiseFusion(nn.Module):
    """DCFB: widen, filter at three scales, shuffle, narrow, add: [N, C, D, H, W] -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 2 * channels
        self.pconv1 = nn.Sequential(pointwise(channels, wide), nn.BatchNorm3d(wide), nn.ReLU6())
        self.msdc = MultiKernelDepthwise(wide)
        self.pconv2 = nn.Sequential(pointwise(wide, channels), nn.BatchNorm3d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pconv2(even_then_odd(self.msdc(self.pconv1(x))))


class UpConvolution(nn.Module):
    """UCB: [N, C, D, H, W] -> [N, C/2, 2D, 2H, 2W].

    The published block shuffles channels with as many groups as channels before `pwc`; that is
    the identity and is left out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.up_dwc = nn.Sequential(Double(), depthwise(channels, 3), nn.BatchNorm3d(channels), nn.ReLU())
        self.pwc = nn.Sequential(pointwise(channels, channels // 2, bias=True))

    def forward(self, x: Tensor) -> Tensor:
        return self.pwc(self.up_dwc(x))
