"""Resizing in-plane: slices by pixel coverage, as OpenCV's INTER_AREA, and images by antialiased bilinear weights."""

from collections.abc import Callable
from functools import lru_cache
from math import gcd
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..workers import Scratch

MAX_SIDE = 4096
"""Rows or columns of an image before or after the resize, pixels."""

LARGEST_FACTOR = 16
"""Rows or columns of a block whose sum of whole values is exact in single precision."""

MIN_PERIODS = 12
"""Repeats of the weights along an axis from which one operation on all of them is worth its call."""

_Resize = Callable[[NDArray[Any], NDArray[np.float32]], None]
"""Takes a slice [H, W] and fills another one."""

Plain = NDArray[np.float32] | NDArray[np.int16]

Terms = list[list[tuple[int, float]]]
"""Of each output pixel of an axis, the (input pixel, weight) to be added, in this order."""


def resize_area(
    image: Plain, rows: int, columns: int, scratch: Scratch | None = None, *, columns_first: bool = False
) -> NDArray[np.float32]:
    """Resize one slice or a few slices in-plane.

    When no axis grows, every output pixel is the mean of the input area that it covers, pixels
    weighted by the covered fraction. When an axis grows, OpenCV mixes two neighbours on both axes,
    and so does this function; while both axes grow that is the covered area again, but for single
    pixels that OpenCV's double-precision division attributes to the neighbour (160 to 208, say).
    The same input gives the same bits on every machine, and a slice the same bits alone as in a stack;
    with the library of processor kernels in one pass, during which other threads run, else by NumPy.

    Args:
        image: [H, W] or [S, H, W], finite.
        rows: wanted H.
        columns: wanted W.
        scratch: memory to work in and to return the result in, until it is used again.
        columns_first: average along the columns and then along the rows, which rounds otherwise and takes longer.

    Returns:
        float32 [rows, columns] or [S, rows, columns]; never the image itself.

    Raises:
        UsageError: another number of axes, or a side outside 1 to 4096 pixels.
    """
    if image.ndim not in (2, 3):
        raise UsageError(f"resize: an array of {image.ndim} axes came; [H, W] or [S, H, W] was expected.")
    height, width = image.shape[-2:]
    _check_sides(height, width, rows, columns)
    scratch = scratch or Scratch()
    stack = image if image.ndim == 3 else image[np.newaxis]
    resized = scratch.array("resized", (len(stack), rows, columns), np.float32)
    if (rows, columns) == (height, width):
        resized[...] = stack
    else:
        fits = image.dtype in (np.int16, np.float32) and native_missing() is None
        native = _native((height, width), (rows, columns), columns_first) if fits else None
        if native is None:
            sum_by_numpy(stack, resized, scratch, columns_first=columns_first)
        else:
            for plane, into in zip(stack, resized, strict=True):
                native(plane, into)
    return resized if image.ndim == 3 else resized[0]


def sum_by_numpy(stack: Plain, resized: NDArray[np.float32], scratch: Scratch, *, columns_first: bool = False) -> None:
    """Fill `resized` [S, rows, columns], another size than the stack's [S, H, W], as `resize_area` says."""
    (height, width), (rows, columns) = stack.shape[1:], resized.shape[1:]
    one_grows = rows > height or columns > width
    of_axis = {1: _sums(height, rows, one_grows), 2: _sums(width, columns, one_grows)}
    first, then = (2, 1) if columns_first else (1, 2)
    shape = (len(stack), height, columns) if columns_first else (len(stack), rows, width)
    between = scratch.array("fewer rows", shape, np.float32)
    _weighted_sums(stack, between, first, of_axis[first], scratch)
    _weighted_sums(between, resized, then, of_axis[then], scratch)


def resize_area_whole(image: Plain, rows: int, columns: int, scratch: Scratch | None = None) -> NDArray[np.float32]:
    """Resize one slice of whole values to whole values, to the bit as OpenCV's INTER_AREA does integer pixels.

    Means are rounded to the nearest value. A mean that lies in the middle of two, as far as single precision tells, is
    rounded to the even one; where rows and columns are both halved, up. OpenCV averages along the columns first, and
    divides the plain sum of a block where both axes shrink by whole factors.

    Args:
        image: [H, W], finite whole values below 2^16.
        rows, columns, scratch: as for `resize_area`.

    Returns:
        float32 [rows, columns] of whole values; never the image itself.

    Raises:
        UsageError: as `resize_area`.
    """
    height, width = image.shape
    _check_sides(height, width, rows, columns)
    scratch = scratch or Scratch()
    blocks = whole_blocks((height, width), (rows, columns))
    if blocks is None:
        averaged = resize_area(image, rows, columns, scratch, columns_first=True)
        np.rint(averaged, out=averaged)
        return averaged
    down, across = blocks
    total = scratch.array("resized", (rows, columns), np.float32)
    total[...] = 0
    for row in range(down):
        for column in range(across):
            np.add(total, image[row::down, column::across], out=total)
    if down == across == 2:
        total += np.float32(2)
        total *= np.float32(0.25)
        np.floor(total, out=total)
    else:
        total *= np.float32(1 / (down * across))
        np.rint(total, out=total)
    return total


def resize_bilinear(image: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    """Resize one image by antialiased bilinear interpolation.

    Each output pixel is the weighted mean of the input pixels around the place that it covers. The weights fall off
    linearly to both sides of that place's centre, to nothing at one output pixel's width, and at least one input
    pixel's, from it; beyond the edge there are no pixels, and the weights that are left are scaled to add up to 1. So
    have it PIL's BILINEAR, before it rounds to whole greys, and PyTorch's bilinear with antialias=True and
    align_corners=False.

    Args:
        image: [H, W], finite.
        rows: wanted H.
        columns: wanted W.

    Returns:
        float32 [rows, columns].
    """
    height, width = image.shape
    scratch = Scratch()
    fewer_rows, resized = np.empty((1, rows, width), np.float32), np.empty((1, rows, columns), np.float32)
    _weighted_sums(image[np.newaxis], fewer_rows, 1, (_of_lists(*_triangles(height, rows), height),), scratch)
    _weighted_sums(fewer_rows, resized, 2, (_of_lists(*_triangles(width, columns), width),), scratch)
    plane: NDArray[np.float32] = resized[0]
    return plane


def _check_sides(height: int, width: int, rows: int, columns: int) -> None:
    if not all(1 <= side <= MAX_SIDE for side in (height, width, rows, columns)):
        raise UsageError(
            f"resize: {height} x {width} to {rows} x {columns} pixels; sides of 1 to {MAX_SIDE} are resized."
        )


class _Sum(NamedTuple):
    """Some output pixels of an axis, and the (input pixels, weights) to be added for them, in this order."""

    outputs: slice
    terms: tuple[tuple[slice | NDArray[np.intp], np.float32 | NDArray[np.float32]], ...]


def _weighted_sums(
    source: Plain, result: NDArray[np.float32], axis: int, sums: tuple[_Sum, ...], scratch: Scratch
) -> None:
    """Fill `result` with sums along `axis` of [S, H, W], each in a fixed order.

    Plain sums rather than a matrix product, whose bits would depend on the processor and on how many
    threads it runs on, and whose zeros would be most of the work.
    """
    before, after = (slice(None),) * axis, (1,) * (2 - axis)
    shape = result[*before, sums[0].outputs].shape
    total, product = (scratch.array(f"{use} {axis}", shape, np.float32) for use in ("total", "product"))
    for outputs, terms in sums:
        into = result[*before, outputs]
        for done, (pixels, weight) in enumerate(terms, start=1):
            summed = into if done == len(terms) else total
            np.multiply(source[*before, pixels], weight.reshape(-1, *after), out=summed if done == 1 else product)
            if done > 1:
                np.add(total, product, out=summed)


def native_missing() -> str | None:
    """Why slices are resized by NumPy, to the same bits, or None."""
    from mmcaf_kernels.cpu.area_resize import missing

    return missing()


@lru_cache(maxsize=16)
def _native(size: tuple[int, int], wanted: tuple[int, int], columns_first: bool) -> _Resize:
    """What resizes such slices in one pass, by the library of kernels."""
    from mmcaf_kernels.cpu.area_resize import AreaResize

    return AreaResize(size, *area_terms(size, wanted), columns_first=columns_first)


def area_terms(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[Terms, Terms]:
    """What `resize_area` adds up along rows and columns of slices of one size for those of another."""
    one_grows = wanted[0] > size[0] or wanted[1] > size[1]
    rows, columns = (_terms(_sums(*axis, one_grows), axis[1]) for axis in zip(size, wanted, strict=True))
    return rows, columns


def whole_blocks(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int] | None:
    """Rows and columns of the blocks that `resize_area_whole` adds up to one pixel each; None where it has none."""
    (down, down_left), (across, across_left) = divmod(size[0], wanted[0]), divmod(size[1], wanted[1])
    return None if down_left or across_left or max(down, across) > LARGEST_FACTOR or size == wanted else (down, across)


def _terms(sums: tuple[_Sum, ...], target: int) -> Terms:
    """The (input pixel, weight) of each output pixel of an axis, in the order of the sums."""
    found: Terms = [[] for _ in range(target)]
    for outputs, terms in sums:
        indices = range(target)[outputs]
        for pixels, weight in terms:
            weights = np.broadcast_to(weight, len(indices)).tolist()
            if isinstance(pixels, slice):
                taken = [pixels.start + at * (pixels.step or 1) for at in range(len(indices))]
            else:
                taken = pixels.tolist()
            for output, pixel, one in zip(indices, taken, weights, strict=True):
                found[output].append((pixel, one))
    return found


@lru_cache(maxsize=16)
def _sums(source: int, target: int, grows: bool) -> tuple[_Sum, ...]:
    """The sums of an axis: over slices of it where the pattern of weights repeats, else over one list for each term."""
    first, weights = _neighbours(source, target) if grows else _coverage(source, target)
    weights = weights.astype(np.float32)
    # Neighbours come from divisions that round: no part of the axis need equal another to the last bit.
    periods = 1 if grows else gcd(source, target)
    if periods < MIN_PERIODS:
        return (_of_lists(first, weights, source),)
    inputs, outputs = source // periods, target // periods
    return tuple(
        _Sum(
            slice(output, None, outputs),
            tuple(
                (slice(first[output] + tap, None, inputs), weights[tap, output])
                for tap in range(len(weights))
                if weights[tap, output]
            ),
        )
        for output in range(outputs)
    )


def _of_lists(first: NDArray[np.intp], weights: NDArray[np.floating[Any]], source: int) -> _Sum:
    """The sum of a whole axis of `source` pixels: weights [K, target] of the pixels from `first` [target] on."""
    taps = enumerate(weights.astype(np.float32))
    return _Sum(slice(None), tuple((np.minimum(first + tap, source - 1), weight) for tap, weight in taps))


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


def _triangles(source: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The first input pixel [target] that an output pixel takes from, and the weights [K, target] from there on."""
    ratio = source / target
    reach = max(ratio, 1.0)
    centre = (np.arange(target) + 0.5) * ratio
    first = np.maximum(np.floor(centre - reach + 0.5), 0).astype(np.intp)
    end = np.minimum(np.floor(centre + reach + 0.5), source).astype(np.intp)
    pixels = first + np.arange(int((end - first).max()))[:, None]
    weights = np.maximum(1.0 - np.abs(pixels + 0.5 - centre) / reach, 0.0) * (pixels < end)
    return first, weights / weights.sum(axis=0)
