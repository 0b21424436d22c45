"""MSDC: shapes to try, and the error of one of them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.harness import random, relative_error
from mmcaf_kernels.launch import path
from mmcaf_kernels.msdc import even_then_odd, msdc
from mmcaf_kernels.msdc.reference import TAPS
from mmcaf_kernels.msdc.reference import msdc as reference


@dataclass(frozen=True)
class Case:
    shape: tuple[int, int, int, int, int]
    shuffled: bool = False

    def __str__(self) -> str:
        return "x".join(map(str, self.shape)) + ("-shuffled" if self.shuffled else "")


CASES = [
    Case((1, 1, 1, 1, 1)),
    Case((1, 2, 3, 5, 7)),
    Case((2, 4, 2, 3, 3), shuffled=True),
    Case((1, 1, 1, 1, 63)),
    Case((2, 2, 1, 100, 1), shuffled=True),
    Case((1, 1, 6, 9, 11)),
    Case((1, 2, 10, 3, 5), shuffled=True),  # deeper than one program's stack
]
LARGE = [Case((1, 512, 6, 48, 48), shuffled=True), Case((2, 2048, 2, 12, 12)), Case((1, 3, 63, 100, 100))]


def arguments(case: Case, dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    channels = case.shape[1]
    x = random(case.shape, dtype, device, seed=1)
    taps = 0.3 * random((channels, TAPS), torch.float32, device, seed=2)
    bias = random((channels, 3), torch.float32, device, seed=3)
    return x, taps, bias, even_then_odd(channels).to(device) if case.shuffled else None


def measure(case: Case, dtype: torch.dtype, device: str) -> float:
    x, taps, bias, order = arguments(case, dtype, device)
    assert path(x).runs_kernel, path(x).reason
    expected = reference(x.double(), taps, bias, order)
    assert (expected > 0).any() and (expected < 18).any()
    return relative_error(msdc(x, taps, bias, order), expected)
