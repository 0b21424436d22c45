"""PENet encoder of MMCAF-Net: stem and three stages of squeeze-and-excite bottlenecks.

Parameter names are those of the published MMCAF-Net (models/penet.py). Its pyramid pooling,
decoders and output convolution never reach the answer and are not built.
"""

import math
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from .layers import group_norm, pointwise, reduced

BLOCKS = (3, 4, 6)  # per stage
STEM_CHANNELS = 64
CARDINALITY = 32


class PENetEncoder(nn.Module):
    """image [N, 1 or 3, D, H, W] -> three maps of 4, 8 and 16 times the stem's channels.

    Their sizes are D/2 x H/4 x W/4, D/4 x H/8 x W/8 and D/8 x H/16 x W/16, rounded up.
    """

    def __init__(self, stem: int = STEM_CHANNELS) -> None:
        super().__init__()
        self.in_conv = nn.Sequential(
            stem_convolution(3, stem),
            group_norm(stem),
            nn.LeakyReLU(),
        )
        self.max_pool = nn.MaxPool3d(3, stride=2, padding=1)
        self.encoders = nn.ModuleList()
        inputs = stem
        for level, blocks in enumerate(BLOCKS):
            mid = stem * 2 ** (level + 1)
            self.encoders.append(Stage(inputs, mid, blocks, stride=1 if level == 0 else 2))
            inputs = 2 * mid

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        stem: Any = self.in_conv[0]
        channels = int(stem.in_channels)
        if image.shape[1] != channels:  # a grey volume shown to all three channels
            image = image.expand(-1, channels, -1, -1, -1)
        x = self.max_pool(self.in_conv(image))
        stage1 = self.encoders[0](x)
        stage2 = self.encoders[1](stage1)
        stage3 = self.encoders[2](stage2)
        return stage1, stage2, stage3


def stem_convolution(inputs: int, outputs: int) -> nn.Conv3d:
    """7x7x7 convolution that halves rows and columns: [N, inputs, D, H, W] -> [N, outputs, D, H/2, W/2]."""
    return nn.Conv3d(inputs, outputs, 7, stride=(1, 2, 2), padding=3, bias=False)


class Stage(nn.Module):
    """A run of bottlenecks, the first of which changes channels and size."""

    def __init__(self, inputs: int, mid: int, blocks: int, stride: int) -> None:
        super().__init__()
        first = Bottleneck(inputs, mid, stride, project=True)
        rest = (Bottleneck(2 * mid, mid, 1, project=False) for _ in range(blocks - 1))
        self.penet_blocks = nn.Sequential(first, *rest)

    def forward(self, x: Tensor) -> Tensor:
        return self.penet_blocks(x)


class Bottleneck(nn.Module):
    """Grouped bottleneck with squeeze-and-excite: [N, inputs, ...] -> [N, 2 * mid, ...]."""

    def __init__(self, inputs: int, mid: int, stride: int, *, project: bool) -> None:
        super().__init__()
        outputs = 2 * mid
        self.down_sample = (
            nn.Sequential(pointwise(inputs, outputs, stride=stride), group_norm(outputs)) if project else None
        )
        self.conv1 = pointwise(inputs, mid)
        self.norm1 = group_norm(mid)
        groups = math.gcd(CARDINALITY, mid)
        self.conv2 = nn.Conv3d(mid, mid, 3, stride=stride, padding=1, groups=groups, bias=False)
        self.norm2 = group_norm(mid)
        self.conv3 = pointwise(mid, outputs)
        self.norm3 = group_norm(outputs)
        self.se_block = SqueezeExcite(outputs)

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.down_sample is None else self.down_sample(x)
        x = F.leaky_relu(self.norm1(self.conv1(x)))
        x = F.leaky_relu(self.norm2(self.conv2(x)))
        x = self.se_block(self.norm3(self.conv3(x)))
        return F.leaky_relu(x + skip)


class SqueezeExcite(nn.Module):
    """Scales each channel of [N, C, D, H, W] by a gate computed from the channel means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = reduced(channels)
        self.excite = nn.Sequential(
            nn.Linear(channels, hidden), nn.LeakyReLU(), nn.Linear(hidden, channels), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        gate = self.excite(x.mean(dim=(2, 3, 4)))  # [N, C]
        return x * gate[:, :, None, None, None]
