"""Resizing of slices by pixel coverage, with the numbers that OpenCV's INTER_AREA gives."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import UsageError

MAX_SIDE = 4096
"""Rows or columns of an image before or after the resize, pixels."""


def resize_area(image: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    """Resize one slice or a stack of slices in-plane.

    When no axis grows, every output pixel is the mean of the input area that it covers, pixels
    weighted by the covered fraction. When an axis grows, OpenCV mixes two neighbours on both axes,
    and so does this function; while both axes grow that is the covered area again, but for single
    pixels that OpenCV's double-precision division attributes to the neighbour (160 to 208, say).
    The same input gives the same bits on every machine, and a slice the same bits alone as in a stack.

    Args:
        image: [H, W] or [S, H, W], finite.
        rows: wanted H.
        columns: wanted W.

    Returns:
        float32 [rows, columns] or [S, rows, columns]; a new array.

    Raises:
        UsageError: another number of axes, or a side outside 1 to 4096 pixels.
    """
    if image.ndim not in (2, 3):
        raise UsageError(f"resize: an array of {image.ndim} axes came; [H, W] or [S, H, W] was expected.")
    height, width = image.shape[-2:]
    if not all(1 <= side <= MAX_SIDE for side in (height, width, rows, columns)):
        raise UsageError(
            f"resize: {height} x {width} to {rows} x {columns} pixels; sides of 1 to {MAX_SIDE} are resized."
        )
    image = image.astype(np.float32, copy=False)
    if (rows, columns) == (height, width):
        return image.copy()
    grows = rows > height or columns > width
    vertical, horizontal = _taps(height, rows, grows), _taps(width, columns, grows)
    if image.ndim == 2:
        return _along_rows(_along_rows(image, vertical).T, horizontal).T.copy()
    output = np.empty((len(image), rows, columns), np.float32)
    for index, plane in enumerate(image):
        output[index] = _along_rows(_along_rows(plane, vertical).T, horizontal).T
    return output


def _along_rows(plane: NDArray[np.float32], taps: "_Taps") -> NDArray[np.float32]:
    """Weighted sums of a plane's rows, [H, W] to [len(taps), W], added in a fixed order.

    Plain sums rather than a matrix product, whose bits would depend on the processor and on how
    many threads it runs on.
    """
    plane = np.ascontiguousarray(plane)
    result: NDArray[np.float32] = plane[taps.rows[0]]
    result *= taps.weights[0]
    term = np.empty_like(result)
    for rows, weights in zip(taps.rows[1:], taps.weights[1:], strict=True):
        np.take(plane, rows, axis=0, out=term)
        term *= weights
        result += term
    return result


class _Taps(NamedTuple):
    """For each of K terms, the input row [K, target] and its weight [K, target, 1] in every output row."""

    rows: NDArray[np.intp]
    weights: NDArray[np.float32]


@lru_cache(maxsize=16)
def _taps(source: int, target: int, grows: bool) -> _Taps:
    first, weights = _neighbours(source, target) if grows else _coverage(source, target)
    rows = np.minimum(first + np.arange(len(weights))[:, None], source - 1)
    return _Taps(rows, weights.astype(np.float32)[..., None])


def _coverage(source: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The first input pixel [target] under each output pixel, and the fractions [K, target] covered from there on.

    Both axes are counted in units in which an output pixel is `source` and an input pixel `target` wide.
    """
    start = np.arange(target) * source
    first = start // target
    most = int((-(-(start + source) // target) - first).max())
    left = (first + np.arange(most)[:, None]) * target
    overlap = np.minimum(start + source, left + target) - np.maximum(start, left)
    return first, np.maximum(overlap, 0) / source


def _neighbours(source: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The input pixel [target] under each output pixel's left edge, and the weights [2, target] of it and the next.

    The next one weighs the share of the output pixel that lies beyond the first. The divisions are
    done as OpenCV does them, in double precision.
    """
    ratio = target / source
    index = np.arange(target)
    first = np.minimum(np.floor(index * (1.0 / ratio)).astype(np.intp), source - 1)
    beyond = ((index + 1) - (first + 1) * ratio).astype(np.float32)
    share = np.where(beyond <= 0, 0, beyond - np.floor(beyond))
    return first, np.stack([1 - share, share])
