"""From one frame's stored values to intensities: unused bits dropped, rescaled, padding replaced."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ...errors import StudyError
from ...volume import Intensity
from ...workers import Scratch
from ..geometry.arrangement import Geometry
from .frames import Frame
from .pixel_format import PixelFormat
from .tags import describe

AIR_HU = -1000
"""What padding outside the field of view becomes."""
HIGHEST_AIR_HU = -900
"""Padding above this could be tissue, and replacing it is worth a warning."""
LOWEST_HU = -1500
"""No tissue, no air and no noise of a scanner lies below; what does fills the corners outside the field of view."""
OVERLAYS, SAMPLES = 5, 128
"""So many kinds of bits above BitsStored, none set among them, may be overlays or padding; and by how many pixels along
each side they are told."""
MAX_INTENSITY = 1e6
"""Beyond any meaning, and still exact enough in float32."""
INT16 = np.iinfo(np.int16)

Values = NDArray[np.int16] | NDArray[np.float32]
Stored = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Odd:
    """Pixels that are worth a warning, where the intensity is Hounsfield units.

    replaced: of padding that may be tissue. below: lower than `LOWEST_HU`, and not declared to be padding.
    cut: slices, of any intensity, whose values have more bits than are stored.
    """

    replaced: int = 0
    below: int = 0
    cut: int = 0

    def __add__(self, other: "Odd") -> "Odd":
        return Odd(self.replaced + other.replaced, self.below + other.below, self.cut + other.cut)


@dataclass(frozen=True)
class Slice:
    """One slice of the volume: its frame, the format of its pixels, and their rescale."""

    slot: int
    frame: Frame
    pixels: PixelFormat
    slope: float
    intercept: float

    @property
    def whole(self) -> bool:
        """Whether whole stored values give whole intensities."""
        return self.slope == 1 and self.intercept.is_integer() and abs(self.intercept) <= -INT16.min


def intensities(
    pattern: Stored, entry: Slice, geometry: Geometry, intensity: Intensity, scratch: Scratch
) -> tuple[Values, Odd]:
    """One decoded frame as it stands in the volume.

    Padding (PixelPaddingValue) becomes -1000 HU; with other intensities nothing is replaced.

    Args:
        pattern: [H, W] as stored, unused bits included.
        scratch: memory to work in and to return the values in, until it is used again.

    Returns:
        int16 where every value is whole and fits, else float32; and how many pixels are odd.

    Raises:
        StudyError: intensities beyond any meaning.
    """
    pixels = entry.pixels
    pattern = cast(Stored, geometry.arrange(pattern))
    padded = padding_of(pattern, pixels) if intensity == "hounsfield" else None
    values: Values | NDArray[np.int64] | NDArray[np.float64]
    fits = entry.whole and _always_fits(entry)
    if fits:
        values = _in_int16(pattern, entry, scratch.array("whole", pattern.shape, np.int16))
    elif entry.whole:
        values = used_bits(pattern, pixels).astype(np.int64) + np.int64(entry.intercept)
    else:
        values = used_bits(pattern, pixels) * np.float64(entry.slope) + np.float64(entry.intercept)
    replaced = 0
    if padded is not None and padded.any():
        if float(values[padded].max()) > HIGHEST_AIR_HU:
            replaced = int(padded.sum())
        np.copyto(values, AIR_HU, where=padded)
    if not fits:
        values = _checked(values, entry, scratch)
    low = intensity == "hounsfield" and float(values.min()) < LOWEST_HU
    below = int(np.count_nonzero(values < LOWEST_HU)) if low else 0
    return cast(Values, values), Odd(replaced, below, int(exceeds_stored(pattern, pixels)))


def _checked(values: NDArray[Any], entry: Slice, scratch: Scratch) -> Values:
    low, high = float(values.min()), float(values.max())
    if max(-low, high) > MAX_INTENSITY:
        raise StudyError(
            f"{entry.frame.name}: intensities from {low:g} to {high:g} by {describe('RescaleSlope')} {entry.slope:g}, "
            f"beyond the limit of {MAX_INTENSITY:g}.",
            "Send the series from its source.",
        )
    fits = entry.whole and low >= INT16.min and high <= INT16.max
    plane: Values = scratch.array("whole" if fits else "real", values.shape, np.int16 if fits else np.float32)
    plane[...] = values
    return plane


def padding_of(pattern: Stored, pixels: PixelFormat) -> NDArray[np.bool_] | None:
    """Where an image carries PixelPaddingValue, with or without its unused bits; None if its header names none."""
    if pixels.padding is None:
        return None
    marked = _within(pattern, pixels.padding)
    used = used_bits(pattern, pixels)
    return marked if used is pattern else marked | _within(used, pixels.padding)


def _within(values: Stored, ends: tuple[int, int]) -> NDArray[np.bool_]:
    low, high = ends
    marked: NDArray[np.bool_] = values == low if low == high else (values >= low) & (values <= high)
    return marked


def _in_int16(pattern: Stored, entry: Slice, plane: NDArray[np.int16]) -> NDArray[np.int16]:
    """The intensities of a slice that always fits, all of it done in `plane`."""
    pixels = entry.pixels
    np.copyto(plane, pattern, casting="unsafe")
    if pixels.bits_stored < pixels.bits_allocated:
        if pixels.signed:
            plane <<= 16 - pixels.bits_stored
            plane >>= 16 - pixels.bits_stored
        else:
            plane &= (1 << pixels.bits_stored) - 1
    plane += np.int16(entry.intercept)
    return plane


def _always_fits(entry: Slice) -> bool:
    """Whether any value that may come is an int16, as is the intercept."""
    span = 1 << entry.pixels.bits_stored
    low = -span // 2 if entry.pixels.signed else 0
    ends = (low, low + span - 1, entry.intercept, low + entry.intercept, low + span - 1 + entry.intercept)
    return INT16.min <= min(ends) and max(ends) <= INT16.max


def exceeds_stored(pattern: Stored, pixels: PixelFormat) -> bool:
    """Whether the bits above BitsStored are more than the planes of a few overlays, so that the values may be of them.

    Of unsigned values; of signed ones the sign may be there, or not.
    """
    if pixels.signed or pixels.bits_stored >= pixels.bits_allocated or int(pattern.max()) >> pixels.bits_stored == 0:
        return False
    sampled = pattern[:: max(pattern.shape[0] // SAMPLES, 1), :: max(pattern.shape[1] // SAMPLES, 1)]
    return len(np.unique(sampled >> pixels.bits_stored)) > OVERLAYS


def used_bits(pattern: Stored, pixels: PixelFormat) -> Stored:
    """Drop what pixels may carry above BitsStored (PS3.5 8.1.1), extending the sign."""
    return low_bits(pattern, pixels.bits_stored)


def low_bits(pattern: Stored, bits: int) -> Stored:
    """The lowest bits of each value, the uppermost of them as its sign where the type has one."""
    unused = 8 * pattern.dtype.itemsize - bits
    if unused <= 0:
        return pattern
    used: Stored = np.right_shift(np.left_shift(pattern, unused), unused)
    return used
