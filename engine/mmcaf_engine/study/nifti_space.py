"""What a NIfTI header says of places and values: sform against qform, the space they are of, and the rescale."""

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import StudyError
from .geometry.affine import Affine

REMEDY = "Convert the series again from DICOM, for example with dcm2niix, or give its DICOM files."

SAME_PLACE_MM = 0.1
"""The corners of a grid by sform and by qform may lie this far apart; both are written in single precision."""

_OWN_SPACES = (1, 2)
"""Codes of the coordinates in which the patient was imaged: the scanner's, or those of the patient's other images."""
_SPACES = {3: "the atlas of Talairach and Tournoux", 4: "the MNI 152 template", 5: "another template"}
"""NIfTI-1.1, section "3D image (volume) orientation and location in space"."""
FIRST_INTENT = 1001
"""Smaller codes are of statistics."""
_INTENTS = {1001: "estimates", 1002: "labels", 1003: "names of regions", 1006: "displacements", 1007: "vectors"}
"""NIfTI-1.1, section "Interpretation of voxel data"."""


def header_affine(header: Any, name: str) -> Affine:
    """From voxel indices to mm, RAS: by the sform, or the qform where that is not set.

    Raises:
        StudyError: neither is set.
    """
    if int(header["sform_code"]) > 0:
        return np.asarray(header.get_sform(), np.float64)
    if int(header["qform_code"]) > 0:
        return _qform(header)
    raise StudyError(
        f"{name}: neither sform_code nor qform_code is set, so that nothing says how the patient lies in it.", REMEDY
    )


def warnings_on_space(header: Any, affine: Affine, shape: tuple[int, int, int], name: str) -> tuple[str, ...]:
    """Warnings where the coordinates are not those of the scanner, or sform and qform, both set, lie apart.

    Args:
        affine: by `header_affine`, found in order.

    Raises:
        StudyError: sform and qform exchange axes, so that left may be right.
    """
    field = "sform_code" if int(header["sform_code"]) > 0 else "qform_code"
    warnings = []
    if (code := int(header[field])) not in _OWN_SPACES:
        space = _SPACES.get(code, "a space that the standard does not name")
        warnings.append(f"{name}: {field} is {code}: it lies in {space}, not as the patient lay in the scanner.")
    if field == "sform_code" and int(header["qform_code"]) > 0:
        warnings += _compared(affine, header, shape, name)
    return tuple(warnings)


def rescale(header: Any, name: str) -> tuple[float, float]:
    """Slope and intercept from stored values to intensities; a slope of 0 or NaN says that there is none.

    Raises:
        StudyError: an infinite slope, or an intercept that is not finite beside a slope.
    """
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or np.isnan(slope):
        return 1.0, 0.0
    for field, value in (("scl_slope", slope), ("scl_inter", intercept)):
        if not np.isfinite(value):
            raise StudyError(f"{name}: {field} is {value:g}; a finite number was expected.", REMEDY)
    return slope, intercept


def warnings_on_values(header: Any, dtype: np.dtype[Any], name: str) -> tuple[str, ...]:
    """Warnings where the header says that values are no intensities, or contradicts itself in what they are."""
    warnings = []
    if intent := int(header["intent_code"]):
        what = _INTENTS.get(intent, "a statistic or a map" if intent < FIRST_INTENT else "another kind")
        warnings.append(f"{name}: intent_code is {intent}: its values are {what}, not intensities of an image.")
    if int(header["bitpix"]) != 8 * dtype.itemsize:
        warnings.append(
            f"{name}: bitpix is {int(header['bitpix'])}, but values of its datatype have {8 * dtype.itemsize} bits; "
            "these were read."
        )
    if float(header["scl_slope"]) < 0:
        warnings.append(f"{name}: scl_slope is {float(header['scl_slope']):g}: bright and dark are exchanged by it.")
    return tuple(warnings)


def _qform(header: Any) -> Affine:
    """By the quaternion; pixdim[0] of 0 stands for 1, as the standard has it."""
    copied = header.copy()
    if float(copied["pixdim"][0]) == 0:
        copied["pixdim"][0] = 1
    return np.asarray(copied.get_qform(), np.float64)


def _compared(affine: Affine, header: Any, shape: tuple[int, int, int], name: str) -> list[str]:
    from nibabel.orientations import aff2axcodes
    from nibabel.spatialimages import HeaderDataError

    try:
        other = _qform(header)
    except (HeaderDataError, ValueError):
        other = np.full((4, 4), np.nan)
    if not np.isfinite(other).all():
        return [f"{name}: its qform holds no finite affine and was not compared; the sform was taken."]
    apart = _farthest(affine, other, shape)
    if apart <= SAME_PLACE_MM:
        return []
    axes, others = ("".join(letter or "?" for letter in aff2axcodes(one)) for one in (affine, other))
    if axes != others:
        raise StudyError(
            f"{name}: sform and qform disagree: its axes run to {axes} by the one and to {others} by the other, so "
            f"that voxels lie up to {apart:.1f} mm apart; one orientation was expected.",
            REMEDY,
        )
    return [f"{name}: sform and qform disagree: voxels lie up to {apart:.1f} mm apart; the sform was taken."]


def _farthest(affine: Affine, other: Affine, shape: tuple[int, int, int]) -> float:
    """How far apart a corner of the grid lies by two affines, at most; no voxel between lies farther."""
    corners: NDArray[np.float64] = np.array([(*corner, 1.0) for corner in product(*((0, side - 1) for side in shape))])
    return float(np.linalg.norm(corners @ (affine - other).T[:, :3], axis=1).max())
