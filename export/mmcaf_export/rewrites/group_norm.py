"""Group norms as one scale and one shift per channel, computed from means."""

import torch
from torch import Tensor, nn

from .means import spatial_mean
from .observed import Observed
from .rewrite import Sites, by_pattern
from .sites import replacing


class GroupScale(nn.Module):
    """Group norm of [N, C, D, H, W] or [N, C, H, W] that never regroups its input.

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
        """Scale and shift that normalise x, and the means that the result will have: [N, C, 1, 1, 1] each.

        Of an image, [N, C, 1, 1].
        """
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
        scale, shift = (values.reshape(-1, channels, *[1] * (x.ndim - 2)) for values in (scale, shift))
        return scale, shift, means * scale + shift


def find(observed: Observed) -> Sites:
    """Every group norm of volumes or images."""
    found = {
        path: (module, GroupScale(module))
        for path, module in observed.network.named_modules()
        if type(module) is nn.GroupNorm
        and module.affine
        and (observed.calls is None or observed.ranks(path) in ({2}, {3}))
    }
    return replacing(observed, found)


REWRITE = by_pattern(
    "group_norm",
    "Group norms become one scale and one shift per channel, which spares changes of memory layout.",
    find,
    lambda module: type(module) is nn.GroupNorm,
    run=False,
)
