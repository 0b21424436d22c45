"""The functional groups of a multi-frame image (PS3.3 C.7.6.16): of each frame's item only what is read.

Vendors put much beside that, which would be held for every frame of a study.
"""

from collections.abc import MutableSequence
from io import BytesIO
from struct import unpack
from typing import BinaryIO

from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from ..faults import DamagedError

Encoding = str | MutableSequence[str]
GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
MACROS = (
    *("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence", "FrameContentSequence"),
    *("PixelValueTransformationSequence", "CTImageFrameTypeSequence", "MRImageFrameTypeSequence"),
    *("MREchoSequence", "MRDiffusionSequence", "CTReconstructionSequence", "CTXRayDetailsSequence"),
    *("ContrastBolusUsageSequence", "FrameAnatomySequence"),
)
"""Every macro that is read."""

_TAGS: list[BaseTag | int] = [tag_for_keyword(keyword) or 0 for keyword in MACROS]
_WANTED = frozenset(map(int, _TAGS))
_ITEM, _ITEMS_END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
_HEAD = 8
"""Bytes of an item's tag and length, and of the shorter form of an element's."""
UNDEFINED_LENGTH = 0xFFFFFFFF


def read_groups(stream: BinaryIO, length: int, *, implicit: bool, little: bool, encoding: Encoding) -> Sequence:
    """The items of one sequence, from where the stream stands.

    Args:
        length: of its value in bytes, or UNDEFINED_LENGTH.
        encoding: the character set around it, in Python's name.

    Raises:
        DamagedError: it ends early, holds something else, or a macro twice in an item.
    """
    begin, items = stream.tell(), []
    while length == UNDEFINED_LENGTH or stream.tell() - begin < length:
        head = stream.read(_HEAD)
        if len(head) < _HEAD:
            raise DamagedError("a sequence of functional groups that ends early")
        group, element, size = unpack("<HHL" if little else ">HHL", head)
        if (group, element) == _ITEMS_END:
            break
        if (group, element) != _ITEM:
            raise DamagedError("a sequence of functional groups that holds no items")
        items.append(_item(stream, size, implicit=implicit, little=little, encoding=encoding))
    return Sequence(items)


def _item(stream: BinaryIO, size: int, *, implicit: bool, little: bool, encoding: Encoding) -> Dataset:
    if size != UNDEFINED_LENGTH:
        data = stream.read(size)
        if len(data) < size:
            raise DamagedError("functional groups that end early")
        stream = BytesIO(data)
    begin = stream.tell()
    seen: set[int] = set()

    def each_once(tag: BaseTag, vr: str | None, length: int) -> bool:
        if stream.tell() - begin >= _HEAD:  # not where pydicom looks at the form of the first element alone
            refuse_twice(int(tag), _WANTED, seen)
        return False

    return read_dataset(
        stream,
        implicit,
        little,
        stop_when=each_once,
        specific_tags=_TAGS,
        parent_encoding=encoding,
        at_top_level=False,
    )


def refuse_twice(number: int, wanted: frozenset[int], seen: set[int]) -> None:
    """Note an element that a reader comes to.

    Raises:
        DamagedError: it was there before; a data set has each but once (PS3.5 7.1).
    """
    if number not in wanted:
        return
    if number in seen:
        named = f"({number >> 16:04X},{number & 0xFFFF:04X}) {keyword_for_tag(number)}".strip()
        raise DamagedError(f"{named} stands in it twice; once was expected (PS3.5 7.1)")
    seen.add(number)
