"""Bidirectional cross-attention: shapes to try, and the error of one of them."""

from dataclasses import dataclass
from unittest.mock import patch

import torch

from kernels.harness import random, relative_error
from mmcaf_kernels.cross_attention import cross_attention, plan
from mmcaf_kernels.cross_attention.reference import cross_attention as reference
from mmcaf_kernels.launch import path


@dataclass(frozen=True)
class Case:
    batch: int
    heads: int
    n: int
    m: int
    d: int
    masked: bool = False
    tiled: bool = False
    shared: bool = False
    """Queries, keys and values of a side are one tensor, as in CMASG-Bi-LSTM."""

    def __str__(self) -> str:
        flags = "-masked" * self.masked + "-tiled" * self.tiled + "-shared" * self.shared
        return f"{self.batch}x{self.heads}-{self.n}+{self.m}-{self.d}{flags}"


CASES = [
    Case(1, 1, 1, 1, 24),
    Case(2, 3, 63, 7, 6, masked=True),
    Case(2, 1, 3, 100, 128, masked=True),  # the image is the short side
    Case(1, 2, 63, 100, 12),
    Case(2, 2, 33, 3, 1, masked=True, tiled=True),
    Case(1, 1, 18, 9, 512, shared=True),
    Case(2, 1, 17, 33, 130, masked=True, shared=True),
    Case(2, 2, 5, 18, 200, masked=True),
]
LARGE = [
    Case(2, 8, 1000, 15, 128, masked=True),
    Case(2, 8, 31, 1000, 32),
    Case(1, 4, 1000, 777, 128, masked=True),
    Case(1, 4, 512, 63, 63),
    Case(1, 1, 49, 128, 512, shared=True),
    Case(3, 1, 49, 32, 512, masked=True, shared=True),
    Case(2, 2, 777, 1000, 384, masked=True),
]


def inputs(case: Case, dtype: torch.dtype, device: str) -> list[torch.Tensor]:
    lengths = [case.n] * 3 + [case.m] * 3
    six = [random((case.batch, case.heads, length, case.d), dtype, device, seed) for seed, length in enumerate(lengths)]
    return [six[0]] * 3 + [six[3]] * 3 if case.shared else six


def masks(case: Case, device: str) -> dict[str, torch.Tensor]:
    """Random masks; in the last sample the whole image is hidden, in the first the table's last token."""
    if not case.masked:
        return {}
    image, table = (random((case.batch, length), torch.float32, "cpu", seed=7) > -0.5 for length in (case.n, case.m))
    image[-1], table[0, -1], table[0, 0] = False, False, True
    return {"image_mask": image.to(device), "table_mask": table.to(device)}


def measure(case: Case, dtype: torch.dtype, device: str) -> float:
    six = inputs(case, dtype, device)
    hidden = masks(case, device)
    if case.masked and not case.shared:  # what is hidden must not be looked at
        six[1][-1], six[2][-1] = float("nan"), float("inf")
    assert path(six[0]).runs_kernel, path(six[0]).reason
    with patch.object(plan, "FEW_TOKENS", 0 if case.tiled else plan.FEW_TOKENS):
        found = cross_attention(*six, **hidden)
    expected = reference(*(part.double() for part in six), **hidden)
    if case.masked:
        assert not found[1][-1].any()
        assert not expected[1][-1].any()
    return max(relative_error(a, b) for a, b in zip(found, expected, strict=True))
