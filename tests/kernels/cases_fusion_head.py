"""Fusion head: shapes to try, and the error of one of them."""

from dataclasses import dataclass

import torch

from kernels.harness import random, relative_error
from mmcaf_kernels.fusion_head import fusion_head
from mmcaf_kernels.fusion_head.reference import Fusion, parameter_count
from mmcaf_kernels.fusion_head.reference import fusion_head as reference
from mmcaf_kernels.launch import path


@dataclass(frozen=True)
class Case:
    samples: int
    width: int
    fusion: Fusion

    def __str__(self) -> str:
        return f"{self.samples}x{self.width}-{self.fusion}"


CASES = [
    Case(1, 24, "tokens"),
    Case(3, 24, "mean"),
    Case(2, 4, "tokens"),
    Case(1, 100, "mean"),
    Case(1, 100, "tokens"),
]
LARGE = [Case(1000, 24, "tokens"), Case(63, 128, "mean")]


def measure(case: Case, dtype: torch.dtype, device: str) -> float:
    image, table = (random((case.samples, case.width), dtype, device, seed) for seed in (1, 2))
    count = parameter_count(case.width, case.fusion)
    parameters = random((count,), torch.float32, device, seed=3) / case.width**0.5
    assert path(image).runs_kernel, path(image).reason
    expected = reference(image.double(), table.double(), parameters, case.fusion)
    return relative_error(fusion_head(image, table, parameters, case.fusion), expected)
