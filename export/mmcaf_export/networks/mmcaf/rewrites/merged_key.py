"""The key convolution of the BFPU reads the finer map directly."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcaf_export.rewrites.rewrite import Rewrite
from mmcaf_export.rewrites.weights import bias_of, convolution_like, frozen

from ..bfpu import BottomUpFusion
from ..layers import resize
from ..network import MmcafNet


class MergedBottomUpFusion(nn.Module):
    """coarse [N, C, D, H, W], fine [N, C/2, D', H', W'] -> [N, C, D / depth_step, H, W].

    `key_conv` holds the product of the published key_conv and adjust_c. `key_bias` [C, D, H, W] is what
    both biases add up to: less at the border, where key_conv pads with zeros after adjust_c's bias.
    """

    def __init__(self, block: BottomUpFusion, size: tuple[int, int, int]) -> None:
        super().__init__()
        self.adjust_c, self.query_conv = block.adjust_c, block.query_conv
        self.gamma1: nn.Module = block.gamma1
        self.gamma2: nn.Module = block.gamma2
        self.depth_step = 1
        kernel = block.key_conv.weight.detach().double()
        adjust = block.adjust_c.weight.detach().double().flatten(1)  # [C, C/2]
        merged = torch.einsum("om...,mi->oi...", kernel, adjust)
        self.key_conv = convolution_like(block.key_conv, merged, None)
        taps = torch.einsum("om...,m->o...", kernel, bias_of(block.adjust_c))
        inside = torch.ones(1, 1, *size, dtype=torch.float64, device=kernel.device)
        border = F.conv3d(inside, taps[:, None], padding=block.key_conv.padding)[0]
        bias = border + bias_of(block.key_conv)[:, None, None, None]
        self.key_bias = frozen(bias, block.key_conv.weight)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        fine = resize(fine, coarse.shape[2:])
        key = self.key_conv(fine) + self.key_bias
        fine = self.adjust_c(fine)
        gate = torch.sigmoid(self.query_conv(coarse) * key)
        return self._mix(coarse, coarse * gate, self.gamma1) + self._mix(fine, fine * gate, self.gamma2)

    def _mix(self, plain: Tensor, gated: Tensor, gamma: nn.Module) -> Tensor:
        weights = gamma(torch.cat([plain, gated], dim=1))[:, :, :: self.depth_step]  # [N, 2, D / depth_step, H, W]
        plain, gated = plain[:, :, :: self.depth_step], gated[:, :, :: self.depth_step]
        return plain * weights[:, 0:1] + gated * weights[:, 1:2]


def apply(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    """Merge `key_conv` with `adjust_c` in both BFPUs."""
    if not isinstance(network, MmcafNet):
        return False
    encoder, middle = network.image_encoder, network.config.skip_size
    coarse = tuple(-(-length // 2) for length in middle)
    merged = False
    for name, size in (("bfpu1", middle), ("bfpu2", coarse)):
        block = encoder.get_submodule(name)
        if isinstance(block, BottomUpFusion):
            encoder.set_submodule(name, MergedBottomUpFusion(block, (size[0], size[1], size[2])))
            merged = True
    return merged


REWRITE = Rewrite(
    "merged_key",
    "key_conv after adjust_c is one 3x3x3 convolution from half the channels, with a constant map for the biases.",
    apply,
)
