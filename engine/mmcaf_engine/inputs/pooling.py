"""Resizing of volumes by adaptive average pooling, as PyTorch's AdaptiveAvgPool and MONAI's mode "area" do it."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray


def pool_area(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Resize the last axes of an array to `shape`.

    Along an axis of N, output i of n is the plain mean of N's elements floor(i * N / n) to ceil((i + 1) * N / n) - 1;
    no filter goes before. A block of elements is averaged axis by axis, which is the mean of the block. Sums are made
    in float64, in a fixed order: the same input gives the same bits on every machine.

    Args:
        values: [..., N1, N2 ...], finite.
        shape: n1, n2 ..., each at least 1.

    Returns:
        float32 [..., n1, n2 ...]; never `values` itself.
    """
    pooled = values
    for axis, target in zip(range(values.ndim - len(shape), values.ndim), shape, strict=True):
        pooled = _pooled(pooled, axis, target)
    return pooled.astype(np.float32)


def _pooled(values: NDArray[Any], axis: int, target: int) -> NDArray[Any]:
    source = values.shape[axis]
    if source == target:
        return values
    starts, counts = _bins(source, target)
    column = (-1,) + (1,) * (values.ndim - axis - 1)
    total = np.zeros((*values.shape[:axis], target, *values.shape[axis + 1 :]), np.float64)
    for tap in range(int(counts.max())):
        inside = tap < counts
        taken = np.take(values, np.minimum(starts + tap, source - 1), axis=axis)
        np.add(total, taken, out=total, where=inside.reshape(column))
    total /= counts.reshape(column)
    return total


@lru_cache(maxsize=16)
def _bins(source: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The first element [target] of each bin, and how many it holds."""
    index = np.arange(target)
    starts = index * source // target
    return starts, -(-(index + 1) * source // target) - starts
