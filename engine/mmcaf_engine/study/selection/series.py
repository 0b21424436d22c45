"""The instances of a study, grouped into the candidates for the volume."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ...errors import StudyError
from ..copies import identity
from ..dicom.concatenation import missing_parts
from ..dicom.examined import Examined, read_examined
from ..dicom.frames import Frame, read_frames
from ..dicom.instance import IMAGES_IN_MOSAIC, Instance
from ..dicom.tags import describe
from ..faults import shown_text
from ..geometry.checks import slice_normal
from ..nifti import NIFTI, NiftiImage
from ..notes import NONE, Notes
from ..scan import Headers
from .grouping import Group, groups, plane_of

OTHER_OBJECTS = {
    "SR": "structured report (SR)",
    "SEG": "segmentation (SEG)",
    "RTSTRUCT": "structure set (RTSTRUCT)",
    "RTPLAN": "radiotherapy plan (RTPLAN)",
    "RTDOSE": "radiotherapy dose (RTDOSE)",
    "KO": "key object selection (KO)",
    "PR": "presentation state (PR)",
    "REG": "registration (REG)",
    "DOC": "document (DOC)",
}
"""Modalities (PS3.3 C.7.3.1.1.1) that are not acquired images, as messages name them."""
SLICES = {f"1.2.840.10008.5.1.4.1.1.{last}" for last in ("2", "2.1", "2.2", "4", "4.1", "4.4", "128", "128.1", "130")}
"""SOP classes of CT, MR and PET images (PS3.4 B.5), which always have pixels."""
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
"""SOP class of screenshots; multi-frame ones append a number."""
LOCALIZER = {"LOCALIZER", "SCOUT", "TOPOGRAM", "SCANOGRAM", "SURVIEW"}
"""Values of ImageType (PS3.3 C.8.2.1.1.1) on survey images, with vendors' own words."""
MOSAIC = "MOSAIC"
"""Value of ImageType on images of a volume's slices side by side."""
PLANES = ("sagittal", "coronal", "axial", "unknown")
"""Names of `Candidate.plane`; its -1 is the last."""


@dataclass(frozen=True)
class Candidate:
    """Frames that belong together and could be the volume.

    study_uid, patient: StudyInstanceUID and PatientID, to tell studies apart; the latter is never shown.
    plane: the patient axis that the slices are across, 0 to 2 for x, y, z; -1 when unknown.
    slices: frames, and images of the series that could not be read.
    step_mm: usual distance between neighbours; 0 when unknown or for a single slice.
    extent_mm: from the first slice to the last; 0 when unknown.
    oblique_degrees: between the slice normal and its patient axis.
    fault: why an image of this series could not be read, if so.
    twin: the number of the candidate that this is in another form, equal in every voxel; 0 where it is none.
    label: what tells it from others of its series, in words; empty where it is all of it.
    number: as in the list that messages show, from 1.
    image: the NIfTI file that this is, which has no frames and no UIDs; `description` is then its name.
    """

    study_uid: str
    series_uid: str
    series_number: int | None
    modality: str
    description: str
    kernel: str
    plane: int
    frames: tuple[Frame, ...]
    slices: int
    step_mm: float = 0.0
    extent_mm: float = 0.0
    oblique_degrees: float = 0.0
    fault: StudyError | None = None
    patient: str = field(default="", repr=False)
    number: int = 0
    image: NiftiImage | None = None
    label: str = ""
    twin: int = 0

    def fits(self, modality: str | None) -> bool:
        """Whether it may be of a network's modality. A NIfTI file does not tell; it cannot be CT, for want of HU."""
        return modality in (None, self.modality) or (self.modality == NIFTI and modality != "CT")

    @property
    def matrix(self) -> tuple[int, int] | None:
        """Rows and columns; None where no image could be read."""
        if self.image is not None:
            return self.image.placement.shape[1:]
        return (self.frames[0].rows, self.frames[0].columns) if self.frames else None

    @property
    def source(self) -> str:
        """What it is told by: its SeriesInstanceUID, or its file's name."""
        return self.description if self.modality == NIFTI else shown_text(self.series_uid)

    @property
    def examined(self) -> tuple[Examined, ...]:
        """What the headers of its images say of the part of the body, each once."""
        instances = {id(frame.instance): frame.instance for frame in self.frames}.values()
        return tuple(dict.fromkeys(read_examined(instance) for instance in instances))

    @property
    def body_part(self) -> str:
        """What its first header says was examined; empty where it does not say."""
        return read_examined(self.frames[0].instance).told if self.frames else ""

    @property
    def derived(self) -> bool:
        """Whether the images were computed from others (PS3.3 C.7.6.1.1.2)."""
        return bool(self.frames) and self.frames[0].image_type[:1] == ("DERIVED",)

    def describe(self) -> str:
        """One line without patient data."""
        matrix = f" of {self.matrix[0]} x {self.matrix[1]}" if self.matrix else ""
        parts = [
            "no series number" if self.series_number is None else f"series {self.series_number}",
            self.modality or "no modality",
            f"{self.slices} slice{'' if self.slices == 1 else 's'}{matrix}",
        ]
        if self.modality == NIFTI:
            parts[:2] = [f"NIfTI file {self.description}"]
        parts += [f"{self.step_mm:.2f} mm apart"] if self.step_mm else []
        parts += [PLANES[self.plane]] if self.plane in (0, 1) else []
        parts += [self.label] if self.label else []
        return ", ".join(parts)


@dataclass
class Catalogue:
    """The candidates of a study, numbered from 1, and what was left out, by reason."""

    candidates: tuple[Candidate, ...] = ()
    left_out: Counter[str] = field(default_factory=Counter)
    left_out_series: dict[str, str] = field(default_factory=dict)
    notes: Notes = NONE


_Key = tuple[str, int | None]
"""SeriesInstanceUID; where there is none, SeriesNumber tells series apart."""


def catalogue(headers: Headers) -> Catalogue:
    """Group the instances into candidates by series, matrix and orientation.

    Within a series, frames that cannot be one volume are told apart further; see `grouping`. Localizers, secondary
    captures, colour images and objects without pixels are left out. An image with an unreadable element, or of which a
    part is missing, stays with its series as a fault. Each NIfTI file is a
    candidate.

    Raises:
        StudyError: a slice was cut short before its pixels; even its series may then be in doubt.
    """
    result = Catalogue()
    found_frames: dict[tuple[_Key, int, int, int], list[Frame]] = {}
    faults: dict[_Key, StudyError] = {}
    unread: Counter[_Key] = Counter()
    members: dict[_Key, Instance] = {}
    for instance in headers.instances:
        tags = instance.tags
        uid = tags.text("SeriesInstanceUID")
        key = (uid, None if uid else tags.whole_or_none("SeriesNumber"))
        _refuse_cut_short(instance)
        try:
            reason = _why_not(instance)
            frames = () if reason else read_frames(instance)
        except StudyError as failure:
            faults.setdefault(key, failure)
            members.setdefault(key, instance)
            unread[key] += 1
            continue
        volume = [frame for frame in frames if not LOCALIZER & set(frame.image_type)]
        if not volume:
            result.left_out[reason or "localizer"] += 1
            result.left_out_series.setdefault(uid, reason or "localizer")
            continue
        members.setdefault(key, instance)
        for frame in volume:
            found_frames.setdefault((key, frame.rows, frame.columns, plane_of(frame)), []).append(frame)
    incomplete = missing_parts(headers.instances)

    def fault_of(part: Group) -> StudyError | None:
        parts = next((incomplete[frame.image] for frame in part.frames if frame.image in incomplete), None)
        if parts or not headers.contradictions:
            return parts
        identities = [identity(frame.instance) for frame in part.frames]
        return next((headers.contradictions[key] for key in identities if key in headers.contradictions), None)

    found = [
        _candidate(members[key], part, faults.get(key) or fault_of(part), unread[key])
        for (key, *_), frames in found_frames.items()
        for part in groups(frames)
    ]
    grouped = {key for key, *_ in found_frames}
    found += [
        _candidate(members[key], Group(()), fault, unread[key]) for key, fault in faults.items() if key not in grouped
    ]
    found.sort(key=_list_order)
    found += [_from_file(name, image) for name, image in sorted(headers.images.items())]
    result.candidates = tuple(replace(entry, number=number) for number, entry in enumerate(found, start=1))
    if nameless := len({id(frame.instance) for entry in found for frame in entry.frames if not entry.series_uid}):
        told = (
            f"{nameless} files carry no {describe('SeriesInstanceUID')}; {describe('SeriesNumber')} told series apart."
        )
        result.notes = Notes(remarks=(told,))
    return result


def _refuse_cut_short(instance: Instance) -> None:
    if instance.pixels is None and instance.media_class in SLICES:
        raise StudyError(
            f"{instance.name}: {describe('PixelData')} is missing from a slice; the file may have been cut short.",
            "Send the study again.",
        )


def _why_not(instance: Instance) -> str:
    """Why an instance cannot be part of the volume; empty if it can."""
    tags = instance.tags
    modality, sop_class = tags.text("Modality"), tags.text("SOPClassUID")
    if modality in OTHER_OBJECTS:
        return OTHER_OBJECTS[modality]
    if sop_class == SECONDARY_CAPTURE or sop_class.startswith(SECONDARY_CAPTURE + "."):
        return "secondary capture"
    if LOCALIZER & set(tags.texts("ImageType")):
        return "localizer"
    if MOSAIC in tags.texts("ImageType") or any(tags.private(*IMAGES_IN_MOSAIC)):
        return "Siemens mosaic (slices of a volume as tiles of one image)"
    if instance.pixels is None or not tags.whole("Rows"):
        return "non-image object"
    if instance.pixels.keyword != "PixelData":
        return "floating-point image"
    if (tags.whole("SamplesPerPixel") or 1) > 1:
        return "colour image"
    return ""


def _candidate(instance: Instance, group: Group, fault: StudyError | None, unread: int) -> Candidate:
    frames = group.frames
    tags = (frames[0].instance if frames else instance).tags
    plane = plane_of(frames[0]) if frames else -1
    orientation = frames[0].orientation if frames else None
    oblique = 0.0
    if orientation is not None:
        oblique = float(np.degrees(np.arccos(min(float(np.abs(slice_normal(orientation)).max()), 1.0))))
    step, extent = _stack(frames)
    return Candidate(
        study_uid=tags.label("StudyInstanceUID"),
        series_uid=tags.text("SeriesInstanceUID"),
        series_number=tags.whole_or_none("SeriesNumber"),
        modality=tags.label("Modality"),
        description=tags.label("SeriesDescription"),
        kernel=tags.label("ConvolutionKernel"),
        plane=plane,
        frames=frames,
        slices=len(frames) + unread,
        step_mm=step,
        extent_mm=extent,
        oblique_degrees=oblique,
        fault=fault,
        patient=tags.text_or("PatientID", ""),
        label=group.label,
    )


def _from_file(name: str, image: NiftiImage | StudyError) -> Candidate:
    read = None if isinstance(image, StudyError) else image
    slices, step = (0, 0.0) if read is None else (read.placement.shape[0], read.placement.spacing_mm[0])
    return Candidate(
        study_uid="",
        series_uid="",
        series_number=None,
        modality=NIFTI,
        description=name,
        kernel="",
        plane=-1 if read is None else 2,
        frames=(),
        slices=slices,
        step_mm=step,
        extent_mm=max(slices - 1, 0) * step,
        oblique_degrees=0.0 if read is None else read.oblique_degrees,
        fault=image if isinstance(image, StudyError) else None,
        image=read,
    )


def _list_order(entry: Candidate) -> tuple[object, ...]:
    number = entry.series_number
    first = entry.frames[0].image_type if entry.frames else ()
    acquisition = entry.frames[0].acquisition if entry.frames else None
    return (number is None, number or 0, entry.series_uid, entry.plane, -entry.slices, first, acquisition or 0)


def _stack(frames: Sequence[Frame]) -> tuple[float, float]:
    """Usual distance between neighbours and from the first slice to the last, mm; 0 when not known."""
    placed = [frame for frame in frames if frame.position is not None and frame.orientation is not None]
    if len(placed) < 2 or placed[0].orientation is None:
        return 0.0, 0.0
    normal = slice_normal(placed[0].orientation)
    heights = np.sort(np.asarray([frame.position for frame in placed]) @ normal)
    return float(np.sort(np.diff(heights))[(len(heights) - 2) // 2]), float(heights[-1] - heights[0])
