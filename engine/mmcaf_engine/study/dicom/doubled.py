"""Elements that stand twice in a data set, which has each but once (PS3.5 7.1): a reader keeps the last in silence."""

from collections.abc import Iterable
from itertools import pairwise

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

_HEAD, _LONG_HEAD = 8, 12
"""Bytes before a value (PS3.5 7.1.2)."""
_UNDEFINED = 0xFFFFFFFF


def holds_doubles(items: Iterable[Dataset]) -> bool:
    """Whether an item of a sequence held an element twice.

    pydicom gives the elements of an item in the order in which their tags first came, each with its last value and that
    one's place in the file. Without doubles they lie one after the other, from the begin of the item.
    """
    first = None
    for item in items:
        implicit = bool(item.original_encoding[0])
        places = [_place(element, implicit) for element in item.values()]
        begin = getattr(item, "seq_item_tell", None)
        if not places or begin is None:
            continue
        first = begin if first is None else first
        # Counted from the begin of the sequence or of the file, by whether its length was known.
        if places[0][0] not in (begin - first + _HEAD, begin + _HEAD):
            return True
        if any(one >= other or end not in (None, other) for (one, end), (other, _) in pairwise(places)):
            return True
    return False


def _place(element: object, implicit: bool) -> tuple[int, int | None]:
    """Where an element begins and ends; the end of one of unknown length, or of a value read before, is None."""
    tell = element.value_tell if isinstance(element, RawDataElement) else getattr(element, "file_tell", None) or 0
    long = getattr(element, "VR", None) in EXPLICIT_VR_LENGTH_32
    implicit = element.is_implicit_VR if isinstance(element, RawDataElement) else implicit
    begin = tell - (_LONG_HEAD if long and not implicit else _HEAD)
    if isinstance(element, RawDataElement) and element.length != _UNDEFINED:
        return begin, tell + element.length
    return begin, None
