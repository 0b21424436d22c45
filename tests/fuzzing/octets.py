"""Bytes damaged without a look at what they mean."""

import struct

import numpy as np
from numpy.random import Generator

HOSTILE_BYTES = (b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0")
LENGTHS = (0, 1, 3, 0x7FFF, 0xFFFE, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)


def damage(data: bytes, draw: Generator) -> bytes:
    """Flip bytes, cut, edit lengths, insert, remove or repeat pieces."""
    changed = bytearray(data)
    for _ in range(int(draw.integers(1, 5))):
        size = max(len(changed), 1)
        at = int(draw.integers(min(size, 700) if draw.random() < 0.5 else size))
        match int(draw.integers(7)):
            case 0 if changed:
                changed[min(at, len(changed) - 1)] ^= 1 << int(draw.integers(8))
            case 1:
                piece = draw.choice(np.array(HOSTILE_BYTES, object))
                changed[at : at + len(piece)] = piece
            case 2 if draw.random() < 0.4:
                del changed[at:]
            case 3:
                del changed[at : at + int(draw.integers(1, 40))]
            case 4:
                changed[at:at] = draw.bytes(int(draw.integers(1, 40)))
            case 5:
                length = int(draw.choice(np.array(LENGTHS, np.uint64)))
                piece = struct.pack("<I", length) if draw.random() < 0.5 else struct.pack("<H", length & 0xFFFF)
                changed[at : at + len(piece)] = piece
            case _:
                piece = bytes(changed[at : at + int(draw.integers(1, 200))])
                to = int(draw.integers(size))
                changed[to:to] = piece
    return bytes(changed)
