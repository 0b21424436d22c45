"""Group norms as one scale and one shift per channel, computed from means."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .means import spatial_mean
from .rewrite import Rewrite


class GroupScale(nn.Module):
    """Group norm of [N, C, D, H, W] that never regroups its input.

    Runtimes keep convolutions' results with the channels innermost; the usual form, which joins the
    channels of a group into one axis, makes them copy every map into another layout and back.
    """

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.groups, self.eps = norm.num_groups, norm.eps
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, x: Tensor) -> Tensor:
        scale, shift, _ = self.coefficients(x)
        return x * scale + shift

    def coefficients(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scale and shift that normalise x, and the means that the result will have: [N, C, 1, 1, 1] each."""
        channels = x.shape[1]
        grouped = (-1, self.groups, channels // self.groups)
        means = spatial_mean(x)
        centred = x - means  # the mean of squares less the squared mean would cancel
        variances = spatial_mean(centred * centred).reshape(grouped)
        own = means.reshape(grouped)
        mean = own.mean(dim=2, keepdim=True)
        offset = own - mean
        variance = (variances + offset * offset).mean(dim=2, keepdim=True)
        scale = self.weight.reshape(grouped) / torch.sqrt(variance + self.eps)
        shift = self.bias.reshape(grouped) - mean * scale
        scale, shift = (values.reshape(-1, channels, 1, 1, 1) for values in (scale, shift))
        return scale, shift, means * scale + shift


def apply(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    """Replace every group norm."""
    found = {path: module for path, module in network.named_modules() if isinstance(module, nn.GroupNorm)}
    for path, norm in found.items():
        network.set_submodule(path, GroupScale(norm))
    return bool(found)


REWRITE = Rewrite(
    "group_norm",
    "Group norms become one scale and one shift per channel, which spares changes of memory layout.",
    apply,
)
