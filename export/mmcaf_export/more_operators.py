"""Operators that PyTorch's exporter cannot write as ONNX: some adaptive pools, and running products.

Cell i of n over an axis of N values is floor(i * N / n) to ceil((i + 1) * N / n), so that the cells of several axes are
products of theirs, and a mean or maximum may be taken axis by axis.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from onnxscript import opset20 as op

from .onnx_operators import TRANSLATIONS

_Reduce = Callable[..., Any]


def _cells(size: int, count: int) -> list[tuple[int, int]]:
    return [(at * size // count, -(-(at + 1) * size // count)) for at in range(count)]


def _pooled(given: Any, counts: Sequence[int], whole: Callable[..., Any], reduce: _Reduce) -> Any:
    """[N, C, *sizes] -> [N, C, *counts].

    Args:
        whole: ONNX's pool over equal windows. reduce: its reduction along an axis.
    """
    axes = len(counts)
    sizes = [int(size) for size in given.shape[-axes:]]
    if all(size % count == 0 for size, count in zip(sizes, counts, strict=True)):
        steps = [size // count for size, count in zip(sizes, counts, strict=True)]
        return given if set(steps) == {1} else whole(given, kernel_shape=steps, strides=steps)
    for at, (size, count) in enumerate(zip(sizes, counts, strict=True)):
        if size == count:
            continue
        axis = _numbers(at - axes)
        parts = [
            reduce(op.Slice(given, _numbers(start), _numbers(end), axis), axis, keepdims=1)
            for start, end in _cells(size, count)
        ]
        given = op.Concat(*parts, axis=at - axes) if len(parts) > 1 else parts[0]
    return given


def _numbers(value: int) -> Any:
    return op.Constant(value_ints=[value])


def _means(given: Any, output_size: Sequence[int]) -> Any:
    return _pooled(given, output_size, op.AveragePool, op.ReduceMean)


def _maxima(given: Any, output_size: Sequence[int]) -> Any:
    """Values, and in the place of where each was, which no network of this kind reads, the values again."""
    found = _pooled(given, output_size, _max_pool, op.ReduceMax)
    return found, found


def _max_pool(given: Any, **attributes: Any) -> Any:
    return op.MaxPool(given, **attributes)[0]


def _running_product(given: Any, dim: int, dtype: int = -1) -> Any:
    """Step by step along an axis of a fixed size."""
    if dtype != -1:
        given = op.Cast(given, to=dtype)
    size = given.shape[dim]
    if not isinstance(size, int):
        raise ValueError(f"cumprod along axis {dim}, whose size is not fixed")
    axis = _numbers(dim)
    parts: list[Any] = []
    for at in range(size):
        part = op.Slice(given, _numbers(at), _numbers(at + 1), axis)
        parts.append(op.Mul(parts[-1], part) if parts else part)
    return op.Concat(*parts, axis=dim)


_aten = torch.ops.aten
TRANSLATIONS[_aten._adaptive_avg_pool3d.default] = _means
TRANSLATIONS[_aten.cumprod.default] = _running_product
TRANSLATIONS[_aten.adaptive_max_pool2d.default] = _maxima
TRANSLATIONS[_aten.adaptive_max_pool3d.default] = _maxima
