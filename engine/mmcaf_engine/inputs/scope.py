"""Which slices of a series are scored: all of them, or those that somebody names; and what there is to say of that."""

from collections.abc import Sequence

from ..errors import Remedy, UsageError
from ..record.encode import UnusableValueError
from ..record.slices import Slices, SliceSpan, read_span
from ..volume import SourceImage
from .windows import Windows


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


def check_within(span: SliceSpan, count: int, name: str) -> None:
    """Refuse slices that the series does not have.

    Args:
        count: slices of the series. name: what messages call it.

    Raises:
        UsageError: it has not so many.
    """
    if span.last > count:
        raise UsageError(
            f"slices: {span} came, but {name} has {count} slices, numbered from 1 at the feet.",
            Remedy("Name slices that it has", option="slices", value=f"1-{count}"),
        )


def remark_on(span: SliceSpan, windows: Windows, count: int, images: Sequence[SourceImage | None]) -> str:
    """Which slices of how many were scored, and under which numbers a viewer may show them.

    Args:
        span: the slices that were named. windows: over them. count: slices of the series.
        images: that each slice was made from; empty where not known.
    """
    first, last = windows.starts[0] + 1, min(windows.starts[-1] + windows.depth, count)
    wider = "" if (first, last) == (span.first, span.last) else f", the window around {span}"
    return (
        f"slices {first} to {last} of {count}, counted from the feet{_numbers(images[first - 1 : last])}, were scored"
        f"{wider}; the others were not."
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
