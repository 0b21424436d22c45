"""Batch norms after convolutions become part of the convolutions."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .followers import BatchNorm, norms_after_convolutions
from .rewrite import Rewrite
from .weights import Convolution, bias_of, convolution_like


def apply(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    """Fold each batch norm, in evaluation mode, that is all that reads a convolution's result."""
    pairs = norms_after_convolutions(network, inputs)
    for path, follower in pairs.items():
        conv, norm = network.get_submodule(path), network.get_submodule(follower)
        if not isinstance(conv, Convolution) or not isinstance(norm, BatchNorm):
            raise TypeError(f"{path} and {follower} are no convolution and batch norm")
        network.set_submodule(path, _fold(conv, norm))
        network.set_submodule(follower, nn.Identity())
    return bool(pairs)


def _fold(conv: Convolution, norm: BatchNorm) -> Convolution:
    mean, var = norm.running_mean, norm.running_var
    if mean is None or var is None:
        raise ValueError("a batch norm without running statistics cannot be folded")
    scale = norm.weight.detach().double() / torch.sqrt(var.double() + norm.eps)
    shift = norm.bias.detach().double() - mean.double() * scale
    weight = conv.weight.detach().double() * scale.reshape(-1, *[1] * (conv.weight.ndim - 1))
    return convolution_like(conv, weight, bias_of(conv) * scale + shift)


REWRITE = Rewrite(
    "batch_norm",
    "Batch norms directly after a convolution are folded into its weights and bias; both are affine per channel.",
    apply,
)
