"""Reading from a radiograph's header how its stored values become grey values."""

import numpy as np

from ..study.dicom.pixel_format import PixelFormat
from ..study.dicom.tags import Tags, describe
from .grey import Function, GreyScale, OfInterest, Range, Rescale, Table, Window

FUNCTIONS: tuple[Function, ...] = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
MAX_ENTRIES = 65536


def read_grey_scale(tags: Tags, pixels: PixelFormat) -> tuple[GreyScale, tuple[str, ...]]:
    """The grey scale of an image (PS3.3 C.11.1, C.11.2, C.8.11.3), and remarks on it.

    Of several values of interest the first is taken, tables before windows; without any, all values that the image can
    hold are. MONOCHROME1 and PresentationLUTShape INVERSE say the same thing, once.

    Raises:
        StudyError: an element that is needed is unreadable, contradicts another, or is out of its range.
    """
    modality, low, high = _modality(tags, pixels)
    interest, remarks = _interest(tags, pixels, low, high)
    inverted, contradiction = _inverted(tags)
    scale = GreyScale(modality, interest, inverted)
    return scale, (*remarks, *_shorter_tables(scale), *contradiction)


def _modality(tags: Tags, pixels: PixelFormat) -> tuple[Rescale | Table, float, float]:
    """The modality's transformation, and the lowest and highest value that can come out of it."""
    span = 1 << pixels.bits_stored
    low = -span // 2 if pixels.signed else 0
    slope, intercept = tags.number("RescaleSlope"), tags.number("RescaleIntercept")
    item = tags.first_item("ModalityLUTSequence")
    if item is not None:
        if slope is not None or intercept is not None:
            raise tags.refusal("ModalityLUTSequence", f"stands beside {describe('RescaleSlope')}; one was expected")
        table = _table(item, pixels, signed=pixels.signed)
        return table, 0.0, table.top
    if (slope is None) != (intercept is None):
        missing = "RescaleSlope" if slope is None else "RescaleIntercept"
        raise tags.refusal(missing, "is missing; both or none of slope and intercept were expected")
    if slope is None or intercept is None:
        return Rescale(), float(low), float(low + span - 1)
    if slope == 0:
        raise tags.refusal("RescaleSlope", "is 0; a slope was expected")
    rescale = Rescale(slope, intercept)
    ends = rescale(np.array([low, low + span - 1], np.float64))
    if float(np.abs(ends).max()) > 1e9 or float(np.ptp(ends)) < 1e-6:
        raise tags.refusal("RescaleSlope", f"is {slope:g}; the values that it gives are beyond any meaning")
    return rescale, float(ends.min()), float(ends.max())


def _shorter_tables(scale: GreyScale) -> list[str]:
    """Remarks on lookup tables that were taken to be of fewer bits than they say, where their end is white."""
    if isinstance(scale.interest, OfInterest):
        ends = [scale.interest.table]
    else:
        ends = [scale.modality] if isinstance(scale.modality, Table) and isinstance(scale.interest, Range) else []
    return [table.remark for table in ends if table.remark]


def _interest(
    tags: Tags, pixels: PixelFormat, low: float, high: float
) -> tuple[Window | Range | OfInterest, list[str]]:
    tables, centres = tags.items("VOILUTSequence"), tags.texts("WindowCenter")
    widths = tags.texts("WindowWidth")
    if len(centres) != len(widths):
        raise tags.refusal(
            "WindowWidth",
            f"has {len(widths)} values and {describe('WindowCenter')} {len(centres)}; as many were expected",
        )
    found = len(tables) + len(centres)
    if not found:
        return Range(low, high), [
            f"it names no values of interest ({describe('WindowCenter')} or {describe('VOILUTSequence')}); all from "
            f"{low:g} to {high:g} were taken"
        ]
    remarks = []
    if found > 1:
        what = "table" if tables else "window"
        remarks = [
            f"it names {found} alternatives of values of interest, {len(tables)} tables and {len(centres)} windows; "
            f"the first {what} was taken"
        ]
    if tables:
        table = _table(Tags(tables[0], tags.name), pixels, signed=low < 0)
        return OfInterest(table), [*remarks, *_falling(table)]
    return _window(tags, len(centres)), remarks


def _falling(table: Table) -> list[str]:
    """A remark where a table exchanges bright and dark, in all or in part; which is bright, other elements say."""
    steps = np.diff(table.entries)
    if not (steps < 0).any():
        return []
    how = "rise and fall" if (steps > 0).any() else "fall, so that bright and dark are exchanged by them"
    return [f"the entries of {describe('VOILUTSequence')} {how}"]


def _window(tags: Tags, count: int) -> Window:
    centre = (tags.numbers("WindowCenter", count) or (0.0,))[0]
    width = (tags.numbers("WindowWidth", count) or (0.0,))[0]
    named = tags.text("VOILUTFunction") or "LINEAR"
    for function in FUNCTIONS:
        if function == named:
            least = 1.0 if function == "LINEAR" else 0.0
            if width < least or width == 0:
                wanted = "1 or more" if least else "more than 0"
                raise tags.refusal("WindowWidth", f"is {width:g}; {wanted} was expected for {function}")
            return Window(centre, width, function)
    raise tags.refusal("VOILUTFunction", f"is none of {', '.join(FUNCTIONS)}")


def _inverted(tags: Tags) -> tuple[bool, tuple[str, ...]]:
    """Whether the lowest values are the brightest, and a remark where the header says both."""
    photometric, shape = tags.text("PhotometricInterpretation"), tags.text("PresentationLUTShape")
    inverted = photometric == "MONOCHROME1" or shape == "INVERSE"
    expected = {"MONOCHROME1": ("", "INVERSE"), "MONOCHROME2": ("", "IDENTITY")}
    if shape not in ("", "IDENTITY", "INVERSE"):
        raise tags.refusal("PresentationLUTShape", "is neither IDENTITY nor INVERSE")
    if shape in expected[photometric]:
        return inverted, ()
    return inverted, (
        f"{describe('PhotometricInterpretation')} is {photometric} but {describe('PresentationLUTShape')} is {shape}, "
        "which contradict each other; the lowest values were taken to be the brightest",
    )


def _table(item: Tags, pixels: PixelFormat, *, signed: bool) -> Table:
    """A lookup table's item: LUTDescriptor (0028,3002) and LUTData (0028,3006).

    Where their type is not told, or is that of words, they come as bytes. Tables of 12 bits are written that say 16
    (Agfa and others), so that what the entries reach decides how many bits they are of.
    """
    order = "<" if pixels.instance.syntax.is_little_endian else ">"
    descriptor = _words(item, "LUTDescriptor", order)
    if len(descriptor) != 3:
        raise item.refusal("LUTDescriptor", f"has {len(descriptor)} values; 3 were expected")
    count, first, bits = (int(value) & 0xFFFF for value in descriptor)
    count = count or MAX_ENTRIES
    first = first - 0x10000 if signed and first > 0x7FFF else first
    if not 8 <= bits <= 16:
        raise item.refusal("LUTDescriptor", f"says entries of {bits} bits; 8 to 16 were expected")
    entries = _words(item, "LUTData", order, count)
    if len(entries) < count:
        raise item.refusal("LUTData", f"has {len(entries)} entries; {count} were expected")
    values = np.asarray(entries[:count], np.float64)
    if float(values.max()) >= 1 << bits or float(values.min()) < 0:
        raise item.refusal("LUTData", f"has entries beyond {bits} bits")
    reached = min(max(int(values.max()).bit_length(), 1), bits)
    top = float((1 << reached) - 1)
    remark = (
        f"{describe('LUTDescriptor')} says entries of {bits} bits, but none of them is above {values.max():g}; they "
        f"were taken to be of {reached} bits, so that {top:g} is the end of their range"
    )
    return Table(first, values, top, remark if reached < bits else "")


def _words(item: Tags, keyword: str, order: str, count: int = 0) -> list[int]:
    """Whole numbers: of bytes, words in this order, or bytes where there are only as many as there must be numbers."""
    value = item.dataset.get(keyword) if keyword in item else None
    if isinstance(value, bytes):
        single = count > 1 and len(value) in (count, count + count % 2)
        words: list[int] = np.frombuffer(
            value[: len(value) // 2 * 2] if not single else value, "u1" if single else f"{order}u2"
        ).tolist()
        return words
    try:
        return [int(text) for text in item.texts(keyword)]
    except ValueError:
        raise item.refusal(keyword, "is not a whole number") from None
