"""PNG and JPEG files, well-formed and otherwise, written chunk by chunk."""

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""Samples per pixel -> colour type."""


def chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk with its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(pixels: NDArray[Any], *extra: bytes, header: dict[str, int] | None = None) -> bytes:
    """A PNG of uint8 or uint16 [H, W] or [H, W, samples].

    Args:
        extra: chunks between header and pixels.
        header: other values of its fields than those of the pixels.
    """
    planes = pixels if pixels.ndim == 3 else pixels[..., np.newaxis]
    fields = {
        "width": planes.shape[1],
        "height": planes.shape[0],
        "bits": 8 * planes.dtype.itemsize,
        "colour": COLOUR_TYPES[planes.shape[2]],
        "compression": 0,
        "filter": 0,
        "interlace": 0,
        **(header or {}),
    }
    rows = planes.astype(planes.dtype.newbyteorder(">")).reshape(planes.shape[0], -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    ihdr = chunk(b"IHDR", struct.pack(">2I5B", *fields.values()))
    return b"".join([SIGNATURE, ihdr, *extra, chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b"")])


def exif(orientation: int, order: str = ">") -> bytes:
    """An EXIF block that holds one entry."""
    head = b"MM\0*" if order == ">" else b"II*\0"
    entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    return head + struct.pack(f"{order}IH", 8, 1) + entry + struct.pack(f"{order}I", 0)


def with_exif(jpeg: bytes, orientation: int, order: str = ">") -> bytes:
    """A JPEG file with an EXIF segment after its first marker."""
    body = b"Exif\0\0" + exif(orientation, order)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]
