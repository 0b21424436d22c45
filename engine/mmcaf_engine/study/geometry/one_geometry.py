"""Several series of one study as one region of the patient: same patient, same orientation, same extent."""

from collections.abc import Sequence

import numpy as np

from ...errors import StudyError
from ...volume import Placement
from .checks import AXIAL_TOLERANCE_DEGREES

MIN_OVERLAP = 0.9
"""Part of the longer extent, along each axis, that two series must share; matrix and spacing may differ."""

_AXES = ("head to feet", "front to back", "left to right")


def check_one_geometry(placements: Sequence[tuple[str, Placement]], name: str) -> None:
    """Compare each series with the first; a network that takes several resizes each to the same grid.

    Args:
        placements: (input, where its volume lies).
        name: the study, as messages call it.

    Raises:
        StudyError: another frame of reference, orientation, or extent.
    """
    (first, place), *others = placements
    for other, compared in others:
        if place.frame and compared.frame and place.frame != compared.frame:
            raise StudyError(
                f"{name}: {first} and {other} have different frames of reference (0020,0052): the patient was "
                "positioned anew between them, and their positions cannot be compared.",
                "Give phases of one examination.",
            )
        angle = _angle(place, compared)
        if angle > AXIAL_TOLERANCE_DEGREES:
            raise StudyError(
                f"{name}: {other} is turned by {angle:.1f} degrees against {first}; at most "
                f"{AXIAL_TOLERANCE_DEGREES:g} was expected.",
                "Give phases of one geometry.",
            )
        for axis in range(3):
            mine, theirs = _extent(place, place, axis), _extent(compared, place, axis)
            shared = max(min(mine[1], theirs[1]) - max(mine[0], theirs[0]), 0.0)
            longer = max(mine[1] - mine[0], theirs[1] - theirs[0])
            if shared < MIN_OVERLAP * longer:
                raise StudyError(
                    f"{name}: {first} covers {mine[1] - mine[0]:.1f} mm from {_AXES[axis]}, {other} "
                    f"{theirs[1] - theirs[0]:.1f} mm, and they share {shared:.1f} mm; at least {MIN_OVERLAP:.0%} of "
                    "the longer one was expected.",
                    "Give phases that cover the same region.",
                )


def _angle(one: Placement, other: Placement) -> float:
    """The largest angle between corresponding axes, degrees."""
    cosines = np.einsum("ij,ij->i", np.asarray(one.direction), np.asarray(other.direction))
    return float(np.degrees(np.arccos(np.clip(cosines.min(), -1, 1))))


def _extent(place: Placement, reference: Placement, axis: int) -> tuple[float, float]:
    """From the first voxel's near side to the last one's far side along an axis of `reference`, mm."""
    start = float(np.dot(place.origin_mm, reference.direction[axis]))
    step = place.spacing_mm[axis]
    return start - step / 2, start + (place.shape[axis] - 0.5) * step
