"""What slices must agree on to be one volume; each check refuses with what came and what was expected."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import Remedy, StudyError
from ..dicom.tags import describe
from ..notes import NONE, Notes
from .policies import MAX_OBLIQUE_DEGREES, Policies

AXIAL_TOLERANCE_DEGREES = 5.0
"""Between the slice normal and the patient's long axis."""
ORIENTATION_TOLERANCE_DEGREES = 0.1
"""Between the slices of one series; cosines rounded to three decimals differ by 0.06."""
COSINE_TOLERANCE = 0.01
"""Direction cosines may miss unit length and a right angle by this much."""
PIXEL_SPACING_TOLERANCE_MM = 0.001
THICKNESS_TOLERANCE_MM = 0.1
"""Slices may lie this much further apart than they are thick; headers round to 0.1 mm."""
FARTHEST_MM = 1e5
"""No position or distance in a scanner is larger; far larger ones would overflow what follows."""

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
    ax, ay, az, bx, by, bz = (float(cosine) for cosine in orientation)
    normal = np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])
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


def off_axis(normal: Vector) -> float:
    """Degrees between a unit vector that points to the head, and the patient's long axis."""
    return float(np.degrees(np.arccos(np.clip(normal[2], -1.0, 1.0))))


def check_axial(degrees: float, name: str, policies: Policies, *, mr: bool) -> Notes:
    """Refuse slices whose normal is off the patient's long axis, unless they are MR and the policies accept them.

    Args:
        degrees: by `off_axis`.
        mr: whether they are, or may be, of MR, whose axial slices are planned along the anatomy.

    Returns:
        Where they were accepted a warning, or where that is usual of the network a remark.

    Raises:
        StudyError: they are of another plane, or the policies refuse them.
    """
    if degrees <= AXIAL_TOLERANCE_DEGREES:
        return NONE
    acceptable = mr and degrees <= MAX_OBLIQUE_DEGREES
    lean = f"their normal is {degrees:.1f} degrees off the patient's long axis"
    if acceptable and policies.oblique == "accept":
        by = "as is usual of this network" if policies.oblique_usual else "as accepted"
        told = (f"{name}: the slices are oblique: {lean}; they were taken as they lie, {by}.",)
        return Notes(remarks=told) if policies.oblique_usual else Notes(told)
    most = f", and {MAX_OBLIQUE_DEGREES:g} is the most that is accepted" if mr and not acceptable else ""
    remedy = Remedy("Send the axial series, or accept oblique slices", option="oblique", value="accept")
    raise StudyError(
        f"{name}: the slices are not axial: {lean}; at most {AXIAL_TOLERANCE_DEGREES} degrees were expected{most}.",
        remedy if acceptable else "Send the axial series.",
    )


def thinner_than_step(ordered: Sequence[Plane], step: float, name: str) -> list[str]:
    thickness = ordered[0].thickness
    if thickness is None or thickness <= 0 or step <= thickness + THICKNESS_TOLERANCE_MM:
        return []
    return [f"{name}: slices {thickness:g} mm thick lie {step:g} mm apart; the tissue between them was not imaged."]


def listed(entries: Sequence[str], total: int) -> str:
    """The entries of a message, and how many more there are."""
    return ", ".join(entries) + (f" and {total - len(entries)} more" if total > len(entries) else "")


def _pair(values: Vector) -> str:
    return f"{values[0]:g} x {values[1]:g}"
