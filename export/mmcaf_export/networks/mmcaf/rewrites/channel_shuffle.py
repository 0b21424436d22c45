"""The channel shuffle of the DCFB becomes an order of weights."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmcaf_export.rewrites.rewrite import Rewrite
from mmcaf_export.rewrites.weights import bias_of, convolution_like

from ..attention import DepthwiseFusion
from ..layers import even_then_odd, resize


class UnshuffledFusion(nn.Module):
    """DCFB whose last convolution expects its input channels as they come: [N, C, D, H, W] -> the same.

    size: D, H, W of the result if it is to be resampled; None keeps the input's.
    """

    def __init__(self, fusion: DepthwiseFusion) -> None:
        super().__init__()
        self.pconv1, self.msdc, self.pconv2 = fusion.pconv1, fusion.msdc, fusion.pconv2
        self.size: tuple[int, int, int] | None = None

    def forward(self, x: Tensor) -> Tensor:
        wide = self.msdc(self.pconv1(x))
        if self.size is not None:
            x, wide = resize(x, self.size), resize(wide, self.size)
        return x + self.pconv2(wide)


def apply(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    """Reorder the input channels of every DCFB's `pconv2`."""
    found = {path: module for path, module in network.named_modules() if isinstance(module, DepthwiseFusion)}
    for path, fusion in found.items():
        replacement = UnshuffledFusion(fusion)
        narrow = replacement.pconv2.get_submodule("0")
        if not isinstance(narrow, nn.Conv3d):
            raise TypeError(f"{path}.pconv2 begins with a {type(narrow).__name__}, not a convolution")
        order = even_then_odd(torch.arange(narrow.in_channels).reshape(1, -1, 1, 1, 1)).flatten()
        weight = torch.empty_like(narrow.weight, dtype=torch.float64)
        weight[:, order] = narrow.weight.detach().double()
        replacement.pconv2.set_submodule("0", convolution_like(narrow, weight, _bias(narrow)))
        network.set_submodule(path, replacement)
    return bool(found)


def _bias(conv: nn.Conv3d) -> Tensor | None:
    return None if conv.bias is None else bias_of(conv)


REWRITE = Rewrite(
    "channel_shuffle",
    "The channel shuffle before pconv2 is a fixed order of channels and moves into the order of pconv2's weights.",
    apply,
)
