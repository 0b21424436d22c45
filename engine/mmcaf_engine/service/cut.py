"""Whether a received DICOM file ends in the middle of an element: then it is a part of one, and is not kept.

A part that was kept would hold the UID of its image, so that the whole one were refused when it came.
"""

import struct

UNDEFINED = 0xFFFFFFFF
"""A length that a delimiter ends (PS3.5 7.1.1)."""
LONG_FORMS = (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UR", b"UT", b"UN", b"SV", b"UV")
"""Value representations whose length takes four bytes, behind two that are reserved (PS3.5 7.1.2)."""
_ITEMS, _ITEM, _PIXELS = 0xFFFE, 0xE000, 0x7FE0


def is_cut(content: bytes, at: int, *, implicit: bool, little: bool = True, pixels: bool = False) -> bool:
    """Whether an element reaches beyond the end, a sequence has no delimiter, or pixels are wanted and there are none.

    Where something else is wrong it is for the engine to say so.

    Args:
        at: where the data set begins.
        implicit: its elements have no value representation. little: little endian. pixels: it is an image.
    """
    order = "<" if little else ">"
    tag, long, short = struct.Struct(f"{order}HH"), struct.Struct(f"{order}I"), struct.Struct(f"{order}H")
    plain = [implicit]
    """Of the data set and of each sequence or item that a delimiter ends: whether it is in Implicit VR."""
    seen = False
    while at + 8 <= len(content):
        group, element = tag.unpack_from(content, at)
        if group == _ITEMS:
            length = long.unpack_from(content, at + 4)[0]
            at += 8
            if element != _ITEM:
                del plain[max(1, len(plain) - 1) :]
            elif length == UNDEFINED:
                plain.append(plain[-1])
            else:
                at += length
            continue
        seen = seen or (group == _PIXELS and len(plain) == 1)
        kind, head = content[at + 4 : at + 6], 8
        if plain[-1]:
            length = long.unpack_from(content, at + 4)[0]
        elif kind in LONG_FORMS:
            if at + 12 > len(content):
                return True
            length, head = long.unpack_from(content, at + 8)[0], 12
        elif kind.isalpha() and kind.isupper():
            length = short.unpack_from(content, at + 6)[0]
        else:
            return False  # No element: what follows cannot be told.
        at += head
        if length == UNDEFINED:
            plain.append(plain[-1] or kind == b"UN")  # Unknown ones are in Implicit VR (PS3.5 6.2.2).
        else:
            at += length
    return at > len(content) or len(plain) > 1 or (not seen and (pixels or any(content[at:])))
