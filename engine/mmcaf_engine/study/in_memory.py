"""Volumes that a caller holds in memory, checked and turned as files are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import get_type_hints

import numpy as np
from numpy.typing import NDArray

from ..arguments import checked, expect
from ..cancel import Progress
from ..errors import StudyError, UsageError
from ..timing import span
from ..volume import Intensity, PatientHeader, Placement, SourceImage, Study, StudyFacts, Volume
from ..workers import each_slice
from .dicom.frames import MAX_ROWS, MAX_SLICES
from .dicom.pixels import Receive
from .geometry.affine import LPS_RAS, by_axes, check_affine, place
from .geometry.checks import check_axial, off_axis
from .geometry.policies import Policies
from .notes import Notes

GIVEN = "as given"
"""Why this series, where a caller names no other."""

_REMEDY = "Give the spacing in mm and the direction as unit vectors along slices, rows and columns, in LPS."


@dataclass(frozen=True)
class OpenVolume:
    """One volume as `reading.OpenSeries` is one series."""

    study: Study
    orientation: NDArray[np.float64]
    placement: Placement

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows and columns of the volume to come."""
        return self.placement.shape

    @property
    def images(self) -> tuple[SourceImage | None, ...]:
        """What each slice of the volume was made from; empty where the caller does not say."""
        given = self.study.images
        return given[::-1] if self.orientation[0][1] < 0 else given

    @property
    def intensity(self) -> Intensity:
        """What its values are."""
        return self.study.volume.intensity

    @property
    def patient(self) -> PatientHeader:
        """What the caller says of the patient."""
        return self.study.patient

    def read(self, progress: Progress | None = None) -> Study:
        """The volume, toward head, back and left.

        Args:
            progress: called with ("decode", slices, slices).
        """
        from nibabel.orientations import apply_orientation

        with span("decode"):
            values = np.ascontiguousarray(apply_orientation(self.study.volume.values, self.orientation))
        if progress is not None:
            progress("decode", len(values), len(values))
        at = self.placement
        turned = Volume(values, self.study.volume.intensity, at.spacing_mm, at.origin_mm, at.direction)
        return replace(self.study, volume=turned, images=self.images)

    def stream(self, receive: Receive, progress: Progress | None = None) -> StudyFacts:
        """Hand over each slice of the volume, in any order and once."""
        read = self.read(progress)
        each_slice(read.volume.values, receive)
        return StudyFacts(
            modality=read.modality,
            uids=read.uids,
            patient=read.patient,
            slices=read.slices,
            spacing_mm=read.spacing_mm,
            warnings=read.warnings,
            images=read.images,
            body_part=read.body_part,
            remarks=read.remarks,
            header=read.header,
        )


def open_volumes(
    given: Volume | Study | Mapping[str, Volume | Study],
    inputs: Sequence[str],
    *,
    intensity: Intensity,
    modality: str,
    policies: Policies | None = None,
) -> dict[str, OpenVolume]:
    """Check what a caller holds in memory: one volume, or one for each input by name.

    Args:
        given: a volume; or a study, where the patient and UIDs are known, so that the record can be compared.
        inputs: the network's volume inputs.
        intensity: in which the network was trained.
        modality: of the network; a volume does not tell its own.
        policies: of these, what to accept of slices of MR that lean.

    Raises:
        UsageError: names that differ from the inputs, another intensity or modality, or no array of numbers.
        StudyError: a shape, spacing or direction that no axial volume has.
    """
    by_name = dict(given) if isinstance(given, Mapping) else {inputs[0]: given}
    if set(by_name) != set(inputs):
        raise UsageError(
            f"study: expected one volume for each of {', '.join(inputs)}, got {', '.join(map(str, by_name))}.",
            "Give a mapping from input to volume.",
        )
    return {name: _opened(by_name[name], name, intensity, modality, policies or Policies()) for name in inputs}


def _opened(given: Volume | Study, name: str, intensity: Intensity, modality: str, policies: Policies) -> OpenVolume:
    if not isinstance(given, Volume | Study):
        raise UsageError(f"study: expected a Volume or a Study for {name}, got {type(given).__name__}.")
    study = _described(given, name) if isinstance(given, Study) else Study(given, modality, {}, PatientHeader())
    if study.modality != modality:
        raise UsageError(f"{name}: expected a volume of {modality}, got one of {study.modality}.")
    volume = study.volume
    if volume.intensity != intensity:
        raise UsageError(
            f'{name}: expected "{intensity}" intensities, in which the network was trained, got "{volume.intensity}".'
        )
    values = _numbers(volume.values, name)
    if study.images and len(study.images) != len(values):
        raise UsageError(f"{name}: {len(study.images)} source images of {len(values)} slices; one each was expected.")
    spacing = _array(volume.spacing_mm, (3,), f"{name}: expected three spacings above 0 mm")
    if not (np.isfinite(spacing) & (spacing > 0)).all():
        raise StudyError(f"{name}: expected three spacings above 0 mm, got {by_axes(spacing)}.", _REMEDY)
    affine = _affine(volume, spacing, name)
    check_affine(affine, spacing, name, by="spacing_mm", remedy=_REMEDY)
    shape = (values.shape[0], values.shape[1], values.shape[2])
    orientation, placement = place(affine, shape)
    leaning = check_axial(off_axis(np.asarray(placement.direction[0])), name, policies, mr=modality == "MR")
    if study.images and int(orientation[0][0]) != 0:
        raise UsageError(
            f"{name}: source images are of slices along the first axis, which does not run along the patient here.",
            "Give the slices first, or leave the source images out.",
        )
    notes = Notes(study.warnings, study.remarks) + leaning
    read = replace(study, volume=replace(volume, values=values), warnings=notes.warnings, remarks=notes.remarks)
    return OpenVolume(read, orientation, placement)


def _described(given: Study, name: str) -> Study:
    """What a caller says of a volume, each of the type that it should be; messages name no value of it."""
    expect(f"{name}.volume", given.volume, (Volume,))
    of_study, of_patient = get_type_hints(Study), get_type_hints(PatientHeader)
    facts = {part.name: getattr(given, part.name) for part in fields(Study) if part.name != "volume"}
    found = checked(facts, of_study, error=StudyError, where=f"{name}.")
    patient = {part.name: getattr(found["patient"], part.name) for part in fields(PatientHeader)}
    found["patient"] = PatientHeader(**checked(patient, of_patient, error=StudyError, where=f"{name}.patient."))
    return Study(given.volume, **found)


def _numbers(values: object, name: str) -> NDArray[np.int16] | NDArray[np.float32]:
    """[D, H, W] in a type that the engine works on; integers that fit int16 stay exact."""
    if isinstance(values, np.ma.MaskedArray):
        raise UsageError(f"{name}: a masked array; nothing says what its masked voxels are.", "Fill them in first.")
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "iuf":
        kind = values.dtype if isinstance(values, np.ndarray) else type(values).__name__
        raise UsageError(f"{name}: expected a numpy array of int16 or float32, got {kind}.")
    if values.ndim != 3 or not min(values.shape) >= 1 or max(values.shape) > min(MAX_SLICES, MAX_ROWS):
        raise StudyError(
            f"{name}: expected slices x rows x columns, each 1 to {min(MAX_SLICES, MAX_ROWS)}, got "
            f"{by_axes(values.shape)}.",
            "Give one volume of three axes.",
        )
    if values.dtype.kind in "iu":
        whole = np.iinfo(np.int16)
        if values.size and (values.min() < whole.min or values.max() > whole.max):
            return values.astype(np.float32)
        return values.astype(np.int16, copy=False)
    return values.astype(np.float32, copy=False)


def _affine(volume: Volume, spacing: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """[4, 4], from slice, row and column to mm, RAS."""
    expected = f"{name}: expected a 3 x 3 direction and an origin of 3 values in mm"
    direction, origin = _array(volume.direction, (3, 3), expected), _array(volume.origin_mm, (3,), expected)
    affine = np.eye(4)
    signs = np.diag(LPS_RAS)  # a product of matrices would add 0 times what is not finite
    affine[:3, :3] = signs[:, np.newaxis] * (direction.T * spacing)
    affine[:3, 3] = signs * origin
    return affine


def _array(given: object, shape: tuple[int, ...], expected: str) -> NDArray[np.float64]:
    """Real numbers in this shape."""
    try:
        values = np.asarray(given)
    except ValueError:  # rows of different lengths
        values = np.asarray(None)
    if values.dtype.kind not in "iuf":
        raise StudyError(f"{expected}, got what is no array of numbers ({type(given).__name__}).", _REMEDY)
    if values.shape != shape:
        raise StudyError(f"{expected}, got an array of shape {values.shape}.", _REMEDY)
    return values.astype(np.float64)
