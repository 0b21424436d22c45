"""Parts of a tensor by their places in memory, which gradients of writing in place read and write."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

_aten = torch.ops.aten


def strided() -> dict[Any, Callable[..., Any]]:
    """Operator -> the function that is traced in its place, in a graph where nothing is written in place any more."""
    return {_aten.as_strided.default: _read, _aten.as_strided_scatter.default: _written}


def _read(given: Tensor, size: Sequence[int], stride: Sequence[int], offset: int | None = None) -> Tensor:
    return _in_order(given).index_select(0, _places(size, stride, offset)).reshape(tuple(size))


def _written(
    given: Tensor, part: Tensor, size: Sequence[int], stride: Sequence[int], offset: int | None = None
) -> Tensor:
    places = _places(size, stride, offset)
    return _in_order(given).scatter(0, places, part.reshape(-1)).reshape(given.shape)


def _in_order(given: Tensor) -> Tensor:
    """The values as they lie in memory."""
    if not given.is_contiguous():
        raise NotImplementedError("the gradient of writing in place into a tensor whose axes lie in another order")
    return given.reshape(-1)


def _places(size: Sequence[int], stride: Sequence[int], offset: int | None) -> Tensor:
    """Of each element of the part, in its order, as a constant: int64 [elements]."""
    places = np.full((), offset or 0, np.int64)
    for count, step in zip(size, stride, strict=True):
        places = places[..., None] + np.arange(count, dtype=np.int64) * step
    with _disable_current_modes():
        return torch.from_numpy(places.reshape(-1))
