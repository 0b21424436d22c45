"""What one run of a network costs, counted on shapes alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from .copies import meta_copy

_MOVES = {"view", "_unsafe_view", "expand", "transpose", "permute", "slice", "select", "unsqueeze", "squeeze", "t"}
_MOVES |= {"detach", "alias", "split", "unbind", "cat", "stack", "clone", "copy", "_to_copy", "constant_pad_nd"}
_MOVES |= {"split_with_sizes", "empty", "arange", "zeros", "ones", "full", "scalar_tensor"}


@dataclass(frozen=True)
class Cost:
    """Cost of one run.

    flops: 2 per multiply-add of a convolution, matrix product or interpolation, 1 per element of
    anything else that computes; padding counts as if it were multiplied.
    parameters: elements of weights and stored statistics.
    """

    flops: int
    parameters: int


def measure(network: nn.Module, inputs: Mapping[str, Tensor]) -> Cost:
    """The cost of one run on inputs of these shapes; nothing is computed."""
    # In inference mode composite operators would arrive whole instead of as the products they are made of.
    with torch.inference_mode(False), torch.no_grad():
        bare = meta_copy(network)
        sizes = [torch.empty(tensor.shape, dtype=tensor.dtype, device="meta") for tensor in inputs.values()]
        counter = _Counter()
        with counter:
            bare(*sizes)
    tensors = (*bare.parameters(), *bare.buffers())
    return Cost(counter.flops, sum(tensor.numel() for tensor in tensors if tensor.ndim))


class _Counter(TorchDispatchMode):
    """Adds up the arithmetic of every operator under it."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name not in _MOVES:
            read = [value for value in args if isinstance(value, Tensor)]
            written = result[0] if isinstance(result, tuple) else result
            self.flops += PRODUCTS.get(name, _elements)(read, written)
        return result


def _convolution(read: list[Tensor], written: Tensor) -> int:
    weight = read[1]
    return 2 * written.numel() * (weight.numel() // weight.shape[0])


def _product(read: list[Tensor], written: Tensor) -> int:
    return 2 * written.numel() * read[-1].shape[-2]


def _trilinear(read: list[Tensor], written: Tensor) -> int:
    changed = sum(before != after for before, after in zip(read[0].shape[2:], written.shape[2:], strict=True))
    return 2 * written.numel() * 2**changed


def _elements(read: list[Tensor], written: Tensor) -> int:
    return max(tensor.numel() for tensor in (*read, written))


PRODUCTS: dict[str, Callable[[list[Tensor], Tensor], int]] = {
    "convolution": _convolution,
    "mm": _product,
    "addmm": _product,
    "bmm": _product,
    "upsample_trilinear3d": _trilinear,
}
"""Operator -> its cost, from the tensors that it reads, in order, and the first that it writes."""
