"""Kolmogorov-Arnold layer: shapes to try, and the error of one of them."""

from dataclasses import dataclass

import torch

from kernels.harness import random, relative_error
from mmcaf_kernels.kan import kan
from mmcaf_kernels.kan.reference import kan as reference
from mmcaf_kernels.launch import path


@dataclass(frozen=True)
class Case:
    samples: int
    inputs: int
    outputs: int
    knots: str = "even"  # or "uneven", or "repeated"
    intervals: int = 5

    def __str__(self) -> str:
        return f"{self.samples}x{self.inputs}-{self.outputs}-{self.intervals}-{self.knots}"


CASES = [
    Case(1, 7, 24),
    Case(3, 7, 24, knots="uneven"),
    Case(63, 1, 1, knots="uneven", intervals=1),
    Case(17, 3, 100, knots="repeated"),
    Case(100, 2, 3, intervals=20),
]
LARGE = [Case(10_000, 63, 100, knots="uneven")]


def layer(case: Case, device: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Knots, base and coefficients."""
    even = (torch.arange(-3, case.intervals + 4) * (2 / case.intervals) - 1).repeat(case.inputs, 1)
    if case.knots == "uneven":
        even = even + random(even.shape, torch.float32, "cpu", seed=9).mul(0.3 / case.intervals)
        even = even.sort(dim=1).values
    if case.knots == "repeated":
        even[:, 4] = even[:, 5]
        even[:, :4] = even[:, :1]
    base = random((case.inputs, case.outputs), torch.float32, device, seed=2)
    coefficients = random((case.inputs, case.outputs, case.intervals + 3), torch.float32, device, seed=3)
    return even.to(device), base, coefficients


def points(case: Case, dtype: torch.dtype, device: str) -> torch.Tensor:
    """Inside the knots, outside them, and on one."""
    x = 1.5 * random((case.samples, case.inputs), dtype, device, seed=1)
    x[-1] = layer(case, device)[0][:, 3].to(dtype)
    return x


def measure(case: Case, dtype: torch.dtype, device: str) -> float:
    x = points(case, dtype, device)
    assert path(x).runs_kernel, path(x).reason
    return relative_error(kan(x, *layer(case, device)), reference(x.double(), *layer(case, device)))
