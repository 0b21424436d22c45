"""What the policies accepted, done to the decoded volume: tilt undone, missing slices interpolated, copies compared."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ...errors import StudyError
from ...volume import Intensity
from ..geometry.arrangement import Geometry
from .frames import Frame
from .intensities import AIR_HU
from .tags import describe

WHOLE_PIXEL = 1e-4
"""A shift this close to whole pixels moves values without blending them; positions are rounded no finer."""
NO_SIGNAL = 0.0
"""What lies beyond the edge of an image without Hounsfield units."""

Values = NDArray[np.int16] | NDArray[np.float32]


def repair(values: Values, frames: Sequence[Frame], geometry: Geometry, intensity: Intensity, name: str) -> Values:
    """The volume as `geometry` describes it, from its slices as they were decoded.

    Whole values stay whole: int16 values are rounded to the nearest, half to even.

    Args:
        values: [S, H, W], one for each of `geometry.order`; changed in place by a tilt.
        frames: as sent.
        intensity: of `values`; "stored" needs one rescale for the whole series.

    Returns:
        `values` itself where nothing was to be done; else [D, H, W] of the same type, D >= S.

    Raises:
        StudyError: raw pixels to be blended that do not share one rescale.
    """
    if not geometry.shifts and not geometry.slots:
        return values
    match intensity:
        case "hounsfield":
            air = float(AIR_HU)
        case "rescaled":
            air = NO_SIGNAL
        case "stored":
            air = _stored_air([frames[at] for at in geometry.order], name)
    for slot, (rows, columns) in enumerate(geometry.shifts):
        values[slot] = _as_type(
            _shifted(_shifted(values[slot].astype(np.float64), rows, 0, air), columns, 1, air), values
        )
    if not geometry.slots:
        return values
    complete: Values = np.empty((geometry.slots[-1] + 1, *values.shape[1:]), values.dtype)
    for before, (first, last) in enumerate(zip(geometry.slots, geometry.slots[1:], strict=False)):
        below, above = values[before].astype(np.float64), values[before + 1].astype(np.float64)
        complete[first] = values[before]
        for slot in range(first + 1, last):
            weight = (slot - first) / (last - first)
            complete[slot] = _as_type(below * (1 - weight) + above * weight, values)
    complete[-1] = values[-1]
    return complete


def differing_copies(values: Values, copies: Values, geometry: Geometry) -> int:
    """How many of the left-out slices differ from the one that was kept in their place.

    Args:
        values: [S, H, W] for `geometry.order`.
        copies: [C, H, W] for the left-out slices of `geometry.copies`, in that order.
    """
    slot = {sent: at for at, sent in enumerate(geometry.order)}
    pairs: Iterator[tuple[int, int]] = enumerate(kept for _, kept in geometry.copies)
    return sum(not np.array_equal(copies[at], values[slot[kept]]) for at, kept in pairs)


def _shifted(plane: NDArray[np.float64], by: float, axis: int, air: float) -> NDArray[np.float64]:
    """Each value from `by` pixels further along an axis, blended from the two beside it; air beyond the edge."""
    whole = float(np.floor(by + WHOLE_PIXEL))
    part = max(by - whole, 0.0)
    near = _moved(plane, int(whole), axis, air)
    return near if part <= WHOLE_PIXEL else near * (1 - part) + _moved(plane, int(whole) + 1, axis, air) * part


def _moved(plane: NDArray[np.float64], by: int, axis: int, air: float) -> NDArray[np.float64]:
    moved = np.full_like(plane, air)
    length = plane.shape[axis]
    if abs(by) >= length:
        return moved
    into, source = [slice(None)] * 2, [slice(None)] * 2
    into[axis] = slice(max(-by, 0), length - max(by, 0))
    source[axis] = slice(max(by, 0), length + min(by, 0))
    moved[tuple(into)] = plane[tuple(source)]
    return moved


def _as_type(plane: NDArray[np.float64], like: Values) -> NDArray[np.float64]:
    return np.rint(plane) if like.dtype == np.int16 else plane


def _stored_air(frames: Sequence[Frame], name: str) -> float:
    """The raw value of air by the series' one rescale (PS3.3 C.11.1.1.2)."""
    rescales = {(frame.slope, frame.intercept) for frame in frames}
    slope, intercept = next(iter(rescales))
    if len(rescales) > 1 or not slope or intercept is None:
        raise StudyError(
            f"{name}: {len(rescales)} different values of {describe('RescaleSlope')} and {describe('RescaleIntercept')}"
            " came; raw pixel values can only be interpolated between slices that share one.",
            "Send a complete series without tilt.",
        )
    return round((AIR_HU - intercept) / slope)
