"""The stem reads a radiograph's one grey plane instead of three channels made of it."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..networks.grey import GreyChannels
from .rewrite import Rewrite
from .weights import bias_of, convolution_like, frozen


class GreyStem(nn.Module):
    """A convolution of one plane, and a map for what the channels' differing means add.

    The map is no bias: the convolution pads the channels with zeros after they were normalised, so that near the
    border less is added.
    """

    def __init__(self, conv: nn.Conv2d, border: Tensor, like: Tensor) -> None:
        super().__init__()
        self.conv = conv
        self.map = frozen(border, like)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + self.map


def grey_stem(channels: str, stem: str) -> Rewrite:
    """The rewrite of a network whose GreyChannels, at the path `channels`, are read by the convolution at `stem` alone.

    It belongs behind the folding of batch norms: the norm behind a stem that adds a map would not be folded.
    """

    def apply(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
        image = inputs.get("image")
        if image is None or image.shape[1] != 1:
            return False
        grey = network.get_submodule(channels)
        if not isinstance(grey, GreyChannels):
            return False
        conv = network.get_submodule(stem)
        if not isinstance(conv, nn.Conv2d):
            raise TypeError(f"a {type(conv).__name__} stands where a convolution was expected")
        network.set_submodule(channels, nn.Identity())
        network.set_submodule(stem, _one_plane(conv, grey, (image.shape[2], image.shape[3])))
        return True

    return Rewrite(
        "grey_stem",
        "The three channels are one grey plane, scaled and shifted: the stem's kernel is summed over them, and what "
        "the shifts add, less where the kernel reaches over the border, is a stored map.",
        apply,
    )


def _one_plane(conv: nn.Conv2d, grey: GreyChannels, size: tuple[int, int]) -> nn.Module:
    weight = conv.weight.detach().double()
    scales, shifts = (
        torch.tensor(values, dtype=torch.float64, device=weight.device).reshape(1, -1, 1, 1)
        for values in (grey.scales, grey.shifts)
    )
    summed = convolution_like(
        conv, (weight * scales).sum(dim=1, keepdim=True), None if conv.bias is None else bias_of(conv)
    )
    if not any(grey.shifts):
        return summed
    border = F.conv2d(
        shifts.expand(1, -1, *size), weight, stride=conv.stride, padding=conv.padding, dilation=conv.dilation
    )
    return GreyStem(summed, border, conv.weight)
