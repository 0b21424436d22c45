"""The stem as an in-plane convolution whose channels are its seven depth taps."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcaf_export.rewrites.rewrite import Rewrite
from mmcaf_export.rewrites.weights import frozen

from .one_channel_stem import STEM


class PlanarStem(nn.Module):
    """image [N, 1, D, H, W] -> [N, C, D, H/2, W/2]; each slice sees itself and its neighbours as channels.

    `weight` is [C, taps, 1, kH, kW].
    """

    def __init__(self, stem: nn.Conv3d) -> None:
        super().__init__()
        self.weight = frozen(stem.weight.detach().transpose(1, 2), stem.weight)
        self.in_channels = 1
        self.stride, self.padding = stem.stride, tuple(int(pad) for pad in stem.padding)

    def forward(self, image: Tensor) -> Tensor:
        batch, _, depth, height, width = image.shape
        taps = self.weight.shape[1]
        reach, rows, columns = self.padding
        padded = F.pad(image, (0, 0, 0, 0, reach, reach))
        # One gather: OpenVINO runs an INT8 convolution wrongly whose input is a concatenation of slices.
        near = padded.index_select(2, torch.arange(taps)[:, None].add(torch.arange(depth)).flatten())
        near = near.reshape(batch, taps, depth, height, width)
        return F.conv3d(near, self.weight, stride=self.stride, padding=(0, rows, columns))


def apply(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    """Re-lay a stem that reads one channel and keeps the number of slices."""
    stem = network.get_submodule(STEM)
    if not isinstance(stem, nn.Conv3d) or stem.in_channels != 1 or stem.stride[0] != 1:
        return False
    network.set_submodule(STEM, PlanarStem(stem))
    return True


REWRITE = Rewrite(
    "planar_stem",
    "The stem's seven depth taps become the input channels of an in-plane convolution: the same sum.",
    apply,
)
