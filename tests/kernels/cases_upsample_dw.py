"""Upsampling with depthwise convolution: shapes to try, and the error of one of them."""

from dataclasses import dataclass

import torch

from kernels.harness import random, relative_error
from mmcaf_kernels.launch import path
from mmcaf_kernels.upsample_dw import upsample_dw
from mmcaf_kernels.upsample_dw.reference import upsample_dw as reference


@dataclass(frozen=True)
class Case:
    shape: tuple[int, int, int, int, int]

    def __str__(self) -> str:
        return "x".join(map(str, self.shape))


CASES = [
    Case((1, 1, 1, 1, 1)),
    Case((2, 3, 1, 2, 3)),
    Case((1, 2, 3, 5, 4)),
    Case((1, 1, 7, 3, 9)),
    Case((1, 1, 1, 1, 63)),
    Case((1, 1, 2, 100, 1)),
]
LARGE = [Case((1, 512, 3, 24, 24)), Case((2, 1024, 2, 12, 12)), Case((1, 3, 63, 100, 100))]


def measure(case: Case, dtype: torch.dtype, device: str) -> float:
    channels = case.shape[1]
    x = random(case.shape, dtype, device, seed=1)
    taps = random((channels, 27), torch.float32, device, seed=2)
    bias = random((channels,), torch.float32, device, seed=3, mean=2.0)
    assert path(x).runs_kernel, path(x).reason
    return relative_error(upsample_dw(x, taps, bias), reference(x.double(), taps, bias))
