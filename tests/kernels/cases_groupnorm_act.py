"""Group norm with activation: shapes to try, and the error of one of them."""

from dataclasses import dataclass, replace
from unittest.mock import patch

import torch
from torch import Tensor

from kernels.harness import random, relative_error
from mmcaf_kernels.groupnorm_act import groupnorm_act, operator
from mmcaf_kernels.groupnorm_act.reference import groupnorm_act as reference
from mmcaf_kernels.launch import path


@dataclass(frozen=True)
class Case:
    shape: tuple[int, int, int, int, int]
    groups: int
    slope: float | None = 0.01
    gated: bool = False
    residual: bool = False
    mean: float = 0.0
    passes: int = (
        0  # 1: whole groups in registers, 2: statistics of many parts first, 3: of one, 0: as the launcher likes
    )

    def __str__(self) -> str:
        words = "x".join(map(str, self.shape)), f"{self.groups}g", f"slope={self.slope}", f"mean={self.mean}"
        flags = ("gated",) * self.gated + ("residual",) * self.residual
        return "-".join((*words, *flags, f"passes={self.passes}"))


_PLAIN = Case((2, 6, 3, 5, 7), 3)
CASES = [
    replace(_PLAIN, passes=1),
    replace(_PLAIN, passes=2, slope=None),
    replace(_PLAIN, passes=1, residual=True, slope=0.2),
    replace(_PLAIN, gated=True, residual=True),
    replace(_PLAIN, passes=1, mean=30000.0),
    replace(_PLAIN, passes=2, mean=30000.0),
    Case((1, 1, 1, 1, 3), 1),
    Case((1, 3, 1, 63, 100), 1, passes=2),  # several parts to merge
    Case((1, 3, 1, 63, 100), 1, passes=3),  # several runs in a part
    Case((1, 100, 1, 1, 63), 1, gated=True),
    Case((1, 17, 1, 3, 1), 17, gated=True, slope=None),
]
LARGE = [
    Case((1, 128, 6, 48, 48), 8),
    Case((2, 1024, 2, 12, 12), 64, gated=True, residual=True),
    Case((1, 64, 12, 96, 96), 4, mean=100.0),
]


def layers(channels: int, hidden: int, device: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    shapes = (hidden, channels), (hidden,), (channels, hidden), (channels,)
    return tuple(random(shape, torch.float32, device, seed) for seed, shape in enumerate(shapes))  # type: ignore[return-value]


def measure(case: Case, dtype: torch.dtype, device: str) -> float:
    channels = case.shape[1]
    x = random(case.shape, torch.float32, device, seed=1, mean=case.mean)
    x += torch.linspace(-2, 2, x.numel(), device=device).reshape(x.shape)  # parts, channels and groups differ
    x = x.to(dtype)
    weight, bias = (random((channels,), torch.float32, device, seed, mean=0.5) for seed in (2, 3))
    options = {
        "slope": case.slope,
        "gate": layers(channels, max(1, channels // 16) + 2, device) if case.gated else None,
        "residual": random(case.shape, dtype, device, seed=4) if case.residual else None,
    }
    assert path(x).runs_kernel, path(x).reason
    expected = reference(x.double(), case.groups, weight, bias, **options)
    largest = 0 if case.passes >= 2 else operator.LARGEST_GROUP
    part, most = {2: (1000, 3), 3: (1000, 1)}.get(case.passes, (operator.PART, operator.MOST_PARTS))
    with (
        patch.object(operator, "LARGEST_GROUP", largest),
        patch.object(operator, "PART", part),
        patch.object(operator, "MOST_PARTS", most),
    ):
        return relative_error(groupnorm_act(x, case.groups, weight, bias, **options), expected)
