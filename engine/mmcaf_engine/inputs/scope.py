"""Which slices of a series are scored: all of them, or those that the caller or the record names."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ..errors import MmcafError, RecordError, Remedy, UsageError
from ..manifest import Manifest, WindowSpec
from ..record.encode import UnusableValueError
from ..record.slices import NamedSlices, Slices, SliceSpan, read_span
from ..volume import SourceImage
from .windows import Windows


@dataclass(frozen=True)
class Scope:
    """What is scored of a series.

    span: None where all are. warnings: on the record, which named others.
    """

    span: SliceSpan | None = None
    warnings: tuple[str, ...] = ()


def slices_asked(given: Slices | None) -> SliceSpan | None:
    """The slices that a caller names.

    Raises:
        UsageError: no two numbers of slices in their order.
    """
    if given is None:
        return None
    try:
        return read_span(given)
    except UnusableValueError as reason:
        raise UsageError(f"slices: {reason}.", Remedy("For example", option="slices", value="40-52")) from None


class _Opened(Protocol):
    """A series whose headers are in order; see `study.reading.OpenSeries`."""

    @property
    def shape(self) -> tuple[int, int, int]: ...

    @property
    def images(self) -> tuple[SourceImage | None, ...]: ...


def scope_of(
    asked: SliceSpan | None, lesion: NamedSlices | None, manifest: Manifest, opened: _Opened, name: str
) -> Scope:
    """The slices of a series that are scored.

    Args:
        asked: by the caller; they count before those of the record, and `lay_out` refuses them without windows.
        lesion: named by the record.
        opened: the only series of a network that takes windows. name: what messages call it.

    Raises:
        UsageError: the caller names slices that the series does not have.
        RecordError: the record does, where the caller names none, or images that are not the series'.
    """
    if manifest.of_volumes.windows is None:
        return Scope(asked)
    field, count = manifest.lesion_field, opened.shape[0]
    if asked is not None:
        _check_within(asked, count, f"slices: {asked} came, but {name} has", UsageError)
    if lesion is None or field is None:
        return Scope(asked)
    try:
        told = _span_of(lesion, field, name, count, opened.images)
    except RecordError:
        if asked is None:
            raise
        told = None
    if asked is None or asked == told:
        return Scope(told)
    return Scope(asked, (f"the record's {field} names other slices than {asked}, which were asked for and scored.",))


def _check_within(span: SliceSpan, count: int, what: str, error: type[MmcafError]) -> None:
    if span.last > count:
        raise error(
            f"{what} {count} slices, numbered from 1 at the feet.",
            Remedy("Name slices that it has", option="slices", value=f"1-{count}"),
        )


def _span_of(lesion: NamedSlices, field: str, name: str, count: int, images: Sequence[SourceImage | None]) -> SliceSpan:
    """From the first to the last of the slices that a record names."""
    if isinstance(lesion, SliceSpan):
        _check_within(lesion, count, f"record: {field} names slices {lesion}, but {name} has", RecordError)
        return lesion
    wanted = set(lesion.uids)
    found = [(at, image) for at, image in enumerate(images, 1) if image and image.sop_instance_uid in wanted]
    lacking = len(wanted - {image.sop_instance_uid for _, image in found})
    by_number = Remedy("Or name the slices by their numbers", option="slices", value=f"1-{count}")
    if lacking:
        raise RecordError(
            f"record: {lacking} of the {len(wanted)} images that {field} names are none of the {count} slices of "
            f"{name}, which is read.",
            "Name images of this series by their SOPInstanceUID (0008,0018).",
            by_number,
        )
    if any(image.frame is not None for _, image in found):
        raise RecordError(
            f"record: {field} names an image of several frames; that does not tell which of the {count} slices of "
            f"{name} are meant.",
            by_number,
        )
    return SliceSpan(found[0][0], found[-1][0])


def remark_on(
    scope: Scope, windows: Windows, spec: WindowSpec, *, count: int, images: Sequence[SourceImage | None]
) -> tuple[str, ...]:
    """Which slices of how many were scored, where that is not what it is taken for.

    Args:
        windows: over these slices. spec: the manifest's. count: slices of the series.
        images: that each slice was made from; empty where not known.
    """
    span = scope.span
    if span is None:
        if spec.trained_on == "study" or len(windows) == 1:
            return ()
        by = "" if spec.lesion_field is None else f", or {spec.lesion_field} in the record,"
        return (
            f"all {count} slices were scored, though the network's makers gave it windows at an annotated lesion "
            f"alone; slices{by} names a lesion's.",
        )
    first, last = windows.starts[0] + 1, min(windows.starts[-1] + windows.depth, count)
    wider = "" if (first, last) == (span.first, span.last) else f", the window around {span}"
    return (
        f"slices {first} to {last} of {count}, counted from the feet{_numbers(images[first - 1 : last])}, were scored"
        f"{wider}; the others were not.",
    )


def _numbers(images: Sequence[SourceImage | None]) -> str:
    """What a viewer may call the first and the last image, in numbers that may fall from the feet to the head."""
    ends = [image for image in (*images[:1], *images[-1:]) if image is not None]
    for called, numbers in (
        ("InstanceNumber", [image.number for image in ends]),
        ("frame", [image.frame for image in ends]),
    ):
        if len(numbers) == 2 and None not in numbers:
            return f" ({called} {numbers[0]} to {numbers[1]})"
    return ""
