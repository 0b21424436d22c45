"""Batch norms after convolutions become part of the convolutions."""

import torch
from torch import nn

from .observed import BATCH_NORMS, BatchNorm, Observed
from .rewrite import Site, Sites, by_pattern
from .weights import Convolution, bias_of, convolution_like


def find(observed: Observed) -> Sites:
    """Each batch norm, in evaluation mode, that is all that reads a convolution's result."""
    fitting, unfit = [], {}
    for path, follower in observed.followers.items():
        conv, norm = observed.network.get_submodule(path), observed.network.get_submodule(follower)
        if not isinstance(conv, Convolution) or not isinstance(norm, BatchNorm) or norm.running_mean is None:
            continue
        reason = observed.unfit.get(path) or observed.unfit.get(follower)
        if reason is not None:
            unfit[path] = reason
            continue
        folded = _fold(conv, norm)
        made = {path: folded, follower: nn.Identity()}
        fitting.append(Site(made, nn.Sequential(conv, norm), folded, observed.given(path)))
    return Sites(tuple(fitting), unfit)


def _fold(conv: Convolution, norm: BatchNorm) -> Convolution:
    mean, var = norm.running_mean, norm.running_var
    if mean is None or var is None:
        raise ValueError("a batch norm without running statistics cannot be folded")
    gain = norm.weight.detach().double() if norm.affine else torch.ones_like(mean, dtype=torch.float64)
    offset = norm.bias.detach().double() if norm.affine else torch.zeros_like(gain)
    scale = gain / torch.sqrt(var.double() + norm.eps)
    shift = offset - mean.double() * scale
    weight = conv.weight.detach().double() * scale.reshape(-1, *[1] * (conv.weight.ndim - 1))
    return convolution_like(conv, weight, bias_of(conv) * scale + shift)


REWRITE = by_pattern(
    "batch_norm",
    "Batch norms directly after a convolution are folded into its weights and bias; both are affine per channel.",
    find,
    lambda module: type(module) in BATCH_NORMS,
)
