"""The feature pyramid (Lin et al., 2017) of MedFusionNet: three maps of the backbone added up to one."""

import torch.nn.functional as F
from torch import Tensor, nn

from .config import MedFusionConfig

REGION = 4
"""Rows and columns of the finest map that one region is the mean of."""


class Pyramid(nn.Module):
    """Maps of S/8, S/16 and S/32 rows and columns, or half of each -> the finest [N, D, ...], in which all are summed.

    Each map is brought to D channels, the coarser enlarged and added to the finer.
    """

    def __init__(self, config: MedFusionConfig) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(channels, config.width, 1) for channels in config.tapped_channels)

    def finest(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        third, fourth, fifth = self.lateral
        p5 = fifth(coarse)
        p4 = fourth(middle) + _twice(p5)
        return third(fine) + _twice(p4)


class FeaturePyramid(Pyramid):
    """Maps of S/8, S/16 and S/32 rows and columns -> regions [N, D, S/32, S/32]: means over the finest map."""

    def __init__(self, config: MedFusionConfig) -> None:
        super().__init__(config)
        if config.fpn_smoothing:
            self.smooth = nn.ModuleList([nn.Conv2d(config.width, config.width, 3, padding=1)])

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        p3 = self.finest(fine, middle, coarse)
        if hasattr(self, "smooth"):
            p3 = self.smooth[0](p3)
        return F.avg_pool2d(p3, REGION)


class MeanPyramid(Pyramid):
    """The release's pyramid over the transitions' maps -> the mean of the finest map's D channels [N, D]."""

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        return self.finest(fine, middle, coarse).mean(dim=(2, 3))


class LastLevel(nn.Module):
    """The release's pyramid of one level: the last map [N, C, H, W] -> the mean of its D channels [N, D]."""

    def __init__(self, config: MedFusionConfig) -> None:
        super().__init__()
        self.lateral = nn.ModuleList([nn.Conv2d(config.block_channels[-1], config.width, 1)])

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        return self.lateral[0](coarse).mean(dim=(2, 3))


def release_pyramid(config: MedFusionConfig) -> nn.Module:
    """Of the profile release: one level over the last map, or three over the transitions' maps."""
    return MeanPyramid(config) if config.fpn_taps == "transitions" else LastLevel(config)


def _twice(x: Tensor) -> Tensor:
    """Each value as a square of four."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
