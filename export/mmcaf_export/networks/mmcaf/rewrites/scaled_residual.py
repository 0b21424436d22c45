"""Normalisation and squeeze-and-excite at the end of PENet's bottlenecks are one scale and one shift."""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from mmcaf_export.rewrites.group_norm import GroupScale
from mmcaf_export.rewrites.rewrite import Rewrite

from ..penet import Bottleneck, SqueezeExcite


class ScaledBottleneck(nn.Module):
    """Bottleneck whose last map is read twice and written once: [N, inputs, ...] -> [N, 2 * mid, ...].

    The squeeze is the mean of the normalised map, which the norm's own means already tell.
    """

    def __init__(self, block: Bottleneck, norm3: GroupScale, excite: SqueezeExcite) -> None:
        super().__init__()
        self.down_sample = block.down_sample
        self.conv1, self.norm1 = block.conv1, block.norm1
        self.conv2, self.norm2 = block.conv2, block.norm2
        self.conv3, self.norm3 = block.conv3, norm3
        self.se_block = excite

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.down_sample is None else self.down_sample(x)
        x = F.leaky_relu(self.norm1(self.conv1(x)))
        x = F.leaky_relu(self.norm2(self.conv2(x)))
        x = self.conv3(x)
        scale, shift, means = self.norm3.coefficients(x)
        gate = self.se_block.excite(means.flatten(1))[:, :, None, None, None]
        return F.leaky_relu(x * (scale * gate) + shift * gate + skip)


def apply(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    """Replace every bottleneck whose norms are scales and shifts by now."""
    found = False
    for path, block in [(path, module) for path, module in network.named_modules() if isinstance(module, Bottleneck)]:
        norm3: nn.Module = block.norm3
        if isinstance(norm3, GroupScale):
            network.set_submodule(path, ScaledBottleneck(block, norm3, block.se_block))
            found = True
    return found


REWRITE = Rewrite(
    "scaled_residual",
    "Each bottleneck's last group norm and its squeeze-and-excite gate are one scale and one shift, and the squeeze "
    "comes from the means that the norm has taken already.",
    apply,
)
