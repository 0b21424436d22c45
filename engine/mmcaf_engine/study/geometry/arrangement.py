"""Slices in patient order: sorted by position, checked, and turned to one orientation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..dicom.tags import describe
from ..notes import Notes
from .checks import (
    Plane,
    Vector,
    check_axial,
    common_orientation,
    common_spacing,
    off_axis,
    required,
    slice_normal,
    thinner_than_step,
)
from .irregular import gantry_shear, one_per_place, regular_spacing
from .policies import Policies


@dataclass(frozen=True)
class Geometry:
    """How slices as sent become the canonical volume.

    The volume runs toward the head with its slices, toward the patient's back with its rows and
    toward the patient's left with its columns (+z, +y, +x in LPS), whichever way the patient lay
    and the slices were stored; for a patient on the back this is the order and view of a usual
    axial series, and no pixel changes.

    order: index of the sent slice for each slice of the volume.
    transpose, then flip_rows, flip_columns: what to do to each slice's [H, W] pixels.
    spacing_mm, origin_mm, direction: as in `volume.Volume`, after the flips and repairs.
    slots: the repaired volume's slice for each of `order`; others are interpolated. Empty: none missing.
    shifts: (rows, columns) in pixels of the turned slice, for each of `order`: how far beyond a pixel of the
        repaired slice its value lies in the sent one. Empty: no tilt.
    copies: (left out, kept) indices of sent slices at one position.
    """

    order: tuple[int, ...]
    transpose: bool
    flip_rows: bool
    flip_columns: bool
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    direction: tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]
    notes: Notes
    slots: tuple[int, ...] = ()
    shifts: tuple[tuple[float, float], ...] = ()
    copies: tuple[tuple[int, int], ...] = ()

    def arrange(self, pixels: NDArray[np.generic]) -> NDArray[np.generic]:
        """A view of one sent slice [H, W] as it stands in the volume."""
        arranged = pixels.T if self.transpose else pixels
        return arranged[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]


def arrange_slices(
    planes: Sequence[Plane], name: str, policies: Policies | None = None, *, modality: str = ""
) -> Geometry:
    """Order the slices of a series and work out its geometry.

    Args:
        planes: at least one slice; of several at one position, the policy "first" keeps the first here.
        name: the study, as messages call it.
        policies: what to accept of missing, tilted, repeated and oblique slices; nothing without them.
        modality: of the series; oblique slices are accepted of MR alone.

    Raises:
        StudyError: positions, orientations or pixel spacings are missing or differ, steps are
            irregular, the slices are not axial; or, unless the policies accept it, two slices are at
            the same place, slices are missing, or the gantry was tilted.
    """
    policies = policies or Policies()
    if len(planes) == 1 and (planes[0].position is None or planes[0].orientation is None):
        return _unplaced(planes[0], name)
    positions = required(planes, "ImagePositionPatient", [plane.position for plane in planes], name)
    orientations = required(planes, "ImageOrientationPatient", [plane.orientation for plane in planes], name)
    spacings = required(planes, "PixelSpacing", [plane.spacing for plane in planes], name)
    orientation = common_orientation(planes, orientations, name)
    between_rows, between_columns = common_spacing(planes, spacings, name)
    rows, columns = planes[0].rows, planes[0].columns
    normal = slice_normal(orientation)
    normal = normal if normal[2] >= 0 else -normal

    heights = positions @ normal
    kept = one_per_place(planes, np.argsort(heights, kind="stable"), heights, positions, policies.duplicates, name)
    heights, positions = heights[kept.order], positions[kept.order]
    ordered = [planes[index] for index in kept.order]
    warnings = [*kept.warnings]
    step, offsets, axis = 0.0, None, normal
    slots: tuple[int, ...] = (0,)
    if len(ordered) > 1:
        field_mm = min(rows * between_rows, columns * between_columns)
        offsets, remarks = gantry_shear(ordered, heights, positions, normal, policies.tilt, field_mm, name)
        warnings += remarks
    if offsets is not None:
        travel = (positions[-1] - positions[0]) / np.linalg.norm(positions[-1] - positions[0])
        axis = max(normal, travel, key=lambda vector: float(vector[2]))  # the table moves along the patient
        positions = positions - offsets
    leaning = check_axial(off_axis(axis), name, policies, mr=modality == "MR")
    warnings += leaning.warnings
    if len(ordered) > 1:
        spacing = regular_spacing(heights, policies.gaps, name)
        step, slots = spacing.step, spacing.slots
        warnings += [*spacing.warnings, *thinner_than_step(ordered, step, name)]
    else:
        warnings.append(_single_slice(name))
    along_columns, along_rows = orientation[:3], orientation[3:]
    transpose = bool(abs(along_columns[0]) < abs(along_columns[1]))
    if transpose:
        along_columns, along_rows = along_rows, along_columns
        between_rows, between_columns = between_columns, between_rows
        rows, columns = columns, rows
    flip_rows, flip_columns = bool(along_rows[1] < 0), bool(along_columns[0] < 0)
    origin = positions[0].copy()
    if flip_rows:
        origin += along_rows * between_rows * (rows - 1)
        along_rows = -along_rows
    if flip_columns:
        origin += along_columns * between_columns * (columns - 1)
        along_columns = -along_columns
    if transpose or flip_rows or flip_columns:
        warnings.append(
            f"{name}: the slices are stored rotated or mirrored; turned so that rows run to the patient's back "
            "and columns to the patient's left."
        )
    shifts: tuple[tuple[float, float], ...] = ()
    if offsets is not None:
        by_row, by_column = -offsets @ along_rows / between_rows, -offsets @ along_columns / between_columns
        shifts = tuple((float(row), float(column)) for row, column in zip(by_row, by_column, strict=True))
    return Geometry(
        tuple(int(index) for index in kept.order),
        transpose,
        flip_rows,
        flip_columns,
        (step, between_rows, between_columns),
        _triple(origin),
        (_triple(normal), _triple(along_rows), _triple(along_columns)),
        Notes(tuple(warnings), leaning.remarks),
        slots if slots[-1] >= len(slots) else (),
        shifts,
        kept.copies,
    )


def _unplaced(plane: Plane, name: str) -> Geometry:
    """A single slice that does not say where it lies; its pixels are taken as they are."""
    spacing = required([plane], "PixelSpacing", [plane.spacing], name)
    between_rows, between_columns = common_spacing([plane], spacing, name)
    missing = "ImagePositionPatient" if plane.position is None else "ImageOrientationPatient"
    warnings = (
        _single_slice(name),
        f"{name}: {describe(missing)} is missing; the slice is taken to be axial, as it is stored.",
    )
    directions = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    return Geometry(
        (0,), False, False, False, (0.0, between_rows, between_columns), (0.0, 0.0, 0.0), directions, Notes(warnings)
    )


def _single_slice(name: str) -> str:
    return f"{name}: a single slice came; give the directory or zip to read the whole series."


def _triple(vector: Vector) -> tuple[float, float, float]:
    return float(vector[0]) + 0.0, float(vector[1]) + 0.0, float(vector[2]) + 0.0  # no negative zero
