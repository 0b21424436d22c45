"""What slices must agree on to be one volume; each check refuses with what came and what was expected."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import StudyError
from .tags import describe

SPACING_TOLERANCE_MM = 0.1
SPACING_TOLERANCE_RELATIVE = 0.01
"""A step between slices may differ from the series' own by the larger of the two; headers round to 0.1 mm."""
DUPLICATE_MM = 0.01
"""Slices closer than this are at the same position."""
TILT_TOLERANCE_DEGREES = 0.5
"""Gantries tilt in steps of half a degree or more; less shifts a 300 mm chest by under 3 mm."""
IN_PLANE_TOLERANCE_MM = 0.5
"""A slice's centre may leave the straight line through the series by this much."""
AXIAL_TOLERANCE_DEGREES = 5.0
"""Between the slice normal and the patient's long axis."""
ORIENTATION_TOLERANCE_DEGREES = 0.1
"""Between the slices of one series; cosines rounded to three decimals differ by 0.06."""
COSINE_TOLERANCE = 0.01
"""Direction cosines may miss unit length and a right angle by this much."""
PIXEL_SPACING_TOLERANCE_MM = 0.001
FARTHEST_MM = 1e5
"""No position or distance in a scanner is larger; far larger ones would overflow what follows."""
LISTED = 5
"""Gaps or duplicates that a message lists."""

Vector = NDArray[np.float64]


class Plane(Protocol):
    """What a slice says of its place; units as in `frames.Frame`."""

    @property
    def name(self) -> str: ...
    @property
    def position(self) -> tuple[float, ...] | None: ...
    @property
    def orientation(self) -> tuple[float, ...] | None: ...
    @property
    def spacing(self) -> tuple[float, ...] | None: ...
    @property
    def thickness(self) -> float | None: ...
    @property
    def rows(self) -> int: ...
    @property
    def columns(self) -> int: ...


def slice_normal(orientation: Sequence[float] | Vector) -> Vector:
    """Unit vector across the slice: increasing column times increasing row (PS3.3 C.7.6.2.1.1)."""
    cosines = np.asarray(orientation, np.float64)
    normal = np.cross(cosines[:3], cosines[3:])
    return normal / max(float(np.linalg.norm(normal)), np.finfo(np.float64).tiny)


def required(planes: Sequence[Plane], keyword: str, values: Sequence[tuple[float, ...] | None], name: str) -> Vector:
    """All values as float64 [S, n]."""
    absent = [plane.name for plane, value in zip(planes, values, strict=True) if value is None]
    if absent:
        raise StudyError(
            f"{name}: {describe(keyword)} is missing in {len(absent)} of {len(planes)} slices, first {absent[0]}; "
            "without it the volume's geometry is unknown.",
            "Send the series from its source, with its geometry.",
        )
    numbers = np.asarray(values, np.float64)
    far = np.abs(numbers).max(axis=1)
    if far.max() > FARTHEST_MM:
        raise StudyError(
            f"{name}: {describe(keyword)} of {planes[int(far.argmax())].name} reaches {far.max():g}; at most "
            f"{FARTHEST_MM:g} was expected.",
            "Send the series again from its source.",
        )
    return numbers


def common_orientation(planes: Sequence[Plane], orientations: Vector, name: str) -> Vector:
    """The series' direction cosines [6], made exactly orthonormal."""
    along_columns, along_rows = orientations[:, :3], orientations[:, 3:]
    lengths = np.linalg.norm(orientations.reshape(-1, 2, 3), axis=2)
    products = np.einsum("si,si->s", along_columns, along_rows)
    broken = (np.abs(lengths - 1) > COSINE_TOLERANCE).any(axis=1) | (np.abs(products) > COSINE_TOLERANCE)
    if broken.any():
        raise StudyError(
            f"{name}: {describe('ImageOrientationPatient')} of {planes[int(broken.argmax())].name} is not a pair "
            "of perpendicular unit vectors.",
            "Send the series again from its source.",
        )
    # For small angles the distance between unit vectors is the angle, and does not lose digits as arccos does.
    apart = np.linalg.norm((orientations - orientations[0]).reshape(-1, 2, 3), axis=2).max(axis=1)
    angle = float(np.degrees(apart.max()))
    if angle > ORIENTATION_TOLERANCE_DEGREES:
        other = planes[int(apart.argmax())].name
        raise StudyError(
            f"{name}: slices of differing orientation: {other} is turned by {angle:.1f} degrees against "
            f"{planes[0].name}; at most {ORIENTATION_TOLERANCE_DEGREES} degrees were expected within a series.",
            "Send one series of parallel slices.",
        )
    first = along_columns[0] / np.linalg.norm(along_columns[0])
    second = along_rows[0] - first * (along_rows[0] @ first)
    return np.concatenate([first, second / np.linalg.norm(second)])


def common_spacing(planes: Sequence[Plane], spacings: Vector, name: str) -> tuple[float, float]:
    if not (spacings > 0).all():
        raise StudyError(
            f"{name}: {describe('PixelSpacing')} is {spacings.min():g} mm; a positive distance was expected.",
            "Send the series again from its source.",
        )
    apart = np.abs(spacings - spacings[0]).max(axis=1)
    if apart.max() > PIXEL_SPACING_TOLERANCE_MM:
        other = int(apart.argmax())
        raise StudyError(
            f"{name}: slices of differing pixel spacing: {_pair(spacings[other])} mm in {planes[other].name}, "
            f"{_pair(spacings[0])} mm in {planes[0].name}.",
            "Send one series, reconstructed with one field of view.",
        )
    return float(spacings[0, 0]), float(spacings[0, 1])


def refuse_duplicates(ordered: Sequence[Plane], heights: Vector, name: str) -> None:
    same = np.flatnonzero(np.diff(heights) < DUPLICATE_MM)
    if not same.size:
        return
    pairs = [f"{ordered[i].name} and {ordered[i + 1].name} at z={heights[i]:.1f} mm" for i in same[:LISTED]]
    raise StudyError(
        f"{name}: {same.size} of {len(ordered)} slices repeat a position: {_listed(pairs, same.size)}; one slice "
        "per position was expected.",
        "Send one series, without repeated images.",
    )


def refuse_tilt(ordered: Sequence[Plane], heights: Vector, positions: Vector, normal: Vector, name: str) -> None:
    """Find the shear from positions, not from the tilt element, whose sign scanners do not agree on."""
    travel = positions - positions[0]
    sideways = travel - np.outer(heights - heights[0], normal)
    angle = float(np.degrees(np.arctan2(np.linalg.norm(sideways[-1]), heights[-1] - heights[0])))
    if angle > TILT_TOLERANCE_DEGREES:
        raise StudyError(
            f"{name}: the gantry was tilted: slices shift in-plane by {angle:.1f} degrees against their normal; "
            f"at most {TILT_TOLERANCE_DEGREES} degrees was expected.",
            "Send a series without tilt, or one reformatted to upright axial slices.",
        )
    along = (heights - heights[0]) / (heights[-1] - heights[0])
    stray = np.linalg.norm(sideways - np.outer(along, sideways[-1]), axis=1)
    if stray.max() > IN_PLANE_TOLERANCE_MM:
        raise StudyError(
            f"{name}: {ordered[int(stray.argmax())].name} is shifted in-plane by {stray.max():.1f} mm against the "
            f"others; at most {IN_PLANE_TOLERANCE_MM} mm was expected.",
            "Send one series, reconstructed with one centre.",
        )


def refuse_other_planes(normal: Vector, name: str) -> None:
    angle = float(np.degrees(np.arccos(min(float(normal[2]), 1.0))))
    if angle > AXIAL_TOLERANCE_DEGREES:
        raise StudyError(
            f"{name}: the slices are not axial: their normal is {angle:.1f} degrees off the patient's long axis; "
            f"at most {AXIAL_TOLERANCE_DEGREES} degrees were expected.",
            "Send the axial series.",
        )


def regular_step(heights: Vector, name: str) -> float:
    """The distance between neighbours, mm, after refusing gaps and irregular steps.

    The expected step is the lower median, so that one gap among few slices does not pass for it.
    """
    steps = np.diff(heights)
    expected = float(np.sort(steps)[(len(steps) - 1) // 2])
    tolerance = max(SPACING_TOLERANCE_MM, SPACING_TOLERANCE_RELATIVE * expected)
    odd = np.flatnonzero(np.abs(steps - expected) > tolerance)
    if not odd.size:
        return round(float(heights[-1] - heights[0]) / len(steps), 6)
    counts = np.rint(steps[odd] / expected)
    gaps = (counts >= 2) & (np.abs(steps[odd] - counts * expected) <= counts * tolerance)
    places = [f"between z={heights[i]:.1f} and z={heights[i + 1]:.1f} mm (found {steps[i]:.2f})" for i in odd[:LISTED]]
    if gaps.all():
        missing = int((counts - 1).sum())
        plural = "slice" if missing == 1 else "slices"
        problem = f"{missing} {plural} missing {_listed(places, odd.size)}; expected spacing {expected:.2f} mm"
    else:
        problem = (
            f"irregular slice spacing: {odd.size} of {len(steps)} steps differ from {expected:.2f} mm by more than "
            f"{tolerance:.2f} mm: {_listed(places, odd.size)}"
        )
    raise StudyError(f"{name}: {problem}.", "Resend the series, complete and with one spacing.")


def thinner_than_step(ordered: Sequence[Plane], step: float, name: str) -> list[str]:
    thickness = ordered[0].thickness
    if thickness is None or thickness <= 0 or step <= thickness + SPACING_TOLERANCE_MM:
        return []
    return [f"{name}: slices {thickness:g} mm thick lie {step:g} mm apart; the tissue between them was not imaged."]


def _listed(entries: Sequence[str], total: int) -> str:
    return ", ".join(entries) + (f" and {total - len(entries)} more" if total > len(entries) else "")


def _pair(values: Vector) -> str:
    return f"{values[0]:g} x {values[1]:g}"
