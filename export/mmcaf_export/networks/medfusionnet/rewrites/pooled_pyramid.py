"""The pyramid works on maps that are averaged over regions beforehand."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcaf_export.rewrites.rewrite import Rewrite
from mmcaf_export.rewrites.weights import bias_of, frozen

from ..pyramid import REGION, FeaturePyramid, MeanPyramid


class PooledPyramid(nn.Module):
    """As `FeaturePyramid`, by one pointwise convolution over the channels of all three maps."""

    def __init__(self, laterals: list[nn.Conv2d]) -> None:
        super().__init__()
        first = laterals[0].weight
        weight = torch.cat([lateral.weight.detach().double() for lateral in laterals], dim=1)
        with torch.device("meta"):
            self.lateral = nn.Conv2d(weight.shape[1], weight.shape[0], 1)
        self.lateral.weight = frozen(weight, first)
        self.lateral.bias = frozen(torch.stack([bias_of(lateral) for lateral in laterals]).sum(dim=0), first)

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        maps = [F.avg_pool2d(fine, REGION), F.avg_pool2d(middle, REGION // 2), coarse]
        return self.lateral(torch.cat(maps, dim=1))


class PooledMeans(nn.Module):
    """As `MeanPyramid`, by one Linear over the means of the channels of all three maps."""

    def __init__(self, laterals: list[nn.Conv2d]) -> None:
        super().__init__()
        conv = PooledPyramid(laterals).lateral
        with torch.device("meta"):
            self.lateral = nn.Linear(conv.in_channels, conv.out_channels)
        self.lateral.weight = nn.Parameter(conv.weight.flatten(1), requires_grad=False)
        self.lateral.bias = frozen(bias_of(conv), conv.weight)

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        return self.lateral(torch.cat([level.mean(dim=(2, 3)) for level in (fine, middle, coarse)], dim=1))


def apply(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    """Replace the pyramid, unless it smooths its finest map."""
    pyramid = getattr(network, "feature_pyramid", None)
    if not isinstance(pyramid, FeaturePyramid | MeanPyramid) or hasattr(pyramid, "smooth"):
        return False
    pooled = PooledMeans if isinstance(pyramid, MeanPyramid) else PooledPyramid
    network.set_submodule("feature_pyramid", pooled([_conv(lateral) for lateral in pyramid.lateral]))
    return True


def _conv(lateral: nn.Module) -> nn.Conv2d:
    if not isinstance(lateral, nn.Conv2d):
        raise TypeError(f"a {type(lateral).__name__} stands where a convolution was expected")
    return lateral


REWRITE = Rewrite(
    "pooled_pyramid",
    "Without smoothing the pyramid is linear, and the mean over a region of a coarser map, made larger, is that map's "
    "own value: the finer maps are averaged first, and the three sums of channels are one.",
    apply,
)
