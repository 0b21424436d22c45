"""Maps as the kernels take them: NumPy arrays, channels last, of one of four types."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32] | NDArray[np.uint16] | NDArray[np.int8] | NDArray[np.uint8]
"""float32, int8 or uint8 as they are; bfloat16 as its bits, uint16."""

NONE = 0
NUMBERS = {"float32": 1, "uint16": 2, "int8": 3, "uint8": 4}
"""The types' numbers in `kernels/cpu/maps.hpp`."""


def bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The bits of the nearest bfloat16, to even between two."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    nearest = (bits + (np.uint32(0x7FFF) + (bits >> 16 & 1))) >> 16
    return np.where(np.isnan(values), bits >> 16 | 0x40, nearest).astype(np.uint16)


def float32(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The values that bits of bfloat16 stand for."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def expect(name: str, array: NDArray[np.generic], shape: Sequence[int], types: Sequence[str]) -> None:
    """Refuse what a kernel would read as something else.

    Raises:
        ValueError: the array is of another type or shape, or not contiguous.
    """
    if array.dtype.name not in types or array.shape != tuple(shape) or not array.flags.c_contiguous:
        raise ValueError(
            f"{name} is {array.dtype} {list(array.shape)}; contiguous {' or '.join(types)} {list(shape)} is expected"
        )
