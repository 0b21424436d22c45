"""What one run of a network costs, counted on shapes alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from .copies import run_on_shapes

FLOPS = 120e9  # a second
BYTES = 10e9  # a second
"""Two cores with AVX-512 in FP32: convolutions, and passes over maps. Only their ratio decides."""
LANES = 16
"""Channels from which on runtimes hold a convolution's result with the channels innermost."""
OPERATOR = 2e-6
"""Seconds that an operator takes beside its work."""
REGROUPED, REGROUPED_IN_CACHE, CACHE = 10, 2, 1 << 18
"""A map written into another order of its axes takes as long as so many passes over it; fewer up to so many bytes."""

_MOVES = {"view", "_unsafe_view", "expand", "transpose", "permute", "slice", "select", "unsqueeze", "squeeze", "t"}
_MOVES |= {"detach", "alias", "split", "unbind", "cat", "stack", "clone", "copy", "_to_copy", "constant_pad_nd"}
_MOVES |= {"split_with_sizes", "empty", "arange", "zeros", "ones", "full", "scalar_tensor"}
_WRITES = {"cat", "stack", "clone", "copy", "_to_copy", "constant_pad_nd"}
_OTHER_ORDER = {"view", "_unsafe_view", "transpose", "permute", "t", "expand"}


@dataclass(frozen=True)
class Cost:
    """Cost of one run.

    flops: 2 per multiply-add of a convolution, matrix product or interpolation, 1 per element of
    anything else that computes; padding counts as if it were multiplied.
    parameters: elements of weights and stored statistics.
    moved: bytes read and written. What works element by element reads nothing where it comes right behind what made
    its operand, as runtimes fuse the two. operators: how many compute. Both are estimates, and no part of what makes
    two costs equal.
    """

    flops: int
    parameters: int
    moved: int = field(default=0, compare=False)
    operators: int = field(default=0, compare=False)

    @property
    def seconds(self) -> float:
        """An estimate that two forms of the same computation can be compared by."""
        return self.flops / FLOPS + self.moved / BYTES + self.operators * OPERATOR


def measure(network: nn.Module, inputs: Mapping[str, Tensor], *, inner: bool = False) -> Cost:
    """The cost of one run on inputs of these shapes; nothing is computed, unless the network needs values on the way.

    Args:
        inner: the inputs are held with the channels innermost.
    """

    def run(bare: nn.Module, given: tuple[Tensor, ...]) -> Cost:
        counter = _Counter(given if inner else ())
        with counter:
            bare(*given)
        tensors = (*bare.parameters(), *bare.buffers())
        parameters = sum(tensor.numel() for tensor in tensors if tensor.ndim)
        return Cost(counter.flops, parameters, counter.moved, counter.operators)

    return run_on_shapes(network, inputs, run)


class Inner:
    """The maps that runtimes hold with the channels innermost: convolutions' results, and what is made of them."""

    def __init__(self, known: tuple[Tensor, ...] = ()) -> None:
        self._known = WeakIdKeyDictionary(dict.fromkeys(known, True))

    def __contains__(self, tensor: Tensor) -> bool:
        return tensor in self._known

    def follow(self, name: str, read: list[Tensor], result: Any) -> None:
        """An operator of this name made `result`."""
        made = next(iter(tensors_of((result,), None)), None)
        if made is None or made.ndim < 4 or name in _OTHER_ORDER:
            return
        if name == "convolution":
            inner = made.shape[1] >= LANES
        else:
            inner = any(tensor in self._known for tensor in read if tensor.ndim == made.ndim)
        if inner:
            self._known[made] = True


class _Counter(TorchDispatchMode):
    """Adds up the arithmetic of every operator under it, and the bytes that it moves."""

    def __init__(self, inner: tuple[Tensor, ...]) -> None:
        super().__init__()
        self.flops = self.moved = self.operators = 0
        self._inner = Inner(inner)
        self._last: Tensor | None = None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        read = [value for value in args if isinstance(value, Tensor)]
        listed = tensors_of(args, kwargs)
        written = result[0] if isinstance(result, tuple) else result
        if name not in _MOVES:
            self.flops += PRODUCTS.get(name, _elements)(read, written)
            self.operators += 1
        if isinstance(written, Tensor) and (name not in _MOVES or name in _WRITES):
            self._move(name, listed, written)
        self._inner.follow(name, listed, result)
        return result

    def _move(self, name: str, read: list[Tensor], written: Tensor) -> None:
        passes = sum(map(_bytes, read)) + _bytes(written)
        if name == "native_group_norm":
            # Statistics, then the norm; and in channels' order before it and out of it again.
            size = _bytes(written)
            regrouped = REGROUPED if size > CACHE else REGROUPED_IN_CACHE
            passes += size + (2 * regrouped * size if read[0] in self._inner else 0)
        elif name not in PRODUCTS and self._last is not None and any(one is self._last for one in read):
            if written.numel() == self._last.numel():
                passes -= 2 * _bytes(self._last)  # neither written there nor read here
            elif written.numel() > self._last.numel():
                passes -= _bytes(self._last)
        self.moved += passes
        self._last = written


def tensors_of(args: tuple[Any, ...], kwargs: Mapping[str, Any] | None) -> list[Tensor]:
    """An operator's tensors, also those in lists."""
    found = []
    for value in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += [one for one in value if isinstance(one, Tensor)]
    return found


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _convolution(read: list[Tensor], written: Tensor) -> int:
    weight = read[1]
    return 2 * written.numel() * (weight.numel() // weight.shape[0])


def _product(read: list[Tensor], written: Tensor) -> int:
    return 2 * written.numel() * read[-1].shape[-2]


def _trilinear(read: list[Tensor], written: Tensor) -> int:
    changed = sum(before != after for before, after in zip(read[0].shape[2:], written.shape[2:], strict=True))
    return 2 * written.numel() * 2**changed


def _elements(read: list[Tensor], written: Tensor) -> int:
    return max((tensor.numel() for tensor in (*read, written) if isinstance(tensor, Tensor)), default=0)


PRODUCTS: dict[str, Callable[[list[Tensor], Tensor], int]] = {
    "convolution": _convolution,
    "mm": _product,
    "addmm": _product,
    "bmm": _product,
    "upsample_trilinear3d": _trilinear,
}
"""Operator -> its cost, from the tensors that it reads, in order, and the first that it writes."""
