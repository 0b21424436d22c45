"""Slices resized in-plane by sums of weighted pixels, in one pass and without Python's lock."""

import ctypes
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .library import library, missing, run

__all__ = ["AreaResize", "Change", "Terms", "missing"]

Terms = Sequence[tuple[int, float]]
"""Pixels of an axis with their weights, in the order in which they are added."""

Kind = Literal["subtract", "multiply", "divide", "limit", "round", "floor"]
"""limit: to 0 to 1; round: to the nearest whole number, to even between two."""

Change = tuple[Kind, float]
"""What is done to every value, in float32; the number counts for the first three kinds."""


class AreaResize:
    """Resizes slices of one shape by sums along the rows, then along the columns, each term rounded to float32."""

    def __init__(
        self,
        shape: tuple[int, int],
        rows: Sequence[Terms],
        columns: Sequence[Terms],
        *,
        columns_first: bool = False,
        before: Sequence[Change] = (),
        after: Sequence[Change] = (),
    ) -> None:
        """Made for one shape.

        Args:
            shape: rows and columns of what comes.
            rows, columns: of each output pixel of the axis, its terms.
            columns_first: sum along the columns and then along the rows.
            before, after: done to every value of what comes, and of what it is resized to, in order.

        Raises:
            KernelsMissingError: no library of processor kernels runs here, or one from older sources.
            ValueError: an output pixel without terms, or of pixels that there are not; or an unknown change.
        """
        self._shape, self._columns_first = shape, columns_first
        self._axes = [_Axis(terms, length) for terms, length in zip((rows, columns), shape, strict=True)]
        self._changes = [_Changes(changes) for changes in (before, after)]
        library()

    def __call__(self, image: NDArray[Any], resized: NDArray[np.float32]) -> None:
        """Resize one slice.

        Args:
            image: int16 or float32 [H, W] of the shape; copied where its rows do not lie whole in memory.
            resized: float32 [rows, columns], contiguous; filled.

        Raises:
            ValueError: another shape, type or layout.
            MemoryError: there is too little to work in.
        """
        size = tuple(axis.outputs for axis in self._axes)
        if image.shape != self._shape or image.dtype not in (np.int16, np.float32):
            raise ValueError(f"{image.dtype} {image.shape}; int16 or float32 {self._shape} is expected")
        if resized.shape != size or resized.dtype != np.float32 or not resized.flags.c_contiguous:
            raise ValueError(f"{resized.dtype} {resized.shape}; contiguous float32 {size} is expected")
        if image.strides[1] != image.itemsize or image.strides[0] % image.itemsize:
            image = np.ascontiguousarray(image)
        facts = (*image.shape, image.strides[0] // image.itemsize, image.dtype == np.int16, self._columns_first)
        run(
            "mmcaf_area_resize_steps",
            ctypes.c_void_p(image.ctypes.data),
            (ctypes.c_int64 * 5)(*facts),
            *(ctypes.byref(axis.held) for axis in self._axes),
            *(ctypes.byref(changes.held) for changes in self._changes),
            ctypes.c_void_p(resized.ctypes.data),
        )


class _AxisSums(ctypes.Structure):
    """As `kernels/cpu/area_resize.hpp` has it."""

    _fields_ = (
        ("outputs", ctypes.c_int64),
        ("starts", ctypes.c_void_p),
        ("pixels", ctypes.c_void_p),
        ("weights", ctypes.c_void_p),
    )


class _ValueChanges(ctypes.Structure):
    """`Changes` there."""

    _fields_ = (("count", ctypes.c_int64), ("kinds", ctypes.c_void_p), ("operands", ctypes.c_void_p))


class _Axis:
    """The terms of an axis as the library takes them."""

    def __init__(self, terms: Sequence[Terms], length: int) -> None:
        self.outputs = len(terms)
        flat = [term for one in terms for term in one]
        if not all(terms) or not all(0 <= pixel < length for pixel, _ in flat):
            raise ValueError(f"terms of 0 to {length - 1} are expected for each of {len(terms)} output pixels")
        self._starts = np.cumsum([0, *map(len, terms)], dtype=np.int64)
        self._pixels = np.array([pixel for pixel, _ in flat], np.int64)
        self._weights = np.array([weight for _, weight in flat], np.float32)
        arrays = (self._starts, self._pixels, self._weights)
        self.held = _AxisSums(self.outputs, *(array.ctypes.data for array in arrays))


class _Changes:
    """Changes of every value as the library takes them."""

    def __init__(self, changes: Sequence[Change]) -> None:
        if unknown := [kind for kind, _ in changes if kind not in get_args(Kind)]:
            raise ValueError(f"the change {unknown[0]!r}; {', '.join(get_args(Kind))} are expected")
        self._kinds = np.array([get_args(Kind).index(kind) for kind, _ in changes], np.int32)
        self._operands = np.array([operand for _, operand in changes], np.float32)
        self.held = _ValueChanges(len(changes), self._kinds.ctypes.data, self._operands.ctypes.data)
