"""Slices that repeat a position, lean, or are missing: refused with numbers, or accepted by a policy."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import Remedy, StudyError
from .checks import Plane, Vector, listed
from .policies import (
    MAX_MISSING_FRACTION,
    MAX_MISSING_IN_A_ROW,
    MAX_SHIFT_FRACTION,
    MAX_TILT_DEGREES,
    Duplicates,
    Gaps,
    Tilt,
)

SPACING_TOLERANCE_MM = 0.1
SPACING_TOLERANCE_RELATIVE = 0.01
"""A step between slices may differ from the series' own by the larger of the two; headers round to 0.1 mm."""
DUPLICATE_MM = 0.01
"""Slices closer than this are at the same position."""
TILT_TOLERANCE_DEGREES = 0.5
"""Gantries tilt in steps of half a degree or more; less shifts a 300 mm chest by under 3 mm."""
IN_PLANE_TOLERANCE_MM = 0.5
"""A slice's centre may leave the straight line through the series by this much."""
LISTED = 5
"""Gaps or duplicates that a message lists."""

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Kept:
    """The slices that remain, one per position.

    order: index of the sent slice, by rising height.
    copies: (left out, kept) indices of sent slices.
    """

    order: Indices
    copies: tuple[tuple[int, int], ...] = ()
    warnings: tuple[str, ...] = ()


def one_per_place(
    planes: Sequence[Plane], order: Indices, heights: Vector, positions: Vector, policy: Duplicates, name: str
) -> Kept:
    """Find slices at the same position.

    Args:
        planes: as sent; of copies, "first" keeps the one that comes first here.
        order: index of the sent slice, by rising height.
        heights: of all sent slices along the normal, mm [S].
        positions: of all sent slices, mm, LPS [S, 3].

    Raises:
        StudyError: there are some and the policy refuses them, they are apart in-plane, or they are all.
    """
    close = np.diff(heights[order]) < DUPLICATE_MM
    same = np.flatnonzero(close)
    if not same.size:
        return Kept(order)
    pairs = [
        f"{planes[order[i]].name} and {planes[order[i + 1]].name} at z={heights[order[i]]:.1f} mm"
        for i in same[:LISTED]
    ]
    problem = f"{name}: {same.size} of {len(order)} slices repeat a position: {listed(pairs, same.size)}"
    apart = float(np.linalg.norm(positions[order[same + 1]] - positions[order[same]], axis=1).max())
    if apart >= DUPLICATE_MM:
        raise StudyError(
            f"{problem}, up to {apart:.1f} mm apart in-plane; one slice per height was expected.",
            "Send one series, reconstructed with one centre.",
        )
    if close.all():
        raise StudyError(
            f"{problem}; they are all at one place, where a volume was expected.",
            "Send the series that runs through the chest.",
        )
    if policy == "refuse":
        raise StudyError(
            f"{problem}; one slice per position was expected.",
            Remedy(
                "Send one series, without repeated images, or keep the first of each",
                option="duplicates",
                value="first",
            ),
        )
    groups = np.split(order, np.flatnonzero(~close) + 1)
    kept = np.array([group.min() for group in groups], np.intp)
    copies = tuple(
        (int(index), int(first)) for group, first in zip(groups, kept, strict=True) for index in group if index != first
    )
    warning = f"{problem}; the first of each was kept, as accepted."
    return Kept(kept, copies, (warning,))


def gantry_shear(
    ordered: Sequence[Plane],
    heights: Vector,
    positions: Vector,
    normal: Vector,
    policy: Tilt,
    field_mm: float,
    name: str,
) -> tuple[Vector | None, tuple[str, ...]]:
    """How far each slice lies off the normal through the middle one, mm [S, 3]; None without a tilt.

    The shear is found from positions, not from the tilt element, whose sign scanners do not agree on.

    Args:
        ordered: by rising height; `heights` [S] and `positions` [S, 3] alike.
        normal: unit vector across the slices.
        field_mm: the slice's shorter side.

    Raises:
        StudyError: a tilt that the policy refuses or that is beyond the limits, or a slice out of line.
    """
    travel = positions - positions[0]
    sideways = travel - np.outer(heights - heights[0], normal)
    angle = float(np.degrees(np.arctan2(np.linalg.norm(sideways[-1]), heights[-1] - heights[0])))
    offsets = sideways - sideways[len(sideways) // 2]
    largest = float(np.linalg.norm(offsets, axis=1).max())
    tilted = angle > TILT_TOLERANCE_DEGREES
    if tilted:
        problem = f"{name}: the gantry was tilted: slices shift in-plane by {angle:.1f} degrees against their normal"
        remedy = "Send a series without tilt, or one reformatted to upright axial slices"
        if angle > MAX_TILT_DEGREES or largest > MAX_SHIFT_FRACTION * field_mm:
            raise StudyError(
                f"{problem}, up to {largest:.1f} mm; at most {TILT_TOLERANCE_DEGREES} degrees was expected, and "
                f"{MAX_TILT_DEGREES:g} degrees or {MAX_SHIFT_FRACTION * field_mm:.1f} mm is the most that is "
                "resampled.",
                f"{remedy}.",
            )
        if policy == "refuse":
            raise StudyError(
                f"{problem}; at most {TILT_TOLERANCE_DEGREES} degrees was expected.",
                Remedy(f"{remedy}, or accept resampling", option="tilt", value="resample"),
            )
    along = (heights - heights[0]) / (heights[-1] - heights[0])
    stray = np.linalg.norm(sideways - np.outer(along, sideways[-1]), axis=1)
    if stray.max() > IN_PLANE_TOLERANCE_MM:
        raise StudyError(
            f"{name}: {ordered[int(stray.argmax())].name} is shifted in-plane by {stray.max():.1f} mm against the "
            f"others; at most {IN_PLANE_TOLERANCE_MM} mm was expected.",
            "Send one series, reconstructed with one centre.",
        )
    if not tilted:
        return None, ()
    warning = (
        f"{name}: the gantry was tilted by {angle:.1f} degrees; slices were shifted in-plane by up to "
        f"{largest:.1f} mm, interpolated linearly, with air where nothing was imaged, as accepted."
    )
    return offsets, (warning,)


@dataclass(frozen=True)
class Spacing:
    """The distance between neighbours, mm, and the slot of each slice in the complete volume."""

    step: float
    slots: tuple[int, ...]
    warnings: tuple[str, ...] = ()


def regular_spacing(heights: Vector, policy: Gaps, name: str) -> Spacing:
    """The series' step, after refusing irregular steps, and gaps unless the policy fills them.

    The expected step is the lower median, so that one gap among few slices does not pass for it.

    Args:
        heights: rising, along the normal, mm [S], S > 1.

    Raises:
        StudyError: steps that are no multiple of the expected one; gaps that the policy refuses, or
            more than may be interpolated.
    """
    steps = np.diff(heights)
    expected = float(np.sort(steps)[(len(steps) - 1) // 2])
    tolerance = max(SPACING_TOLERANCE_MM, SPACING_TOLERANCE_RELATIVE * expected)
    odd = np.flatnonzero(np.abs(steps - expected) > tolerance)
    counts = np.ones(len(steps), np.int64)
    counts[odd] = np.rint(steps[odd] / expected)
    slots = (0, *(int(slot) for slot in np.cumsum(counts)))
    if not odd.size:
        return Spacing(round(float(heights[-1] - heights[0]) / len(steps), 6), slots)
    gaps = (counts[odd] >= 2) & (np.abs(steps[odd] - counts[odd] * expected) <= counts[odd] * tolerance)
    places = [f"between z={heights[i]:.1f} and z={heights[i + 1]:.1f} mm (found {steps[i]:.2f})" for i in odd[:LISTED]]
    where, remedy = listed(places, odd.size), "Resend the series, complete and with one spacing"
    if not gaps.all():
        raise StudyError(
            f"{name}: irregular slice spacing: {odd.size} of {len(steps)} steps differ from {expected:.2f} mm by more "
            f"than {tolerance:.2f} mm: {where}.",
            f"{remedy}.",
        )
    missing, complete = int((counts - 1).sum()), slots[-1] + 1
    plural = "slice" if missing == 1 else "slices"
    problem = f"{name}: {missing} {plural} missing {where}; expected spacing {expected:.2f} mm"
    if counts.max() - 1 > MAX_MISSING_IN_A_ROW or missing > MAX_MISSING_FRACTION * complete:
        raise StudyError(
            f"{problem}. At most {MAX_MISSING_IN_A_ROW} in a row and {MAX_MISSING_FRACTION:.0%} of the {complete} "
            "slices can be interpolated.",
            f"{remedy}.",
        )
    if policy == "refuse":
        raise StudyError(
            f"{problem}.", Remedy(f"{remedy}, or accept interpolation", option="gaps", value="interpolate")
        )
    warning = f"{problem}; interpolated linearly between their neighbours, as accepted."
    return Spacing(round(float(heights[-1] - heights[0]) / slots[-1], 6), slots, (warning,))
