"""The values that pass along the flow: what was read from a study, and what it says of itself."""

from dataclasses import dataclass, field
from datetime import date
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Intensity = Literal["hounsfield", "rescaled", "stored"]
"""Hounsfield units; values after the rescale, in whatever unit; raw pixel values."""


Arrays = dict[str, NDArray[Any]]
"""By name, in the types of the manifest: float32, and int64 for text inputs."""


Vector = tuple[float, float, float]

HEAD_BACK_LEFT_LPS: tuple[Vector, Vector, Vector] = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
"""Directions of slices, rows and columns of a volume in the orientation that studies are read in."""


@dataclass(frozen=True)
class Volume:
    """One series as a block of slices.

    One that the engine has read runs toward head, back and left. One that a caller gives may lie in any axial
    orientation, as `direction` says, and is turned.

    values: int16 or float32 [D, H, W] (slice, row, column), of this intensity.
    spacing_mm: (between slices, between rows, between columns); the first is 0.0 for a single slice.
    origin_mm: patient coordinates (LPS) of the first slice's first pixel centre.
    direction: rows of the 3x3 matrix are unit vectors along slices, rows and columns, in LPS.
    """

    values: NDArray[np.int16] | NDArray[np.float32]
    intensity: Intensity
    spacing_mm: Vector
    origin_mm: Vector = (0.0, 0.0, 0.0)
    direction: tuple[Vector, Vector, Vector] = HEAD_BACK_LEFT_LPS


@dataclass(frozen=True)
class SourceImage:
    """The image that a slice was made from.

    sop_class_uid: (0008,0016). sop_instance_uid: (0008,0018). frame: from 1, of a multi-frame image; else None.
    position_mm: LPS, of the centre of its first pixel; (0020,0032).
    number: InstanceNumber (0020,0013) of a single-frame image, which viewers show; it may rise either way.
    """

    sop_class_uid: str
    sop_instance_uid: str
    frame: int | None = None
    position_mm: Vector | None = None
    number: int | None = None


@dataclass(frozen=True)
class SourceHeader:
    """What objects made of a result take over from the image that a series begins with; never shown nor logged.

    These are the elements of its patient, study, series, equipment and image plane, without pixels, as an encoded data
    set: so what stands in the header arrives as it was sent, sequences too, nobody can change it, and it can be handed
    to another process.

    encoded: Explicit VR Little Endian, texts in UTF-8. What could not be read is left out.
    """

    encoded: bytes = field(repr=False)

    def dataset(self) -> "Dataset":
        """The elements as a data set of its own."""
        from pydicom.filereader import read_dataset

        return read_dataset(BytesIO(self.encoded), is_implicit_VR=False, is_little_endian=True)


@dataclass(frozen=True)
class Placement:
    """Where a volume lies in the patient; see `Volume`.

    shape: slices, rows, columns. frame: its FrameOfReferenceUID; empty where not known.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    direction: tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]
    frame: str = ""


@dataclass(frozen=True)
class PatientHeader:
    """What the study's header says of the patient; compared with the record, never logged.

    age in years at the study, weight in kg, study_date; None where the header does not say. unread: elements with
    a value that cannot be read, as messages call them. contradicting: elements of which each says another thing.
    """

    patient_id: str | None = field(default=None, repr=False)
    sex: Literal["M", "F"] | None = field(default=None, repr=False)
    age: float | None = field(default=None, repr=False)
    weight: float | None = field(default=None, repr=False)
    study_date: date | None = field(default=None, repr=False)
    unread: tuple[str, ...] = ()
    contradicting: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """A blank identifier is none."""
        if isinstance(self.patient_id, str) and not self.patient_id.strip():
            object.__setattr__(self, "patient_id", None)


@dataclass(frozen=True)
class StudyFacts:
    """What there is to say of a series that was read, without its pixels.

    A NIfTI file has no UIDs and says nothing of the patient; its modality is "NIfTI".

    uids: "study", "series", "frame_of_reference" (where present), as in the DICOM header.
    slices, spacing_mm: of the volume; see `Volume`.
    warnings: sentences on what was irregular and what was done about it. remarks: on what is merely absent, or was
        passed over and could not change the answer; `strict` does not refuse these.
    images: what each slice was made from, in slice order, None for one that was interpolated; empty where the study
        does not consist of DICOM images.
    header: of the image that the first slice was made from; None where the study does not consist of DICOM images.
    body_part: BodyPartExamined (0018,0015), else what AnatomicRegionSequence (0008,2218) codes, as such a term; empty
        where the header says neither.
    """

    modality: str
    uids: dict[str, str]
    patient: PatientHeader
    slices: int
    spacing_mm: tuple[float, float, float]
    warnings: tuple[str, ...] = ()
    images: tuple[SourceImage | None, ...] = ()
    body_part: str = ""
    remarks: tuple[str, ...] = ()
    header: SourceHeader | None = None


@dataclass(frozen=True)
class Study:
    """A series that was read, and its pixels; see `StudyFacts` for the rest."""

    volume: Volume
    modality: str
    uids: dict[str, str]
    patient: PatientHeader
    warnings: tuple[str, ...] = ()
    images: tuple[SourceImage | None, ...] = ()
    body_part: str = ""
    remarks: tuple[str, ...] = ()
    header: SourceHeader | None = None

    @property
    def slices(self) -> int:
        return len(self.volume.values)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        return self.volume.spacing_mm
