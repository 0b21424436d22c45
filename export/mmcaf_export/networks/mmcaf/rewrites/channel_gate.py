"""The two pooled branches of the channel attention go through its shared layers together."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcaf_export.rewrites.means import spatial_mean
from mmcaf_export.rewrites.rewrite import Rewrite

from ..attention import ChannelAttention


class JointChannelAttention(nn.Module):
    """CAB with mean and maximum side by side: [N, C, D, H, W] -> the same."""

    def __init__(self, attention: ChannelAttention) -> None:
        super().__init__()
        self.fc1, self.fc2 = attention.fc1, attention.fc2

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.cat([spatial_mean(x), x.amax(dim=(2, 3, 4), keepdim=True)], dim=2)
        hidden = F.relu(self.fc1(pooled)).sum(dim=2, keepdim=True)  # [N, C/16, 1, 1, 1]
        return x * torch.sigmoid(self.fc2(hidden))


def apply(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    """Replace every channel attention."""
    found = {path: module for path, module in network.named_modules() if isinstance(module, ChannelAttention)}
    for path, attention in found.items():
        network.set_submodule(path, JointChannelAttention(attention))
    return bool(found)


REWRITE = Rewrite(
    "channel_gate",
    "The channel attention's two branches share one pass through fc1 and, as fc2 is linear, are summed before it.",
    apply,
)
