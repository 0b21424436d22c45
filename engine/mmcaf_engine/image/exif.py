"""How a picture lies, by the EXIF block of a PNG or JPEG file (JEITA CP-3451, tag 0x0112)."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..study.dicom.codestream import JPEG_SCAN, segments
from ..study.faults import DamagedError

UPRIGHT = {
    1: "left as it was",
    2: "mirrored left to right",
    3: "turned by 180 degrees",
    4: "mirrored top to bottom",
    5: "mirrored along its diagonal",
    6: "turned by 90 degrees to the right",
    7: "mirrored along its other diagonal",
    8: "turned by 90 degrees to the left",
}
"""Orientation -> what makes the picture upright."""

_ORIENTATION, _SHORT = 0x0112, 3
_ENTRY_BYTES = 12
_APP1 = 0xE1
_EXIF = b"Exif\0\0"


def upright(plane: NDArray[np.float32], lies: int) -> NDArray[np.float32]:
    """A picture [H, W] of this orientation as it is to be looked at."""
    turned = plane.T if lies >= 5 else plane
    rows = slice(None, None, -1 if lies in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if lies in (2, 3, 6, 7) else 1)
    return turned[rows, columns]


def orientation(block: bytes) -> int:
    """The orientation of an EXIF block, which is a TIFF header and its first directory; 1 where it has none.

    Raises:
        DamagedError: the block is damaged.
    """
    if block[:4] not in (b"II*\0", b"MM\0*"):
        raise DamagedError("an EXIF block without TIFF header")
    order: Literal["little", "big"] = "little" if block[:2] == b"II" else "big"

    def number(at: int, size: int) -> int:
        if at + size > len(block):
            raise DamagedError("an EXIF block that is cut short")
        return int.from_bytes(block[at : at + size], order)

    first = number(4, 4)
    for entry in range(number(first, 2)):
        at = first + 2 + entry * _ENTRY_BYTES
        if number(at, 2) == _ORIENTATION and number(at + 2, 2) == _SHORT:
            return number(at + 8, 2)
    return 1


def jpeg_orientation(data: bytes) -> int:
    """The orientation of a JPEG stream.

    Raises:
        DamagedError: a segment before its first scan, or its EXIF block, is damaged.
    """
    for marker, body, _ in segments(data):
        if marker == JPEG_SCAN:
            break
        if marker == _APP1 and body.startswith(_EXIF):
            return orientation(body[len(_EXIF) :])
    return 1
