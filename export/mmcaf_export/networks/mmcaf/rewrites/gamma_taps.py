"""The BFPU's convolutions to two maps are computed as one product per kernel tap."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcaf_export.rewrites.rewrite import Rewrite
from mmcaf_export.rewrites.weights import frozen

from .merged_key import MergedBottomUpFusion


class TapConvolution(nn.Module):
    """A convolution to few channels that keeps the size: [N, C, D, H, W] -> [N, K, D, H, W].

    `weight` [K * taps, C, 1, 1, 1] gives the contribution of every tap where it is read, `shifts`
    [K, K * taps, kD, kH, kW], of zeros and ones, moves each to where it counts and adds them up.
    """

    def __init__(self, conv: nn.Conv3d) -> None:
        super().__init__()
        outputs, channels, *kernel = conv.weight.shape
        taps = conv.weight.detach().double().flatten(2).transpose(1, 2)  # [K, taps, C]
        self.weight = frozen(taps.reshape(-1, channels, 1, 1, 1), conv.weight)
        one_tap = torch.eye(taps.shape[1]).reshape(-1, *kernel)
        shifts = torch.zeros(outputs, outputs, *one_tap.shape)
        shifts[range(outputs), range(outputs)] = one_tap
        self.shifts = frozen(shifts.flatten(1, 2), conv.weight)
        self.bias = conv.bias
        self.padding = conv.padding

    def forward(self, x: Tensor) -> Tensor:
        return F.conv3d(F.conv3d(x, self.weight), self.shifts, self.bias, padding=self.padding)


def apply(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    """Replace `gamma1` and `gamma2` of both BFPUs."""
    found = False
    for block in [module for module in network.modules() if isinstance(module, MergedBottomUpFusion)]:
        for name in ("gamma1", "gamma2"):
            gamma = block.get_submodule(name)
            if isinstance(gamma, nn.Conv3d):
                block.set_submodule(name, TapConvolution(gamma))
                found = True
    return found


REWRITE = Rewrite(
    "gamma_taps",
    "The 3x3x3 convolutions gamma1 and gamma2 to two maps become a pointwise one to 27 contributions per map and "
    "a fixed one of zeros and ones that shifts and adds them: the same products, summed in another order.",
    apply,
)
