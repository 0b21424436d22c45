"""The instances of a study, grouped into the candidates for the volume."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ...errors import StudyError
from ..dicom.frames import Frame, read_frames
from ..dicom.header import read_body_part
from ..dicom.instance import Instance
from ..dicom.tags import describe
from ..faults import printable
from ..geometry.checks import AXIAL_TOLERANCE_DEGREES, Vector, slice_normal
from ..nifti import NIFTI, NiftiImage
from ..scan import Headers

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
LOCALIZER = {"LOCALIZER", "SCOUT"}
"""Values of ImageType (PS3.3 C.8.2.1.1.1) on survey images."""
SAME_PLACE_DIGITS = 1
"""Decimals of a position in mm, to which frames that share a place agree."""
COVERED = 0.9
"""Part of a series' positions that one of its acquisitions or image types must have to be taken for itself."""
PLANES = ("sagittal", "coronal", "axial", "unknown")
"""Names of `Candidate.plane`; its -1 is the last."""
_PARALLEL = float(np.cos(np.radians(AXIAL_TOLERANCE_DEGREES)))


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
        return self.description if self.modality == NIFTI else printable(self.series_uid)

    @property
    def body_part(self) -> str:
        """What its header says was examined; empty where it does not say."""
        return read_body_part(self.frames[0].instance) if self.frames else ""

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
        return ", ".join(parts)


@dataclass
class Catalogue:
    """The candidates of a study, numbered from 1, and what was left out, by reason."""

    candidates: tuple[Candidate, ...] = ()
    left_out: Counter[str] = field(default_factory=Counter)
    left_out_series: dict[str, str] = field(default_factory=dict)


def catalogue(headers: Headers) -> Catalogue:
    """Group the instances into candidates by series, matrix and orientation.

    Within a series, frames at the same positions are further told apart by their image type, acquisition, b-value,
    echo time, temporal position or acquisition time. Localizers, secondary captures, colour images and objects without
    pixels are left out. An image with an unreadable element stays with its series as a fault. Each NIfTI file is a
    candidate.

    Raises:
        StudyError: a slice was cut short before its pixels; even its series may then be in doubt.
    """
    result = Catalogue()
    groups: dict[tuple[object, ...], list[Frame]] = {}
    faults: dict[str, StudyError] = {}
    unread: Counter[str] = Counter()
    members: dict[str, Instance] = {}
    for instance in headers.instances:
        tags = instance.tags
        uid = tags.text("SeriesInstanceUID")
        _refuse_cut_short(instance)
        try:
            reason = _why_not(instance)
            frames = () if reason else read_frames(instance)
        except StudyError as failure:
            faults.setdefault(uid, failure)
            members.setdefault(uid, instance)
            unread[uid] += 1
            continue
        volume = [frame for frame in frames if not LOCALIZER & set(frame.image_type)]
        if not volume:
            result.left_out[reason or "localizer"] += 1
            result.left_out_series.setdefault(uid, reason or "localizer")
            continue
        members.setdefault(uid, instance)
        for frame in volume:
            groups.setdefault((uid, frame.rows, frame.columns, _plane(frame)), []).append(frame)
    grouped = {str(key[0]) for key in groups}
    found = [
        _candidate(members[str(key[0])], tuple(part), faults.get(str(key[0])), unread[str(key[0])])
        for key, group in groups.items()
        for parallel in _by_orientation(sorted(group, key=lambda frame: frame.sent_order))
        for part in _by_kind(parallel)
    ]
    found += [_candidate(members[uid], (), fault, unread[uid]) for uid, fault in faults.items() if uid not in grouped]
    found.sort(key=_list_order)
    found += [_from_file(name, image) for name, image in sorted(headers.images.items())]
    result.candidates = tuple(replace(entry, number=number) for number, entry in enumerate(found, start=1))
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
    if instance.pixels is None or not tags.whole("Rows"):
        return "non-image object"
    if instance.pixels.keyword != "PixelData":
        return "floating-point image"
    if (tags.whole("SamplesPerPixel") or 1) > 1:
        return "colour image"
    return ""


def _plane(frame: Frame) -> int:
    if frame.orientation is None:
        return -1
    return int(np.argmax(np.abs(slice_normal(frame.orientation))))


def _by_orientation(frames: list[Frame]) -> list[list[Frame]]:
    """Frames that differ by more than a rounding or a slip; less is left for the geometry's checks to refuse."""
    parts: list[tuple[Vector | None, list[Frame]]] = []
    for frame in frames:
        normal = None if frame.orientation is None else slice_normal(frame.orientation)
        for first, part in parts:
            if normal is None or first is None:
                same = normal is first
            else:  # one of length 0 belongs anywhere; mirrored slices stay to be refused
                same = abs(float(normal @ first)) >= _PARALLEL or not (normal.any() and first.any())
            if same:
                part.append(frame)
                break
        else:
            parts.append((normal, [frame]))
    return [part for _, part in parts]


def _by_kind(frames: list[Frame]) -> list[list[Frame]]:
    """Frames that share positions, by what else tells them apart where that explains it.

    It does where no part repeats a position and one part nearly covers them all; a stray repeated
    slice stays, and is refused as such.
    """
    places = len({_place(frame) for frame in frames})
    if places == len(frames):
        return [frames]
    kinds: tuple[Callable[[Frame], object], ...] = (
        lambda frame: frame.image_type,
        lambda frame: frame.acquisition,
        lambda frame: (frame.image_type, frame.acquisition),
        lambda frame: frame.b_value,
        lambda frame: frame.echo,
        lambda frame: frame.phase,
        lambda frame: frame.acquired,
    )
    for kind in kinds:
        parts: dict[object, list[Frame]] = {}
        for frame in frames:
            parts.setdefault(kind(frame), []).append(frame)
        distinct = all(len({_place(frame) for frame in part}) == len(part) for part in parts.values())
        if distinct and max(map(len, parts.values())) >= COVERED * places:
            return list(parts.values())
    return [frames]


def _place(frame: Frame) -> tuple[float, ...]:
    return tuple(round(value, SAME_PLACE_DIGITS) for value in frame.position or ())


def _candidate(instance: Instance, frames: tuple[Frame, ...], fault: StudyError | None, unread: int) -> Candidate:
    tags = (frames[0].instance if frames else instance).tags
    plane = _plane(frames[0]) if frames else -1
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
        patient=tags.label("PatientID"),
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
