"""Batch norms after convolutions become part of the convolutions."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .rewrite import Rewrite
from .weights import bias_of, convolution_like


def apply(network: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    """Fold each batch norm that directly follows a convolution in a Sequential, in evaluation mode."""
    folded = False
    for stack in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for index in range(len(stack) - 1):
            conv, norm = stack[index], stack[index + 1]
            if isinstance(conv, nn.Conv3d) and isinstance(norm, nn.BatchNorm3d):
                stack[index] = _fold(conv, norm)
                stack[index + 1] = nn.Identity()
                folded = True
    return folded


def _fold(conv: nn.Conv3d, norm: nn.BatchNorm3d) -> nn.Conv3d:
    mean, var = norm.running_mean, norm.running_var
    if mean is None or var is None:
        raise ValueError("a batch norm without running statistics cannot be folded")
    scale = norm.weight.detach().double() / torch.sqrt(var.double() + norm.eps)
    shift = norm.bias.detach().double() - mean.double() * scale
    weight = conv.weight.detach().double() * scale[:, None, None, None, None]
    return convolution_like(conv, weight, bias_of(conv) * scale + shift)


REWRITE = Rewrite(
    "batch_norm",
    "Batch norms directly after a convolution are folded into its weights and bias; both are affine per channel.",
    apply,
)
