"""Copies of networks that share the weights, and networks without any."""

import copy
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

_Seen = TypeVar("_Seen")


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


def run_on_shapes(
    network: nn.Module, inputs: Mapping[str, Tensor], run: Callable[[nn.Module, tuple[Tensor, ...]], _Seen]
) -> _Seen:
    """What `run` makes of a copy without values and of inputs like these.

    Where the network needs values on the way, as `item()` or a constant of its own does, it gets a copy that has them:
    a second run, with the inputs themselves.
    """
    # In inference mode composite operators would arrive whole instead of as the products they are made of.
    with torch.inference_mode(False), torch.no_grad():
        try:
            return run(meta_copy(network), tuple(torch.empty_like(one, device="meta") for one in inputs.values()))
        except Exception:
            if any(tensor.is_meta for tensor in (*inputs.values(), *network.parameters(), *network.buffers())):
                raise
        return run(share_copy(network), tuple(one.clone() for one in inputs.values()))


def _copy(network: nn.Module, tensors: dict[int, Tensor]) -> nn.Module:
    for module in network.modules():  # what `weight_norm` computes is no leaf, of which torch copies no other
        for value in vars(module).values():
            if isinstance(value, Tensor) and not value.is_leaf:
                tensors[id(value)] = value.detach()
    return copy.deepcopy(network, tensors).eval()
