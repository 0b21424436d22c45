"""Copies of networks that share the weights, and networks without any."""

import copy

import torch
from torch import Tensor, nn


def share_copy(network: nn.Module) -> nn.Module:
    """A copy of the module tree that shares every weight with the original, in evaluation mode.

    Replacing a submodule or switching modes in the copy leaves the original as it was.
    """
    return _copy(network, {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())})


def meta_copy(network: nn.Module) -> nn.Module:
    """A copy whose weights have shapes and types but no values, in evaluation mode.

    Running it costs nothing and tells every size on the way.
    """
    bare: dict[int, Tensor] = {id(tensor): torch.empty_like(tensor, device="meta") for tensor in network.buffers()}
    for tensor in network.parameters():
        bare[id(tensor)] = nn.Parameter(torch.empty_like(tensor, device="meta"), requires_grad=False)
    return _copy(network, bare)


def _copy(network: nn.Module, tensors: dict[int, Tensor]) -> nn.Module:
    return copy.deepcopy(network, tensors).eval()
