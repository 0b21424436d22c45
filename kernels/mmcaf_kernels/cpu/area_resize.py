"""Slices resized in-plane by sums of weighted pixels, in one pass and without Python's lock."""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .library import KernelsMissingError, library

Terms = Sequence[tuple[int, float]]
"""Pixels of an axis with their weights, in the order in which they are added."""


class AreaResize:
    """Resizes slices of one shape: sums along the rows, then along the columns, each term rounded to float32."""

    def __init__(self, shape: tuple[int, int], rows: Sequence[Terms], columns: Sequence[Terms]) -> None:
        """Made for one shape.

        Args:
            shape: rows and columns of what comes.
            rows, columns: of each output pixel of the axis, its terms.

        Raises:
            KernelsMissingError: no library of processor kernels runs here, or one from older sources.
            ValueError: an output pixel without terms, or of pixels that there are not.
        """
        self._shape = shape
        self._axes = [_Axis(terms, length) for terms, length in zip((rows, columns), shape, strict=True)]
        self._resize = _function()
        self._resize.argtypes = [ctypes.c_void_p, *[ctypes.c_int64] * 3, *_Axis.types, *_Axis.types, ctypes.c_void_p]
        self._resize.restype = None

    def __call__(self, image: NDArray[Any], resized: NDArray[np.float32]) -> None:
        """Resize one slice.

        Args:
            image: int16 or float32 [H, W] of the shape; copied where its rows do not lie whole in memory.
            resized: float32 [rows, columns], contiguous; filled.

        Raises:
            ValueError: another shape, type or layout.
        """
        size = tuple(axis.outputs for axis in self._axes)
        if image.shape != self._shape or image.dtype not in (np.int16, np.float32):
            raise ValueError(f"{image.dtype} {image.shape}; int16 or float32 {self._shape} is expected")
        if resized.shape != size or resized.dtype != np.float32 or not resized.flags.c_contiguous:
            raise ValueError(f"{resized.dtype} {resized.shape}; contiguous float32 {size} is expected")
        if image.strides[1] != image.itemsize or image.strides[0] % image.itemsize:
            image = np.ascontiguousarray(image)
        given = (image.ctypes.data, image.dtype == np.int16, image.shape[1], image.strides[0] // image.itemsize)
        self._resize(*given, *self._axes[0].arguments, *self._axes[1].arguments, resized.ctypes.data)


def missing() -> str | None:
    """Why slices are not resized so here, or None."""
    try:
        _function()
    except KernelsMissingError as failure:
        return str(failure)
    return None


def _function() -> Any:
    """As the library has it.

    Raises:
        KernelsMissingError: it has none, or there is no library.
    """
    loaded = library()
    if not hasattr(loaded, "mmcaf_area_resize"):
        raise KernelsMissingError("the library of processor kernels was built from older sources than are installed")
    return loaded.mmcaf_area_resize


class _Axis:
    """The terms of an axis as the library takes them."""

    types = (ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)

    def __init__(self, terms: Sequence[Terms], length: int) -> None:
        self.outputs = len(terms)
        flat = [term for one in terms for term in one]
        if not all(terms) or not all(0 <= pixel < length for pixel, _ in flat):
            raise ValueError(f"terms of 0 to {length - 1} are expected for each of {len(terms)} output pixels")
        self._starts = np.cumsum([0, *map(len, terms)], dtype=np.int64)
        self._pixels = np.array([pixel for pixel, _ in flat], np.int64)
        self._weights = np.array([weight for _, weight in flat], np.float32)
        held = (self._starts, self._pixels, self._weights)
        self.arguments = (self.outputs, *(array.ctypes.data for array in held))
