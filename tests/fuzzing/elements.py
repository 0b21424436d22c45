"""DICOM data sets as trees of elements, written as they say: VRs, lengths and delimiters may all be wrong."""

import struct
from dataclasses import dataclass, field, replace

LONG = {b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV"}
"""VRs whose length takes four bytes (PS3.5 7.1.2)."""
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXELS = 0x7FE00010
PREAMBLE = 132


@dataclass
class Element:
    """One element. value: bytes, or the elements of each item. length: what it says, where that is not the value's."""

    tag: int
    vr: bytes
    value: "bytes | list[list[Element]]" = b""
    length: int | None = None
    undefined: bool = False
    ended: bool = True

    @property
    def items(self) -> "list[list[Element]]":
        """Of a sequence; none of another element."""
        return self.value if isinstance(self.value, list) else []


@dataclass
class File:
    """A file: what comes before its data set, and the data set."""

    head: bytes
    elements: list[Element] = field(default_factory=list)
    tail: bytes = b""


def parse(data: bytes) -> File:
    """A sound file in explicit little endian, with its file meta (PS3.10 7.1)."""
    length = struct.unpack_from("<I", data, PREAMBLE + 8)[0]
    begin = PREAMBLE + 12 + length
    return File(data[:begin], _parsed(data[begin:]))


def _parsed(data: bytes) -> list[Element]:
    at, found = 0, []
    while at < len(data):
        group, number, vr = struct.unpack_from("<HH2s", data, at)
        wide = vr in LONG
        length = struct.unpack_from("<I" if wide else "<H", data, at + (8 if wide else 6))[0]
        at += 12 if wide else 8
        if length == UNDEFINED:
            raise ValueError("only sound files of defined lengths are taken apart")
        value = data[at : at + length]
        at += length
        tag = group << 16 | number
        found.append(Element(tag, vr, _items(value) if vr == b"SQ" else value))
    return found


def _items(data: bytes) -> list[list[Element]]:
    at, found = 0, []
    while at < len(data):
        length = struct.unpack_from("<I", data, at + 4)[0]
        found.append(_parsed(data[at + 8 : at + 8 + length]))
        at += 8 + length
    return found


def encode(file: File, *, implicit: bool = False) -> bytes:
    """The file; `implicit` leaves VRs out, for a head that says so."""
    return file.head + encoded(file.elements, implicit=implicit) + file.tail


def encoded(elements: list[Element], *, implicit: bool = False) -> bytes:
    """A data set, or an item's content."""
    return b"".join(_element(one, implicit) for one in elements)


def _element(element: Element, implicit: bool) -> bytes:
    if isinstance(element.value, list):
        value = b"".join(_item(content, element.undefined, implicit) for content in element.value)
    else:
        value = element.value
    length = UNDEFINED if element.undefined else len(value)
    length = length if element.length is None else element.length
    if element.undefined and element.ended:
        value += struct.pack("<HHI", SEQUENCE_END >> 16, SEQUENCE_END & 0xFFFF, 0)
    tag = struct.pack("<HH", element.tag >> 16 & 0xFFFF, element.tag & 0xFFFF)
    if implicit:
        return tag + struct.pack("<I", length & UNDEFINED) + value
    if element.vr in LONG:
        return tag + element.vr + b"\0\0" + struct.pack("<I", length & UNDEFINED) + value
    return tag + element.vr + struct.pack("<H", length & 0xFFFF) + value


def _item(content: list[Element], undefined: bool, implicit: bool) -> bytes:
    value = encoded(content, implicit=implicit)
    length = UNDEFINED if undefined else len(value)
    end = struct.pack("<HHI", ITEM_END >> 16, ITEM_END & 0xFFFF, 0) if undefined else b""
    return struct.pack("<HHI", ITEM >> 16, ITEM & 0xFFFF, length) + value + end


def copied(elements: list[Element]) -> list[Element]:
    """A tree of its own; the bytes are shared."""
    return [
        replace(one, value=[copied(item) for item in one.value] if isinstance(one.value, list) else one.value)
        for one in elements
    ]


def nested(tag: int, depth: int, *, undefined: bool) -> Element:
    """A sequence in a sequence and so on, as bytes in explicit VR."""
    inner = encoded([Element(0x00080100, b"SH", b"X ")])
    for _ in range(depth):
        inner = struct.pack("<HHI", ITEM >> 16, ITEM & 0xFFFF, UNDEFINED if undefined else len(inner)) + inner
        if undefined:
            inner += struct.pack("<HHI", ITEM_END >> 16, ITEM_END & 0xFFFF, 0)
        inner = _element(Element(tag, b"SQ", inner, undefined=undefined), implicit=False)
    return Element(tag, b"SQ", inner)


def all_sets(elements: list[Element]) -> list[list[Element]]:
    """The data set, and the content of every item at any depth."""
    found = [elements]
    for element in elements:
        for item in element.items:
            found += all_sets(item)
    return found
