"""A grid of voxels by its affine: checked, and turned toward the patient's head, back and left."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import StudyError
from ...orientation import HEAD_BACK_LEFT
from ...volume import Placement
from .checks import FARTHEST_MM

SHEAR_DEGREES = 0.5
"""Axes may miss a right angle by this much."""
SPACING_TOLERANCE = 0.01
"""The voxel size that is declared may differ from that by the affine by this share."""

LPS_RAS = np.diag([-1.0, -1.0, 1.0])
"""From DICOM's patient coordinates to those of NIfTI, and back."""

Affine = NDArray[np.float64]
"""[4, 4], from the indices of a voxel to mm, RAS."""


def check_affine(affine: Affine, declared: NDArray[np.float64], name: str, *, by: str, remedy: str) -> None:
    """Refuse an affine that does not place its voxels on a grid with right angles.

    Args:
        declared: voxel size along the three axes, mm, as said beside the affine.
        by: what says so.

    Raises:
        StudyError: not finite, singular, sheared, or of another voxel size.
    """
    if not np.isfinite(affine).all() or np.abs(affine).max() > FARTHEST_MM:
        raise StudyError(f"{name}: its affine holds values that are not finite, or above {FARTHEST_MM:g} mm.", remedy)
    axes = affine[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    if lengths.min() <= 0 or abs(np.linalg.det(axes / np.maximum(lengths, 1e-12))) < 1e-3:
        raise StudyError(f"{name}: its affine is singular: the voxels' axes do not span a volume.", remedy)
    cosines = (axes / lengths).T @ (axes / lengths)
    shear = float(np.degrees(np.arcsin(np.clip(np.abs(cosines - np.eye(3)).max(), 0, 1))))
    if shear > SHEAR_DEGREES:
        raise StudyError(
            f"{name}: its affine is sheared by {shear:.1f} degrees; at most {SHEAR_DEGREES:g} was expected, of a grid "
            "with right angles.",
            remedy,
        )
    if (np.abs(declared - lengths) > SPACING_TOLERANCE * lengths).any():
        raise StudyError(
            f"{name}: voxels of {by_axes(declared)} mm by {by}, but {by_axes(lengths)} mm by its affine; at most "
            f"{SPACING_TOLERANCE:.0%} of difference was expected.",
            remedy,
        )


def place(affine: Affine, shape: tuple[int, int, int]) -> tuple[NDArray[np.float64], Placement]:
    """How to turn a checked grid, and where it then lies; by `checks.off_axis` of its direction, how axial it is.

    Returns:
        nibabel's orientation, from the stored axes to slices, rows and columns of the canonical volume; and the
        placement of that volume.
    """
    from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

    orientation = ornt_transform(io_orientation(affine), axcodes2ornt(tuple(HEAD_BACK_LEFT)))
    canonical = affine @ inv_ornt_aff(orientation, shape)
    axes = LPS_RAS @ canonical[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    unit = axes / lengths
    turned = [shape[int(at)] for at in np.argsort(orientation[:, 0])]
    rows = [_triple(unit[:, at]) for at in range(3)]
    placement = Placement(
        (turned[0], turned[1], turned[2]),
        _triple(lengths),
        _triple(LPS_RAS @ canonical[:3, 3]),
        (rows[0], rows[1], rows[2]),
    )
    return orientation, placement


def by_axes(lengths: Any) -> str:
    """For example 12 x 0.7 x 0.7."""
    return " x ".join(f"{length:g}" for length in lengths)


def _triple(vector: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(vector[0]) + 0.0, float(vector[1]) + 0.0, float(vector[2]) + 0.0  # no negative zero
