"""One series in two forms in one folder, such as single slices and a multi-frame image, or DICOM and NIfTI files."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from ...errors import StudyError
from ...volume import Placement, Study
from ..notes import Notes
from .series import Candidate, Catalogue

PLACE_TOLERANCE_MM = 0.01
"""Of origin and voxel size; NIfTI files hold them in single precision."""
DIRECTION_TOLERANCE = 1e-4
"""Of unit vectors."""
VOXEL_TOLERANCE = 1e-6
"""Relative; NIfTI files hold slope and intercept in single precision."""
_FORMS = ("single frames", "multi-frame", "NIfTI")
"""What is read of a series that came in several: the first."""


class Readable(Protocol):
    """A candidate whose headers are in order."""

    @property
    def placement(self) -> Placement: ...

    def read(self) -> Study: ...


def form_of(entry: Candidate) -> str:
    """In which form a candidate came."""
    if entry.image is not None:
        return "NIfTI"
    return "multi-frame" if entry.frames and entry.frames[0].image else "single frames"


def marked(study: Catalogue, opened: Callable[[Candidate], Readable]) -> Catalogue:
    """The catalogue, each candidate marked that is another in a lesser form, equal in geometry and in every voxel.

    Pixels are decoded only of candidates that came in different forms and agree in all that is cheap to compare.

    Args:
        opened: checks what the headers of a candidate tell; raises StudyError.
    """
    found: dict[int, Candidate] = {}
    entries = sorted(study.candidates, key=lambda entry: _FORMS.index(form_of(entry)))
    for at, entry in enumerate(entries):
        for better in entries[:at]:
            if better.number not in found and _alike(better, entry) and _same(better, entry, opened):
                found[entry.number] = better
                break
    if not found:
        return study
    candidates = tuple(
        replace(entry, twin=found[entry.number].number) if entry.number in found else entry
        for entry in study.candidates
    )
    remarks = tuple(
        f"{entry.describe()} is number {entry.twin} in another form, equal in geometry and every voxel; one was read."
        for entry in candidates
        if entry.twin
    )
    return replace(study, candidates=candidates, notes=study.notes + Notes(remarks=remarks))


def _alike(one: Candidate, other: Candidate) -> bool:
    """Whether two candidates may be one series in two forms, as far as is cheap to see."""
    if form_of(one) == form_of(other) or one.fault or other.fault or one.slices != other.slices:
        return False
    if sorted(one.matrix or ()) != sorted(other.matrix or ()):
        return False
    if form_of(other) == "NIfTI":
        return True
    return (one.patient, one.study_uid, one.modality) == (other.patient, other.study_uid, other.modality)


def _same(one: Candidate, other: Candidate, opened: Callable[[Candidate], Readable]) -> bool:
    try:
        first, second = opened(one), opened(other)
        if not _same_place(first.placement, second.placement):
            return False
        mine, theirs = (part.read().volume.values.astype(np.float64) for part in (first, second))
        return bool(np.allclose(mine, theirs, rtol=VOXEL_TOLERANCE, atol=VOXEL_TOLERANCE * float(np.abs(mine).max())))
    except StudyError:  # An answer from either would say why.
        return False


def _same_place(one: Placement, other: Placement) -> bool:
    def near(mine: Sequence[float], theirs: Sequence[float], tolerance: float) -> bool:
        return bool(np.abs(np.subtract(mine, theirs)).max() <= tolerance)

    return (
        one.shape == other.shape
        and near(one.spacing_mm, other.spacing_mm, PLACE_TOLERANCE_MM)
        and near(one.origin_mm, other.origin_mm, PLACE_TOLERANCE_MM)
        and near(np.ravel(one.direction).tolist(), np.ravel(other.direction).tolist(), DIRECTION_TOLERANCE)
    )
