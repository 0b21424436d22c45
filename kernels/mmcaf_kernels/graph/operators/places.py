"""Operators that read or write at places that an index gives, and running sums."""

import torch
from torch import Tensor

from .registry import Arguments, Function, operation


@operation("Tile", settings=1)
def _tile(given: Arguments) -> Function:
    repeats = given.numbers(1) or []
    return lambda x: x.tile(repeats)


@operation("CumSum", settings=1)
def _cumsum(given: Arguments) -> Function:
    given.expect("exclusive", 0)
    given.expect("reverse", 0)
    axis = (given.numbers(1) or [0])[0]
    return lambda x: torch.cumsum(x, axis)


@operation("GatherElements")
def _gather_elements(given: Arguments) -> Function:
    axis = given("axis", 0)
    return lambda x, index: torch.gather(x, axis, _from_start(index, x.shape[axis]))


@operation("ScatterElements")
def _scatter_elements(given: Arguments) -> Function:
    given.expect("reduction", "none", "add")
    axis, adds = given("axis", 0), given("reduction", "none") == "add"

    def write(x: Tensor, index: Tensor, values: Tensor) -> Tensor:
        index = _from_start(index, x.shape[axis])
        return x.scatter_add(axis, index, values) if adds else x.scatter(axis, index, values)

    return write


def _from_start(index: Tensor, size: int) -> Tensor:
    """An index of ONNX, which may count from the end."""
    return torch.where(index < 0, index + size, index)
