"""The voxels of a NIfTI file: read to the end of the file, rescaled, and looked at for what is no image."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from ..cancel import check
from ..errors import StudyError
from .files import Source
from .geometry.affine import by_axes

Voxels = NDArray[np.int16] | NDArray[np.float32]

FEW_VALUES = 16
"""An image has more different values; a mask, or a map of labels, may have so many."""
FEW_STEPS = 4096
"""An image of a scanner has 12 bits or more; where single precision leaves fewer between its ends, some are lost."""
_SAMPLES = 32
"""Along each axis, by which values are looked at."""
_BLOCK_BYTES = 8 * 1024**2


@contextmanager
def unpacked(source: Source) -> Iterator[BinaryIO]:
    """The file's bytes, unpacked as they are read."""
    with source.open() as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if packed:
            with gzip.GzipFile(fileobj=raw) as stream:
                yield cast(BinaryIO, stream)
        else:
            yield raw


def read_stored(
    source: Source, offset: int, shape: tuple[int, int, int], dtype: np.dtype[Any], orientation: NDArray[np.float64]
) -> NDArray[Any]:
    """The stored values as slices, rows and columns of the canonical volume, [D, H, W].

    Args:
        shape, dtype: as stored. offset: the first one's byte. orientation: nibabel's, from the stored axes to these.

    Raises:
        StudyError: the file ends early, or goes on after its voxels.
    """
    from nibabel.orientations import apply_orientation

    wanted = prod(shape) * dtype.itemsize
    with unpacked(source) as stream:
        stream.seek(offset)
        data = _read(stream, wanted)
        # Only at its end does a packed file tell whether it is the one that was packed (RFC 1952 2.3.1).
        beyond = len(stream.read(1))
    if len(data) + beyond != wanted:
        came = f"more than {wanted}" if beyond else f"{len(data)}"
        raise StudyError(
            f"{source.name}: {came} bytes of voxels came; {wanted} were expected, for {by_axes(shape)} of "
            f"{dtype.itemsize} bytes.",
            "Copy the file again.",
        )
    stored: NDArray[Any] = apply_orientation(np.frombuffer(data, dtype).reshape(shape, order="F"), orientation)
    return stored


def intensities(stored: NDArray[Any], slope: float, intercept: float) -> Voxels:
    """Rescaled values; int16 as they are where nothing is to be rescaled."""
    rescaled = (slope, intercept) != (1.0, 0.0)
    if not rescaled and np.can_cast(stored.dtype, np.int16):
        return np.ascontiguousarray(stored, np.int16)
    values = stored * np.float64(slope) + np.float64(intercept) if rescaled else stored
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, np.float32)


def doubts_on(values: Voxels) -> list[str]:
    """What speaks against values [D, H, W] being those of an image; of values that are not finite others tell."""
    steps = tuple(slice(None, None, max(side // _SAMPLES, 1)) for side in values.shape)
    sampled = values[steps]
    low, high = float(sampled.min()), float(sampled.max())
    if low == high or not np.isfinite([low, high]).all():
        return []
    different = len(np.unique(sampled))
    if different <= FEW_VALUES:
        return [f"it holds {different} different values, as a mask or a map of labels does"]
    if values.dtype == np.float32 and (high - low) / float(np.spacing(np.float32(max(-low, high)))) < FEW_STEPS:
        return [
            f"its values run from {low:g} to {high:g}, of which single precision tells fewer than {FEW_STEPS} apart"
        ]
    return []


def _read(stream: BinaryIO, wanted: int) -> bytearray:
    """So many bytes, or as many as there are; in blocks, between which the caller may end the work."""
    data = bytearray()
    while len(data) < wanted and (block := stream.read(min(_BLOCK_BYTES, wanted - len(data)))):
        check()
        data += block
    return data
