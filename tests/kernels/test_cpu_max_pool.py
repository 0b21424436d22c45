"""The processor's pooling kernel, on every level of instructions, against torch."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from kernels.cpu_maps import BF16, F32, I8, as_stored, each_level, read, spread
from mmcaf_kernels.cpu.kernel import Stored
from mmcaf_kernels.cpu.library import missing
from mmcaf_kernels.cpu.max_pool import MaxPool

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"no processor kernels here: {missing()}")
Three = tuple[int, int, int]
KINDS: list[tuple[Three, Three, Three]] = [
    ((3, 3, 3), (2, 2, 2), (1, 1, 1)),
    ((1, 3, 3), (1, 2, 2), (0, 1, 1)),
    ((2, 2, 2), (2, 2, 2), (0, 0, 0)),
    ((1, 1, 1), (1, 1, 1), (0, 0, 0)),
]


def values(shape: tuple[int, ...], stored: Stored) -> Any:
    return as_stored(np.random.default_rng(sum(shape)).normal(-3, 2, shape).astype(np.float32), stored)


def exact(x: NDArray[np.float64], kernel: Three, strides: Three, pads: Three) -> NDArray[np.float64]:
    moved = torch.from_numpy(np.moveaxis(x, -1, 1).copy())
    return np.moveaxis(F.max_pool3d(moved, kernel, strides, pads).numpy(), 1, -1)


@pytest.mark.parametrize("stored", [F32, BF16, I8], ids=lambda stored: stored.type)
@pytest.mark.parametrize(("kernel", "strides", "pads"), KINDS, ids=str)
@pytest.mark.parametrize("shape", [(2, 2, 3, 5, 7), (1, 4, 63, 4, 16), (1, 3, 2, 100, 35)], ids=str)
def test_exact(shape: tuple[int, ...], kernel: Three, strides: Three, pads: Three, stored: Stored) -> None:
    x = values(shape, stored)
    right = exact(read(x, stored), kernel, strides, pads)
    for level in each_level():
        pool = MaxPool(shape, kernel, strides, (*pads, *pads), x=stored)
        for threads in (1, 2):
            found = pool(x, threads, out=spread(pool.out_shape, stored))
            np.testing.assert_array_equal(read(found, stored), right, level)


@pytest.mark.parametrize("channels", [5, 16])
def test_what_is_not_finite_is_not_hidden(channels: int) -> None:
    x = values((1, 1, 7, 7, channels), F32)
    x[0, 0, 3, 3, 2] = np.nan
    for level in each_level():
        found = MaxPool(x.shape, (1, 3, 3), (1, 1, 1), (0, 1, 1, 0, 1, 1))(x)
        assert np.isnan(found[0, 0, 2:5, 2:5, 2]).all(), level
        assert np.isnan(found).sum() == 9, level


def test_windows_may_be_padded_on_one_side() -> None:
    x = values((1, 4, 4, 4, 16), F32)
    for level in each_level():
        found = MaxPool(x.shape, (2, 2, 2), (1, 1, 1), (0, 0, 0, 1, 1, 1))(x)
        np.testing.assert_array_equal(found[:, -1, -1, -1], x[:, -1, -1, -1], level)
        np.testing.assert_array_equal(found[:, :-1, :-1, :-1], exact(x, (2, 2, 2), (1, 1, 1), (0, 0, 0)), level)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kernel": (3, 3)}, "3, 3 and 6 are expected"),
        ({"strides": (0, 1, 1)}, "positive"),
        ({"pads": (3, 0, 0, 0, 0, 0)}, "less than the kernel"),
        ({"pads": (0, -1, 0, 0, 0, 0)}, "not negative"),
        ({"kernel": (9, 1, 1)}, "larger than the padded map"),
        ({"shape": (0, 4, 4, 4, 16)}, "no values"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_misuse_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        MaxPool(**{"shape": (1, 4, 4, 4, 16), "kernel": (3, 3, 3), "strides": (1, 1, 1), **change})
