"""What the headers of a series say of it that its geometry and its images must not contradict."""

from collections.abc import Sequence

from .dicom.frames import Frame
from .dicom.kinds import computed_by, of_another_machine
from .dicom.tags import describe
from .geometry.affine import by_axes
from .geometry.arrangement import Geometry
from .geometry.checks import off_axis, slice_normal
from .geometry.irregular import SPACING_TOLERANCE_MM, SPACING_TOLERANCE_RELATIVE
from .notes import Notes

SQUARE = 1.25
"""Sides of a pixel may differ by this; with more, what is round is no longer so to a network."""
LEAN_DEGREES = 1.0
"""The gantry's tilt and the slices' own may differ by this; headers round both."""


def compare_told(frames: Sequence[Frame], geometry: Geometry, modality: str, name: str) -> Notes:
    """Compare a series with what its headers say beside positions and pixels.

    Args:
        frames: of one volume, as sent, of the first of which is looked at what is the same in all.
        geometry: of these.
        name: the study, as messages call it.
    """
    first = frames[0]
    warnings = [
        of_another_machine(first.instance.tags),
        _computed(first, modality),
        _spacing(first, geometry.spacing_mm[0]),
        _tilt(first),
        not_square(first.spacing),
    ]
    return Notes(tuple(f"{name}: {text}." for text in warnings if text), tuple(_fewer(frames, name)))


def _computed(first: Frame, modality: str) -> str:
    word = computed_by(first.image_type, modality)
    if not word:
        return ""
    return f"{describe('ImageType')} names {word}: the images are computed from others, and may not be what is expected"


def _spacing(first: Frame, step: float) -> str:
    """Every second slice may be gone; some scanners write the gap between slices instead of their distance."""
    told = abs(first.step_told or 0.0)
    thickness = first.thickness or 0.0
    tolerance = max(SPACING_TOLERANCE_MM, SPACING_TOLERANCE_RELATIVE * step)
    if not (told and step) or min(abs(step - told), abs(step - told - thickness)) <= tolerance:
        return ""
    return (
        f"{describe('SpacingBetweenSlices')} is {told:g} mm, but the slices lie {step:g} mm apart; some may be missing"
    )


def _tilt(first: Frame) -> str:
    tilt = abs(first.instance.tags.number_or_none("GantryDetectorTilt") or 0.0)
    if first.orientation is None or not tilt:
        return ""
    normal = slice_normal(first.orientation)
    lean = off_axis(normal if normal[2] >= 0 else -normal)
    if abs(tilt - lean) <= LEAN_DEGREES:
        return ""
    return (
        f"{describe('GantryDetectorTilt')} is {tilt:g} degrees, but the slices lean by {lean:.1f} degrees, by "
        f"{describe('ImageOrientationPatient')}"
    )


def not_square(spacing: Sequence[float] | None) -> str:
    """What is odd of pixels that are much longer than wide, or wider than long; empty where they are not.

    Args:
        spacing: mm between rows, then between columns, or any numbers in their ratio.
    """
    if spacing is None or min(spacing) <= 0 or max(spacing) <= SQUARE * min(spacing):
        return ""
    return f"its pixels are {by_axes(spacing)} mm large, rows first; a network sees them as squares"


def _fewer(frames: Sequence[Frame], name: str) -> list[str]:
    """Slices missing at an end leave no gap."""
    told = frames[0].instance.tags.whole_or_none("ImagesInAcquisition") or 0
    if told <= len(frames):
        return []
    return [f"{name}: {len(frames)} images came; {describe('ImagesInAcquisition')} says {told}."]
