"""A small JPEG lossless encoder (ISO/IEC 10918-1 annex H), written to check decoders against the text."""

import struct

import numpy as np
from numpy.typing import NDArray

CATEGORIES = 17
"""Table H.2: a difference of s bits, 0 to 16, is in category s; here each has a code of five bits."""


def encode(values: NDArray[np.unsignedinteger], bits: int, predictor: int) -> bytes:
    """One frame.

    Args:
        values: [rows, columns], below 2 ** bits.
        bits: precision, 2 to 16.
        predictor: 1 to 7 (table H.1).
    """
    rows, columns = values.shape
    lengths = bytes([0, 0, 0, 0, CATEGORIES, *[0] * 11])
    return b"".join(
        [
            b"\xff\xd8",
            _segment(0xC3, struct.pack(">BHHBBBB", bits, rows, columns, 1, 1, 0x11, 0)),
            _segment(0xC4, b"\0" + lengths + bytes(range(CATEGORIES))),
            _segment(0xDA, struct.pack(">BBBBBB", 1, 1, 0, predictor, 0, 0)),
            _scan(values.astype(np.int64), bits, predictor).replace(b"\xff", b"\xff\0"),
            b"\xff\xd9",
        ]
    )


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _scan(values: NDArray[np.int64], bits: int, predictor: int) -> bytes:
    written = []
    for row, column in np.ndindex(values.shape):
        difference = int(values[row, column]) - _predicted(values, row, column, bits, predictor)
        difference = (difference + 0x8000) % 0x10000 - 0x8000  # modulo 65536 (H.1.2.1)
        if difference == -0x8000:
            written.append(f"{16:05b}")  # without further bits (H.1.2.2)
            continue
        size = abs(difference).bit_length()
        written.append(f"{size:05b}")
        if size:
            written.append(f"{difference if difference > 0 else difference + (1 << size) - 1:0{size}b}")
    text = "".join(written)
    text += "1" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def _predicted(values: NDArray[np.int64], row: int, column: int, bits: int, predictor: int) -> int:
    if row == 0 and column == 0:
        return 1 << (bits - 1)
    if row == 0:
        return int(values[0, column - 1])
    if column == 0:
        return int(values[row - 1, 0])
    left, above, corner = (int(values[at]) for at in ((row, column - 1), (row - 1, column), (row - 1, column - 1)))
    return (
        left,
        above,
        corner,
        left + above - corner,
        left + ((above - corner) >> 1),
        above + ((left - corner) >> 1),
        (left + above) >> 1,
    )[predictor - 1]
