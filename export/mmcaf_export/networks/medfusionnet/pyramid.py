"""The feature pyramid (Lin et al., 2017) of MedFusionNet: three maps of the backbone added up to one."""

import torch.nn.functional as F
from torch import Tensor, nn

from .config import MedFusionConfig

REGION = 4
"""Rows and columns of the finest map that one region is the mean of."""


class FeaturePyramid(nn.Module):
    """Maps of S/8, S/16 and S/32 rows and columns -> regions [N, D, S/32, S/32].

    Each map is brought to D channels, the coarser enlarged and added to the finer, and the finest, in which all are
    summed, averaged over regions.
    """

    def __init__(self, config: MedFusionConfig) -> None:
        super().__init__()
        width = config.width
        self.lateral = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in config.tapped_channels)
        if config.fpn_smoothing:
            self.smooth = nn.ModuleList([nn.Conv2d(width, width, 3, padding=1)])

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        third, fourth, fifth = self.lateral
        p5 = fifth(coarse)
        p4 = fourth(middle) + _twice(p5)
        p3 = third(fine) + _twice(p4)
        if hasattr(self, "smooth"):
            p3 = self.smooth[0](p3)
        return F.avg_pool2d(p3, REGION)


class LastLevel(nn.Module):
    """The pyramid of the profile release, which has one level: [N, C, H, W] -> the mean of its D channels [N, D]."""

    def __init__(self, config: MedFusionConfig) -> None:
        super().__init__()
        self.lateral = nn.ModuleList([nn.Conv2d(config.block_channels[-1], config.width, 1)])

    def forward(self, coarse: Tensor) -> Tensor:
        return self.lateral[0](coarse).mean(dim=(2, 3))


def _twice(x: Tensor) -> Tensor:
    """Each value as a square of four."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
