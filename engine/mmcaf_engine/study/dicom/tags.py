"""Typed access to a header's elements; what cannot be read is refused by tag, never by value."""

import math
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement, convert_raw_data_element
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from ...errors import StudyError
from ..faults import shown_text
from .doubled import holds_doubles

Value = TypeVar("Value")

Known = dict[Hashable, Sequence[Any]]
"""Values by their encoded bytes, kept while one study is read: its slices repeat most of their header."""

_MACROS = {
    *("PlaneOrientationSequence", "PixelMeasuresSequence", "PixelValueTransformationSequence"),
    *("CTImageFrameTypeSequence", "MRImageFrameTypeSequence", "MREchoSequence", "MRDiffusionSequence"),
    *("CTReconstructionSequence", "CTXRayDetailsSequence", "ContrastBolusUsageSequence"),
}
"""Sequences of functional groups, small and mostly the same in every frame, in which nothing depends on what is
around them (PS3.3 C.7.6.16.2); their items are only read."""
_KINDS = {
    **dict.fromkeys(("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM"), "text"),
    **dict.fromkeys(("UC", "UI", "UR", "UT"), "text"),
    **dict.fromkeys(("US", "SS", "UL", "SL", "UV", "SV"), "whole number"),
    **dict.fromkeys(("FL", "FD"), "real number"),
    "AT": "tag",
}
"""How values of a VR are written (PS3.5 6.2). Bytes of one kind that are read as another give any value at all."""
_TWICE = "holds an element twice; each once was expected (PS3.5 7.1)"
_COMMA = "written with a decimal comma; a decimal point was expected (PS3.5 6.2, DS)"


def describe(keyword: str) -> str:
    """An element as messages name it, such as "(0028,0030) PixelSpacing"."""
    tag = tag_for_keyword(keyword) or 0
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X}) {keyword}"


class Tags:
    """A dataset of which messages say `name`. Absent and empty elements read as None, "" or ()."""

    def __init__(self, dataset: Dataset, name: str, known: Known | None = None) -> None:
        self.dataset = dataset
        self.name = name
        self._known = {} if known is None else known
        self._read: dict[str, Sequence[Any]] = {}
        self._encoded: dict[tuple[str, ...], tuple[Hashable, ...]] = {}

    def __contains__(self, keyword: str) -> bool:
        return keyword in self.dataset

    def text(self, keyword: str) -> str:
        """A value as text without surrounding blanks; several values stay joined by a backslash."""
        return "\\".join(self.texts(keyword))

    def texts(self, keyword: str) -> tuple[str, ...]:
        """Every value as text without surrounding blanks.

        Raises:
            StudyError: unreadable, or no text but a sequence or bytes, whose content is never quoted.
        """
        values = self._values(keyword)
        if any(isinstance(value, Dataset | bytes) for value in values):
            raise self.refusal(keyword, "is no text, which was expected")
        return tuple(str(value).strip() for value in values)

    def text_or(self, keyword: str, default: str) -> str:
        """A value as `text` gives it; `default` where it is absent, empty or unreadable.

        For what names, tells apart or is only compared; what the pixels or their places rest on must be readable.
        """
        return self._if_readable(self.text, keyword) or default

    def encoded(self, keywords: tuple[str, ...]) -> tuple[Hashable, ...]:
        """What tells quickly whether two datasets hold the same values; of equal ones it may differ."""
        found = self._encoded.get(keywords)
        if found is None:
            elements = [self.dataset.get_item(_element(keyword)[0]) for keyword in keywords]
            found = self._encoded[keywords] = tuple(
                None if one is None else one.value if isinstance(one, RawDataElement) else str(one.value)
                for one in elements
            )
        return found

    def label(self, keyword: str) -> str:
        """A text to be shown, on one line; empty where it is unreadable, or is none."""
        return shown_text(self.text_or(keyword, ""))

    def number_or_none(self, keyword: str) -> float | None:
        """As `number`, but None also where it is unreadable; for the same uses as `text_or`."""
        return self._if_readable(self.number, keyword)

    def whole_or_none(self, keyword: str) -> int | None:
        """As `whole`, but None also where it is unreadable; for the same uses as `text_or`."""
        return self._if_readable(self.whole, keyword)

    def wholes_or_none(self, keyword: str) -> tuple[int, ...] | None:
        """Every value as a whole number; None where one is not, for the same uses as `text_or`."""
        values = self._if_readable(self._values, keyword)
        found = [value for value in values or () if isinstance(value, int)]
        return tuple(found) if values and len(found) == len(values) else None

    def number(self, keyword: str) -> float | None:
        """One finite number."""
        values = self.numbers(keyword, 1)
        return None if values is None else values[0]

    def whole(self, keyword: str) -> int | None:
        """One whole number."""
        number = self.number(keyword)
        if number is not None and number != int(number):
            raise self.refusal(keyword, f"is {number:g}; a whole number was expected")
        return None if number is None else int(number)

    def numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """`count` finite numbers.

        Raises:
            StudyError: another count, or a value that is no finite number.
        """
        values = self._values(keyword)
        if not values:
            return None
        if len(values) != count:
            raise self.refusal(keyword, f"has {len(values)} values; {count} expected")
        try:
            numbers = tuple(float(value) for value in values)
        except (TypeError, ValueError):
            comma = any(isinstance(value, str) and "," in value for value in values)
            raise self.refusal(keyword, f"is {_COMMA if comma else 'not a number'}") from None
        if not all(math.isfinite(number) for number in numbers):
            raise self.refusal(keyword, "is not finite")
        return numbers

    def private(self, element: int, creator: str, representation: str) -> tuple[float, ...]:
        """The numbers of a vendor's element, for the same uses as `text_or`; none where they cannot be read.

        Args:
            element: its tag, in the block that it usually has.
            creator: who must have reserved that block (PS3.5 7.8.1).
            representation: IS, DS, US or FL; what a file that says UN, or nothing, holds.
        """
        reserved = BaseTag(element & 0xFFFF0000 | element >> 8 & 0xFF)
        if element not in self.dataset or reserved not in self.dataset:
            return ()
        try:
            if str(self.dataset[reserved].value).strip() != creator:
                return ()
            value = self.dataset[element].value
            if isinstance(value, bytes):
                held = RawDataElement(BaseTag(element), representation, len(value), value, 0, False, True)
                value = convert_raw_data_element(held).value
            return tuple(float(number) for number in _listed(value) if math.isfinite(float(number)))
        except Exception:  # whatever pydicom makes of a vendor's bytes
            return ()

    def items(self, keyword: str) -> Sequence[Dataset]:
        """The items of a sequence."""
        items = self._values(keyword)
        if not all(isinstance(item, Dataset) for item in items):
            raise self.refusal(keyword, "is not a sequence")
        return items

    def first_item(self, keyword: str) -> "Tags | None":
        """The only or first item of a sequence."""
        items = self.items(keyword)
        return Tags(items[0], self.name, self._known) if items else None

    def item_or_none(self, keyword: str) -> "Tags | None":
        """As `first_item`, but None also where it is unreadable; for the same uses as `text_or`."""
        return self._if_readable(self.first_item, keyword)

    def items_or_none(self, keyword: str) -> "Sequence[Tags]":
        """Every item of a sequence; none where it is unreadable; for the same uses as `text_or`."""
        return [Tags(item, self.name, self._known) for item in self._if_readable(self.items, keyword) or ()]

    def part(self, item: Dataset, name: str) -> "Tags":
        """An item of a sequence, as messages call it."""
        return Tags(item, name, self._known)

    def refusal(self, keyword: str, what: str) -> StudyError:
        """The error that names this dataset and element."""
        return StudyError(f"{self.name}: {describe(keyword)} {what}.", "Send the study again from its source.")

    def _if_readable(self, read: Callable[[str], Value], keyword: str) -> Value | None:
        try:
            return read(keyword)
        except StudyError:
            return None

    def _values(self, keyword: str) -> Sequence[Any]:
        values = self._read.get(keyword)
        if values is None:
            try:
                values = self._read[keyword] = self._converted(keyword)
            except StudyError:
                raise
            except Exception as failure:  # pydicom converts on access, and raises as its converters do
                raise self.refusal(keyword, "cannot be read") from failure
        return values

    def _converted(self, keyword: str) -> Sequence[Any]:
        tag, stands_alone, kinds = _element(keyword)
        element = self.dataset.get_item(tag)
        if element is None:
            return ()
        if kinds and _KINDS.get(element.VR or "", kinds[0]) not in kinds:
            raise self.refusal(
                keyword, f"is encoded as {_KINDS[element.VR or '']} (VR {element.VR}); {kinds[0]} was expected"
            )
        kept = stands_alone and (element.VR != "SQ" or keyword in _MACROS)
        if not (kept and isinstance(element, RawDataElement)):
            return self._listed(keyword, tag)
        form = element.VR, element.is_implicit_VR, element.is_little_endian
        key = (tag, *form, element.value, str(self.dataset.original_character_set))
        values = self._known.get(key)
        if values is None:
            values = self._known[key] = self._listed(keyword, tag)
        return values

    def _listed(self, keyword: str, tag: BaseTag) -> Sequence[Any]:
        listing = _listed(self.dataset[tag].value)
        if holds_doubles(item for item in listing if isinstance(item, Dataset)):
            raise self.refusal(keyword, _TWICE)
        return listing


@lru_cache(maxsize=256)
def _element(keyword: str) -> tuple[BaseTag, bool, tuple[str, ...]]:
    """Its tag, whether its meaning depends on no other element of the dataset, and how its values may be written."""
    tag = BaseTag(tag_for_keyword(keyword) or 0)
    representation = dictionary_VR(tag)
    kinds = tuple({_KINDS[one] for one in representation.split(" or ") if one in _KINDS})
    return tag, " or " not in representation and (representation != "SQ" or keyword in _MACROS), kinds


def _listed(value: Any) -> Sequence[Any]:
    if value is None or value == "":
        return ()
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return value
    return (value,)
