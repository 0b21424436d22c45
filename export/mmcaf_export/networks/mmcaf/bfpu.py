"""BFPU of MMCAF-Net: the bottom-up unit that lets a finer map refine a coarser one.

Parameter names are those of the published MMCAF-Net (models/model_utils/BFPU_conv.py).
"""

import torch
from torch import Tensor, nn

from .layers import pointwise, resize


class BottomUpFusion(nn.Module):
    """coarse [N, C, D, H, W], fine [N, C/2, D', H', W'] -> [N, C, D, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.adjust_c = pointwise(channels // 2, channels, bias=True)
        self.query_conv = nn.Conv3d(channels, channels, 3, padding=1)
        self.key_conv = nn.Conv3d(channels, channels, 3, padding=1)
        self.gamma1 = nn.Conv3d(2 * channels, 2, 3, padding=1)
        self.gamma2 = nn.Conv3d(2 * channels, 2, 3, padding=1)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        fine = self.adjust_c(resize(fine, coarse.shape[2:]))
        gate = torch.sigmoid(self.query_conv(coarse) * self.key_conv(fine))
        return _mix(coarse, coarse * gate, self.gamma1) + _mix(fine, fine * gate, self.gamma2)


def _mix(plain: Tensor, gated: Tensor, gamma: nn.Conv3d) -> Tensor:
    """Weigh the plain and the gated map by the two maps that `gamma` computes from both."""
    weights = gamma(torch.cat([plain, gated], dim=1))  # [N, 2, D, H, W]
    return plain * weights[:, 0:1] + gated * weights[:, 1:2]
