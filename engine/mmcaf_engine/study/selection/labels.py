"""What headers say of frames that is the same for every slice of one volume: what tells volumes apart."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal

from pydicom.datadict import dictionary_VR

from ..dicom.acquisition import OF_ACQUISITION
from ..dicom.frames import Frame
from ..dicom.tags import describe
from ..faults import shown_text

APART = timedelta(seconds=60)
"""CT slices whose acquisitions began further apart, with none between, are of two scans: a scan of a whole body takes
less, and so does the pause for a breath between two blocks of slices."""
_NUMBERS = ("DS", "IS")
_SHOWN = ("CS", "DS", "IS", "UI")
"""Representations whose values messages show; texts may name the patient."""


@dataclass(frozen=True)
class Label:
    """What is the same for all slices of one volume.

    name: as messages say it. of: its value for each of some frames.
    in_blocks: what slices that lie in blocks, one after the other, are worth.
    within: what slices are worth that lie within each other and give no even volumes. A refusal, but for what scanners
        are known to write differently into single slices of a volume.
    steady: whether any volumes are told apart by it; else only those that take turns, slice by slice.
    """

    name: str
    of: Callable[[Sequence[Frame]], list[Hashable]]
    in_blocks: Literal["nothing", "remark", "warning"] = "warning"
    within: Literal["nothing", "warning", "refusal"] = "refusal"
    steady: bool = True

    def says(self, value: Hashable) -> str:
        """One of its values, in words."""
        if isinstance(value, tuple):
            value = "\\".join(map(str, value))
        shown = f"{value:g}" if isinstance(value, float) else str(value)
        return f"{self.name} {shown_text(shown, 32) if value not in (None, '') else 'absent'}"


def _each(of: Callable[[Frame], Hashable]) -> Callable[[Sequence[Frame]], list[Hashable]]:
    return lambda frames: [of(frame) for frame in frames]


def _rounded(value: float | None) -> float | None:
    """To three digits: scanners write the same value with other last ones."""
    return None if value is None else float(f"{value:.3g}")


def _scans(frames: Sequence[Frame]) -> list[Hashable]:
    """Which scan each CT slice is of, by the pauses between their acquisitions; 0 for all where a time is missing."""
    if len({frame.acquired for frame in frames}) < 2:
        return [0] * len(frames)
    moments = [_moment(frame) for frame in frames]
    known = sorted({moment for moment in moments if moment is not None})
    if len(known) < 2 or None in moments:
        return [0] * len(frames)
    begins = [later for earlier, later in pairwise(known) if later - earlier > APART]
    return [sum(moment >= begin for begin in begins) for moment in moments if moment is not None]


def _moment(frame: Frame) -> datetime | None:
    if frame.instance.tags.text_or("Modality", "") != "CT":
        return None
    try:
        return datetime.strptime(frame.acquired.partition(".")[0], "%Y%m%d%H%M%S")
    except ValueError:
        return None


LABELS = (
    Label(describe("ImageType"), _each(lambda frame: frame.image_type), "remark", "warning"),
    Label(describe("AcquisitionNumber"), _each(lambda frame: frame.acquisition), "remark"),
    Label(describe("StackID"), _each(lambda frame: frame.stack), "remark"),
    Label(describe("ConvolutionKernel"), _each(lambda frame: frame.kernel)),
    Label(describe("KVP"), _each(lambda frame: _rounded(frame.kvp))),
    Label(describe("ContrastBolusAgent"), _each(lambda frame: frame.contrast)),
    Label(describe("DiffusionBValue"), _each(lambda frame: frame.b_value)),
    Label(describe("EchoTime"), _each(lambda frame: _rounded(frame.echo))),
    Label(describe("TemporalPositionIdentifier"), _each(lambda frame: frame.phase)),
    Label(
        describe("SliceThickness"),
        _each(lambda frame: None if frame.thickness is None else round(frame.thickness, 1)),
        "remark",
        "warning",
    ),
    Label(
        describe("SeriesDescription"),
        _each(lambda frame: frame.instance.tags.text_or("SeriesDescription", "")),
        "remark",
        "warning",
    ),
    Label(describe("DimensionIndexValues"), _each(lambda frame: frame.dimension), "remark"),
    Label("multi-frame image", _each(lambda frame: frame.image), "remark"),
    Label(f"scan by {describe('AcquisitionTime')}", _scans, "remark"),
)
"""In the order in which they are looked at."""


def _element(keyword: str) -> Callable[[Sequence[Frame]], list[Hashable]]:
    """An element's text; where that may name the patient, its number in the order in which texts first come."""
    representation = dictionary_VR(keyword)
    shown = representation in _SHOWN

    def text_of(frame: Frame) -> str:
        tags = frame.instance.tags
        number = tags.number_or_none(keyword) if representation in _NUMBERS else None
        return tags.text_or(keyword, "") if number is None else f"{number + 0.0:.3g}"

    def of(frames: Sequence[Frame]) -> list[Hashable]:
        texts = [text_of(frame) for frame in frames]
        numbers = {text: f"no. {at}" for at, text in enumerate(dict.fromkeys(texts), start=1)}
        return [text if shown else numbers[text] for text in texts]

    return of


_OTHERS = {
    keyword: Label(describe(keyword), _element(keyword))
    if steady
    else Label(describe(keyword), _element(keyword), "nothing", "nothing", steady=False)
    for keyword, steady in OF_ACQUISITION.items()
}


def labels_of(frames: Sequence[Frame]) -> tuple[Label, ...]:
    """`LABELS`, and of the elements that are the same in nearly every series those that differ here."""
    tags = {id(frame.instance): frame.instance.tags for frame in frames}.values()
    keywords = tuple(_OTHERS)
    values = {one.encoded(keywords) for one in tags}
    differing = [
        keyword for keyword, column in zip(keywords, zip(*values, strict=True), strict=True) if len(set(column)) > 1
    ]
    return (*LABELS, *(_OTHERS[keyword] for keyword in differing))
