"""A kernel launch as a value: run now on tensors, or compiled ahead of time from meta tensors."""

import importlib.util
import os
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

OPTIONS = {"enable_fp_fusion": True, "num_stages": 1}
"""Compiler options of every kernel, the same whether compiled ahead of time or when first called."""
LARGEST_GRID = 2**31 - 1
"""Programs of one launch (CUDA C++ Programming Guide, technical specifications)."""
OLDEST = (7, 5)
"""Compute capability from which the kernels are compiled and tested."""


class Path(NamedTuple):
    """How a call will be computed ("triton", "interpreter" or "reference"), and why."""

    name: str
    reason: str

    @property
    def runs_kernel(self) -> bool:
        return self.name != "reference"


def path(x: Tensor) -> Path:
    """Say how the kernels of this package treat tensors like `x` on this machine."""
    if importlib.util.find_spec("triton") is None:
        return Path("reference", "Triton is not installed")
    if x.device.type == "cuda":
        found = torch.cuda.get_device_capability(x.device)
        if found < OLDEST:
            needed = ".".join(map(str, OLDEST))
            return Path("reference", f"{x.device} has compute capability {found[0]}.{found[1]}; {needed} is needed")
        return Path("triton", f"the tensor is on {x.device}, of compute capability {found[0]}.{found[1]}")
    if x.device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1":
        return Path("interpreter", "the tensor is on the CPU and TRITON_INTERPRET=1")
    return Path("reference", f"the tensor is on {x.device}; the kernels need a CUDA device (or TRITON_INTERPRET=1)")


@dataclass(frozen=True)
class Launch:
    """One kernel with everything it is called with.

    `arguments` are passed at run time (tensors, numbers, None for an absent tensor); `constants`
    are compiled in; `warps` is the number of warps per program. More programs than LARGEST_GRID are a ValueError.
    """

    kernel: Any
    grid: tuple[int, ...]
    arguments: dict[str, Any]
    constants: dict[str, Any]
    warps: int = 4

    def __post_init__(self) -> None:
        if self.grid[0] > LARGEST_GRID:
            raise ValueError(
                f"{self.kernel.__name__}: {self.grid[0]} programs are needed; expected at most {LARGEST_GRID} (pass "
                "fewer samples at a time)"
            )


def run(launches: Iterable[Launch], x: Tensor) -> None:
    """Start the launches in order on the device of `x`."""
    with torch.cuda.device(x.device) if x.device.type == "cuda" else nullcontext():
        for launch in launches:
            launch.kernel[launch.grid](**launch.arguments, **launch.constants, num_warps=launch.warps, **OPTIONS)


def new(x: Tensor, shape: Sequence[int], dtype: torch.dtype | None = None) -> Tensor:
    """Memory on the device of `x` for a kernel to fill; every output and scratch buffer comes from here."""
    return torch.empty(tuple(shape), dtype=dtype or x.dtype, device=x.device)


def ceil_div(length: int, step: int) -> int:
    """How many steps cover the length."""
    return -(-length // step)


def power_of_two(length: int, least: int = 1, most: int = 2**20) -> int:
    """The smallest power of two that covers the length, within bounds that are powers of two."""
    return min(max(least, 1 << max(0, length - 1).bit_length()), most)


def float32_unless_double(x: Tensor) -> Tensor:
    """What a reference computes in: float64 stays, everything else becomes float32."""
    return x if x.dtype == torch.float64 else x.float()
