"""RLE Lossless (PS3.5 annex G): one frame of one sample per pixel, unpacked no further than its size."""

import numpy as np
from numpy.typing import NDArray

from ..faults import DamagedError

HEADER_BYTES = 64
"""The number of segments and the offsets of up to fifteen, each four bytes, little endian."""
END_OF_RUNS = 128
"""A run of this length code means nothing."""


def decode_rle(frame: bytes, pixels: int, sample_bytes: int) -> NDArray[np.unsignedinteger]:
    """Unpack one frame.

    Args:
        frame: the encoded frame.
        pixels: rows times columns.
        sample_bytes: bytes of one sample; each has its own segment, the most significant first.

    Returns:
        [pixels], unsigned, of `sample_bytes` bytes.

    Raises:
        DamagedError: another number of segments, offsets out of order, or a segment too short.
    """
    header = np.frombuffer(frame[:HEADER_BYTES], "<u4").tolist()
    if len(header) != HEADER_BYTES // 4 or header[0] != sample_bytes:
        raise DamagedError(f"{header[0] if header else 0} RLE segments; {sample_bytes} were expected")
    starts = header[1 : sample_bytes + 1]
    ends = [*starts[1:], len(frame)]
    if starts[0] < HEADER_BYTES or any(end < start for start, end in zip(starts, ends, strict=True)):
        raise DamagedError("RLE segments out of order")
    planes = np.empty((pixels, sample_bytes), np.uint8)
    for place, (start, end) in enumerate(zip(starts, ends, strict=True), start=1):
        planes[:, sample_bytes - place] = np.frombuffer(_unpack(frame[start:end], pixels), np.uint8)
    values: NDArray[np.unsignedinteger] = planes.view(f"<u{sample_bytes}")[:, 0]
    return values


def _unpack(segment: bytes, size: int) -> bytes:
    """Undo PackBits (PS3.5 G.3.2) until `size` bytes are there."""
    unpacked = bytearray()
    at, last = 0, len(segment) - 1
    while at < last and len(unpacked) < size:
        code = segment[at]
        if code < END_OF_RUNS:
            unpacked += segment[at + 1 : at + code + 2]
            at += code + 2
        elif code > END_OF_RUNS:
            unpacked += segment[at + 1 : at + 2] * (257 - code)
            at += 2
        else:
            at += 1
    if len(unpacked) < size:
        raise DamagedError(f"an RLE segment unpacks to {len(unpacked)} bytes; {size} were expected")
    return bytes(unpacked[:size])
