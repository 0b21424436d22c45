"""Pointwise convolutions whose result is only read at a smaller size are computed at that size."""

from collections.abc import Mapping
from math import prod

from torch import Tensor, nn

from mmcaf_export.rewrites.rewrite import Rewrite

from ..attention import UpConvolution
from ..layers import resize
from ..network import MmcafNet
from .channel_shuffle import UnshuffledFusion


class SizedUpConvolution(nn.Module):
    """UCB that resamples to `size` before its pointwise convolution: [N, C, D, H, W] -> [N, C/2, *size]."""

    def __init__(self, block: UpConvolution, size: tuple[int, int, int]) -> None:
        super().__init__()
        self.up_dwc, self.pwc = block.up_dwc, block.pwc
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return self.pwc(resize(self.up_dwc(x), self.size))


def apply(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    """Move the resampling of UCB2's and DCFB1's results before their last convolution, where it shrinks."""
    if not isinstance(network, MmcafNet):
        return False
    encoder, config = network.image_encoder, network.config
    size, first = config.skip_size, config.first_stage_size
    doubled = tuple(2 * -(-length // 2) for length in size)
    moved = False
    if isinstance(encoder.ucb2, UpConvolution) and prod(doubled) > prod(size):
        encoder.set_submodule("ucb2", SizedUpConvolution(encoder.ucb2, size))
        moved = True
    if isinstance(encoder.dcfb1, UnshuffledFusion) and encoder.dcfb1.size is None and prod(first) > prod(size):
        encoder.dcfb1.size = size  # BFPU1, which alone reads it, would resample to this
        moved = True
    return moved


REWRITE = Rewrite(
    "early_resize",
    "UCB2 and DCFB1 are resampled before their last pointwise convolution, not after: both are linear, and the "
    "resampling's weights sum to one, which keeps the bias.",
    apply,
)
