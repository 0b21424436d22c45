"""The frames of an instance: where each lies in the patient, and how its pixels become intensities."""

from collections.abc import Callable
from dataclasses import dataclass

from pydicom.datadict import tag_for_keyword

from ...errors import StudyError
from ...volume import SourceImage
from .diffusion import b_value
from .instance import Instance
from .tags import Tags, describe

MAX_ROWS = MAX_COLUMNS = 4096
"""Pixels along each side of a slice; CT scanners send 512, rarely 1024 or 2048."""
MAX_SLICES = 4096
_PLACE_AND_TIME = (
    *("ImagePositionPatient", "InStackPositionNumber", "SliceLocation", "ImagePositionVolume", "InstanceNumber"),
    *("FrameAcquisitionDateTime", "FrameReferenceDateTime"),
)
_UNTOLD = frozenset(tag_for_keyword(keyword) for keyword in _PLACE_AND_TIME)
"""Dimensions (0020,9165) whose index may be another in every slice of a volume."""


@dataclass(frozen=True)
class Frame:
    """One slice's header values; None where the header does not say.

    index: frame of the instance, counted from 0.
    position: mm, LPS, centre of the first pixel; (0020,0032).
    orientation: direction cosines of increasing column, then of increasing row; (0020,0037).
    spacing: mm between rows, then between columns; (0028,0030).
    thickness: mm; (0018,0050).
    slope, intercept: of the rescale to intensities; (0028,1053), (0028,1052).
    acquisition: (0020,9156) of an Enhanced image's frame, else (0020,0012).
    b_value: s/mm2; (0018,9087), else where vendors keep it.
    echo: ms; (0018,0081), or (0018,9082) of an Enhanced image's frame.
    phase: (0020,0100), or (0020,9128) of an Enhanced image's frame.
    acquired: YYYYMMDDHHMMSS.F, when its acquisition began; empty where not known.
    stack: (0020,9056). kernel: (0018,1210). kvp: peak kilovoltage; (0018,0060). contrast: the agents that were given;
        (0018,0010), or (0018,9342) of an Enhanced image's frame.
    image: of a multi-frame image, the UID that its frames share, and with them those of its concatenation.
    step_told: mm between slices, as the header has it; (0018,0088).
    dimension: (0020,9157) of an Enhanced image's frame, but for the dimensions of place and time.
    """

    instance: Instance
    index: int
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    thickness: float | None
    slope: float | None
    intercept: float | None
    rescale_type: str
    image_type: tuple[str, ...]
    rows: int
    columns: int
    acquisition: int | None = None
    b_value: float | None = None
    echo: float | None = None
    phase: int | None = None
    acquired: str = ""
    stack: str = ""
    kernel: str = ""
    kvp: float | None = None
    contrast: str = ""
    image: str = ""
    dimension: tuple[int, ...] = ()
    step_told: float | None = None

    @property
    def sent_order(self) -> tuple[float, str, int, str]:
        """Sorts the frames of a series alike however their files are named."""
        number = self.instance.tags.whole_or_none("InstanceNumber")
        uid = self.instance.tags.text("SOPInstanceUID")
        return (float("inf") if number is None else number, uid, self.index, self.instance.name)

    @property
    def name(self) -> str:
        several = "PerFrameFunctionalGroupsSequence" in self.instance.tags
        return f"{self.instance.name} frame {self.index + 1}" if several else self.instance.name

    @property
    def source_image(self) -> SourceImage:
        """What a result refers to it by."""
        tags = self.instance.tags
        frame = self.index + 1 if tags.text("NumberOfFrames") else None
        sop_class, uid = tags.label("SOPClassUID"), tags.label("SOPInstanceUID")
        at = self.position
        position = None if at is None else (at[0], at[1], at[2])
        number = tags.whole_or_none("InstanceNumber") if frame is None else None
        return SourceImage(sop_class, uid, frame, position, number)


def read_frames(instance: Instance) -> tuple[Frame, ...]:
    """Every frame of an image.

    Raises:
        StudyError: an element is unreadable, a size is beyond the limits above, or there are several
            frames without functional groups, so that nothing says where each lies.
    """
    tags = instance.tags
    count = tags.whole("NumberOfFrames") or 1
    rows, columns = tags.whole("Rows") or 0, tags.whole("Columns") or 0
    _check_sizes(tags, count, rows, columns)
    if tags.items("PerFrameFunctionalGroupsSequence") or tags.items("SharedFunctionalGroupsSequence"):
        return _from_functional_groups(instance, count, rows, columns)
    if count > 1:
        raise StudyError(
            f"{instance.name}: {count} frames without functional groups {describe('PerFrameFunctionalGroupsSequence')}"
            "; nothing says where in the patient each frame lies.",
            "Send the series as single slices or as an Enhanced image.",
        )
    return (_frame(instance, 0, rows, columns, lambda macro: tags),)


def _check_sizes(tags: Tags, count: int, rows: int, columns: int) -> None:
    limits = {
        "Rows": (rows, MAX_ROWS),
        "Columns": (columns, MAX_COLUMNS),
        "NumberOfFrames": (count, MAX_SLICES),
    }
    for keyword, (value, limit) in limits.items():
        if not 1 <= value <= limit:
            raise tags.refusal(keyword, f"is {value}; 1 to {limit} are read")


def _from_functional_groups(instance: Instance, count: int, rows: int, columns: int) -> tuple[Frame, ...]:
    """PS3.3 C.7.6.16: each macro stands either once, shared, or in every frame's item."""
    tags = instance.tags
    shared = tags.first_item("SharedFunctionalGroupsSequence")
    items = tags.items("PerFrameFunctionalGroupsSequence")
    if len(items) != count:
        raise StudyError(
            f"{instance.name}: {count} frames by {describe('NumberOfFrames')}, but {len(items)} items in "
            f"{describe('PerFrameFunctionalGroupsSequence')}.",
            "Send the study again from its source.",
        )

    of_all: dict[str, Tags | None] = {}
    told = _told_dimensions(tags)

    def frame(index: int) -> Frame:
        own = tags.part(items[index], f"{instance.name} frame {index + 1}")

        def macro(keyword: str) -> Tags | None:
            if (of_frame := own.first_item(keyword)) is not None:
                return of_frame
            if keyword not in of_all:
                of_all[keyword] = shared.first_item(keyword) if shared else None
            return of_all[keyword]

        return _frame(instance, index, rows, columns, macro, told)

    return tuple(frame(index) for index in range(count))


def _told_dimensions(tags: Tags) -> tuple[int, ...]:
    """Which of DimensionIndexValues tell volumes apart."""
    pointers = [item.dataset.get("DimensionIndexPointer") for item in tags.items_or_none("DimensionIndexSequence")]
    return tuple(at for at, pointer in enumerate(pointers) if isinstance(pointer, int) and pointer not in _UNTOLD)


def _frame(
    instance: Instance,
    index: int,
    rows: int,
    columns: int,
    macro: Callable[[str], Tags | None],
    told: tuple[int, ...] = (),
) -> Frame:
    """A frame from what `macro` finds: a functional group's macro, or the whole header of a single frame."""
    tags = instance.tags
    position = macro("PlanePositionSequence")
    orientation = macro("PlaneOrientationSequence")
    measures = macro("PixelMeasuresSequence")
    rescale = macro("PixelValueTransformationSequence")
    kind = macro("CTImageFrameTypeSequence") or macro("MRImageFrameTypeSequence")
    content = macro("FrameContentSequence")
    echo = macro("MREchoSequence")
    acquisition, phase, acquired, stack = None, None, "", ""
    dimension: tuple[int, ...] = ()
    if content:
        acquisition = content.whole_or_none("FrameAcquisitionNumber")
        phase = content.whole_or_none(
            "TemporalPositionIndex" if "TemporalPositionIndex" in content else "TemporalPositionIdentifier"
        )
        acquired = _moment(content)
        stack = content.text_or("StackID", "")
        indices = content.wholes_or_none("DimensionIndexValues") if told else None
        dimension = tuple(indices[at] for at in told if at < len(indices)) if indices else ()
    return Frame(
        instance,
        index,
        position.numbers("ImagePositionPatient", 3) if position else None,
        orientation.numbers("ImageOrientationPatient", 6) if orientation else None,
        measures.numbers("PixelSpacing", 2) if measures else None,
        measures.number("SliceThickness") if measures else None,
        rescale.number("RescaleSlope") if rescale else None,
        rescale.number("RescaleIntercept") if rescale else None,
        rescale.text("RescaleType") if rescale else "",
        (kind.texts("FrameType") if kind else ()) or tags.texts("ImageType"),
        rows,
        columns,
        tags.whole_or_none("AcquisitionNumber") if acquisition is None else acquisition,
        b_value(tags, macro("MRDiffusionSequence")),
        echo.number_or_none("EffectiveEchoTime" if "EffectiveEchoTime" in echo else "EchoTime") if echo else None,
        phase,
        acquired,
        stack,
        _first(macro("CTReconstructionSequence"), tags).text_or("ConvolutionKernel", ""),
        _first(macro("CTXRayDetailsSequence"), tags).number_or_none("KVP"),
        _contrast(tags, macro("ContrastBolusUsageSequence")),
        _image(tags),
        dimension,
        measures.number_or_none("SpacingBetweenSlices") if measures else None,
    )


def _image(tags: Tags) -> str:
    """Of a single frame that stands alone none."""
    several = (tags.whole("NumberOfFrames") or 1) > 1
    return tags.text_or("ConcatenationUID", tags.text_or("SOPInstanceUID", "") if several else "")


def _first(macro: Tags | None, tags: Tags) -> Tags:
    return tags if macro is None else macro


def _contrast(tags: Tags, usage: Tags | None) -> str:
    """Which agent was given, or that one was; empty where nothing says so."""
    if usage is not None and usage is not tags:
        return usage.text_or("ContrastBolusAgentAdministered", "")
    named = tags.text_or("ContrastBolusAgent", "")
    return named or ("given" if "ContrastBolusAgentSequence" in tags else "")


def _moment(tags: Tags) -> str:
    """When an acquisition began, so that texts sort as times do (PS3.5 6.2, DT; time zones are not looked at)."""
    try:
        for keyword in ("FrameAcquisitionDateTime", "AcquisitionDateTime"):
            if text := tags.text(keyword):
                return text.partition("+")[0].partition("-")[0]
        day, time = tags.text("AcquisitionDate"), tags.text("AcquisitionTime")
    except StudyError:
        return ""
    return f"{day}{time}" if time else ""
