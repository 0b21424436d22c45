"""What the kernel tests share: tolerances, relative error, memory filled with NaN, the worker's entry point."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

TOLERANCE = {  # of the largest error relative to the largest reference value
    torch.float32: 1e-5,  # some ten roundings of 6e-8, and room for sums of a thousand terms
    torch.float16: 2e-3,  # one rounding of the input's weight and one of the output: 5e-4 each
    torch.bfloat16: 1e-2,  # the same: 4e-3 each
}
DTYPES = list(TOLERANCE)
Measure = Callable[[Any, torch.dtype, str], float]


def name(value: object) -> str | None:
    """Readable ids: types without `torch.`, cases by their fields."""
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    return str(value) if hasattr(value, "__dataclass_fields__") else None


def random(shape: tuple[int, ...], dtype: torch.dtype, device: str, seed: int, mean: float = 0.0) -> Tensor:
    """Normally distributed values, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator) + mean).to(device, dtype)


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest reference value; infinite where a value is missing or not finite."""
    if found.shape != expected.shape or not found.isfinite().all():
        return float("inf")
    difference = (found.double() - expected.double()).abs().max()
    return float(difference / expected.abs().max())


@contextlib.contextmanager
def memory_full_of_nan() -> Iterator[None]:
    """torch.empty gives NaN, so that a cell no kernel writes shows."""
    empty = torch.empty

    def filled(*arguments: Any, **options: Any) -> Tensor:
        made = empty(*arguments, **options)
        return made.fill_(float("nan")) if made.is_floating_point() else made

    with patch("torch.empty", filled):
        yield


def measured(measure: Measure, case: Any, dtype: torch.dtype, device: str) -> float:
    """The error of one case, its output memory filled with NaN beforehand."""
    with memory_full_of_nan():
        return measure(case, dtype, device)


def hold(error: float, dtype: torch.dtype) -> None:
    """Log the error and compare it with the type's tolerance."""
    logging.getLogger(__name__).info("relative error %.2e, tolerance %.0e", error, TOLERANCE[dtype])
    assert error <= TOLERANCE[dtype]
