"""DenseNet's transitions average before they mix channels."""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from mmcaf_export.rewrites.rewrite import Rewrite

from ..densenet import Transition


class PooledTransition(nn.Module):
    """As `Transition`, with the convolution on a quarter of the pixels."""

    def __init__(self, transition: Transition) -> None:
        super().__init__()
        self.norm, self.conv = transition.norm, transition.conv

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.avg_pool2d(F.relu(self.norm(x)), 2))


def apply(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    """Replace every transition."""
    found = {path: module for path, module in network.named_modules() if isinstance(module, Transition)}
    for path, transition in found.items():
        network.set_submodule(path, PooledTransition(transition))
    return bool(found)


REWRITE = Rewrite(
    "pool_first",
    "Transitions average first: a mean over pixels and a pointwise convolution, the one linear along the plane and the "
    "other along the channels, may change places.",
    apply,
)
