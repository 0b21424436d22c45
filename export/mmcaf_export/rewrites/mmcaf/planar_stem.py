"""The stem as a 2D convolution whose channels are its seven depth taps; not applied by default."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..rewrite import Rewrite
from .one_channel_stem import STEM


class PlanarStem(nn.Module):
    """image [N, 1, D, H, W] -> [N, C, D, H/2, W/2]; each slice sees itself and its neighbours as channels.

    `weight` stays in its 3D form [C, 1, taps, kH, kW].
    """

    def __init__(self, stem: nn.Conv3d) -> None:
        super().__init__()
        self.weight = stem.weight
        self.stride, self.padding = stem.stride[1:], tuple(int(pad) for pad in stem.padding)

    def forward(self, image: Tensor) -> Tensor:
        depth, taps = image.shape[2], self.weight.shape[2]
        reach, rows, columns = self.padding
        padded = F.pad(image[:, 0], (0, 0, 0, 0, reach, reach))
        near = torch.stack([padded[:, tap : tap + depth] for tap in range(taps)], dim=2)  # [N, D, taps, H, W]
        flat = F.conv2d(near.flatten(0, 1), self.weight[:, 0], stride=self.stride, padding=(rows, columns))
        return flat.unflatten(0, (-1, depth)).transpose(1, 2)


def apply(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    """Re-lay a stem that reads one channel and keeps the number of slices."""
    stem = network.get_submodule(STEM)
    if not isinstance(stem, nn.Conv3d) or stem.in_channels != 1 or stem.stride[0] != 1:
        return False
    network.set_submodule(STEM, PlanarStem(stem))
    return True


REWRITE = Rewrite(
    "planar_stem",
    "The stem's seven depth taps become the input channels of a 2D convolution over slices: the same sum.",
    apply,
)
