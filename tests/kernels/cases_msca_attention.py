"""Channel and spatial attention: shapes to try, and the error of one of them."""

from dataclasses import dataclass

import torch

from kernels.harness import random, relative_error
from mmcaf_kernels.launch import path
from mmcaf_kernels.msca_attention import msca_attention
from mmcaf_kernels.msca_attention.reference import msca_attention as reference


@dataclass(frozen=True)
class Case:
    shape: tuple[int, int, int, int, int]
    hidden: int = 1

    def __str__(self) -> str:
        return "x".join(map(str, self.shape)) + f"-{self.hidden}"


CASES = [
    Case((1, 1, 1, 1, 1)),
    Case((2, 3, 2, 5, 7)),
    Case((1, 100, 3, 3, 1), hidden=6),
    Case((1, 2, 1, 63, 1)),
    Case((1, 2, 9, 2, 5)),  # more positions than one run holds
]
LARGE = [Case((1, 256, 6, 48, 48), hidden=16), Case((2, 1024, 2, 12, 12), hidden=64)]


def measure(case: Case, dtype: torch.dtype, device: str) -> float:
    channels = case.shape[1]
    x = random(case.shape, dtype, device, seed=1)
    narrow, widen, spatial = weights(channels, case.hidden, device)
    assert path(x).runs_kernel, path(x).reason
    return relative_error(msca_attention(x, narrow, widen, spatial), reference(x.double(), narrow, widen, spatial))


def weights(channels: int, hidden: int, device: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    narrow = random((hidden, channels), torch.float32, device, seed=2) / channels**0.5
    widen = random((channels, hidden), torch.float32, device, seed=3)
    return narrow, widen, 0.2 * random((2, 7, 7, 7), torch.float32, device, seed=4)
