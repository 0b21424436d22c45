"""What a compressed frame says of itself, checked so that no decoder allocates or loops by a hostile one."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pydicom.uid import (
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSTransferSyntaxes,
)

from ..faults import DamagedError

MAX_TILES = 1024
MAX_LEVELS = 32
"""JPEG 2000: of decomposition (ISO/IEC 15444-1 table A.15)."""
MIN_BLOCK_LOG2 = 4
"""JPEG 2000: precincts and code blocks of at least 16 x 16 samples. Encoders use 32 or more; a decoder
spends several hundred bytes on each, so smaller ones turn a small file into gigabytes."""

_EOI = b"\xff\xd9"
_PADDING = {0x00, 0x20, 0xFF}
"""What encoders fill a fragment with after the end marker; the one byte that makes its length even may be anything."""
_MAX_PADDING = 62
_JPEG2000 = b"\xff\x4f\xff\x51"
"""SOC, then SIZ, which must follow it (ISO/IEC 15444-1 annex A.5.1)."""
_COD, _COC, _QCD, _QCC, _SOT, _SOD = 0xFF52, 0xFF53, 0xFF5C, 0xFF5D, 0xFF90, 0xFF93
_JPEG_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""Markers that start a frame (ISO/IEC 10918-1 table B.1; 0xF7 for JPEG-LS, ISO/IEC 14495-1)."""
_JPEG_BARE = {0x01, *range(0xD0, 0xD9)}
"""Markers without a length."""
_JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
"""With fill bytes before it (ISO/IEC 10918-1 B.1.1.2)."""
JPEG_SCAN, JPEG_END = 0xDA, 0xD9
_ALLOWED_FRAMES = {
    JPEGBaseline8Bit: (0xC0,),
    JPEGExtended12Bit: (0xC0, 0xC1),
    JPEGLossless: (0xC3,),
    JPEGLosslessSV1: (0xC3,),
    **dict.fromkeys(JPEGLSTransferSyntaxes, (0xF7,)),
}
"""PS3.5 8.2.1, 8.2.3: the coding process that a transfer syntax stands for."""
_LOSSLESS = (JPEG2000Lossless, HTJ2KLossless, HTJ2KLosslessRPCL)
"""JPEG 2000 streams that keep every bit; of others nothing tells whether they were cut."""
_SOF3, _SOF55 = 0xC3, 0xF7
"""The JPEG processes that may: lossless, and JPEG-LS."""


@dataclass(frozen=True)
class FrameHeader:
    """rows, columns and components of a frame, and the bits of its samples as its own header has them.

    exact: the coding process keeps every bit, as far as the frame tells.
    """

    rows: int
    columns: int
    components: int
    precision: int
    exact: bool = False


def frame_header(frame: bytes, syntax: UID) -> FrameHeader | None:
    """The header of one compressed frame; None for a syntax that has none, such as RLE.

    Raises:
        DamagedError: the frame is not what the transfer syntax says, or is cut short.
    """
    if syntax in JPEG2000TransferSyntaxes:
        return replace(_jpeg2000(frame), exact=syntax in _LOSSLESS)
    return jpeg_header(frame, _ALLOWED_FRAMES[syntax]) if syntax in _ALLOWED_FRAMES else None


def refuse_costly_layout(frame: bytes, syntax: UID) -> None:
    """Refuse JPEG 2000 frames, of the size expected, in more or smaller parts than encoders make.

    Looks at the tiles, at the coding style of the whole image, that no tile has another, and that there is a step for
    each of its subbands, without which a decoder takes any (ISO/IEC 15444-1 A.5.1, A.6.1, A.6.2, A.6.4).

    Raises:
        DamagedError: so many tiles, or so small precincts or code blocks, or a header cut short.
    """
    if syntax not in JPEG2000TransferSyntaxes:
        return
    right, bottom, _, _, width, height = (_number(frame, at, 4) for at in range(8, 32, 4))
    if not (width and height) or -(-right // width) * -(-bottom // height) > MAX_TILES:
        raise DamagedError(f"tiles of {width} x {height}; at most {MAX_TILES} tiles are read")
    at, styles, levels, steps = 4 + _number(frame, 4, 2), 0, 0, []
    while (marker := _number(frame, at, 2)) != _SOT:
        if marker == _COD:
            style = frame[at + 4 : at + 2 + _number(frame, at + 2, 2)]
            if len(style) < 10:
                raise DamagedError("a coding style of too few bytes")
            levels = style[5]
            blocks = [style[6] + 2, style[7] + 2]
            precincts = [bits for size in style[10:] for bits in (size & 15, size >> 4)] if style[0] & 1 else []
            if min(blocks + precincts) < MIN_BLOCK_LOG2:
                raise DamagedError("code blocks or precincts of less than 16 x 16 samples")
            styles += 1
        elif marker in (_COC, _QCC):
            raise DamagedError("a coding style of its own for the one component")
        elif marker == _QCD:
            steps.append(_steps(frame[at + 4 : at + 2 + _number(frame, at + 2, 2)]))
        at = _next_segment(frame, at)
    if styles != 1 or len(steps) != 1:
        raise DamagedError(f"{styles} coding styles and {len(steps)} quantisations where one of each was expected")
    if steps[0] < 3 * levels + 1:
        raise DamagedError(f"{max(steps[0], 0)} quantisation steps; {3 * levels + 1} were expected")
    while _number(frame, at, 2) == _SOT:
        part, length = at, _number(frame, at + 6, 4)
        at += 12
        while (marker := _number(frame, at, 2)) != _SOD:
            if marker in (_COD, _COC, _QCD, _QCC):
                raise DamagedError("a coding style of its own for a tile")
            at = _next_segment(frame, at)
        if length == 0:  # up to the end of the codestream
            return
        at = max(part + length, at + 2)
    # What follows the tile parts, the end marker or its absence, is the decoder's to judge.


def _steps(quantisation: bytes) -> int:
    """For how many subbands it has a step; one that the others are derived from is for all (table A.28)."""
    kind = quantisation[0] & 31 if quantisation else 0
    if kind == 1:
        return 3 * MAX_LEVELS + 1 if len(quantisation) >= 3 else 0
    return (len(quantisation) - 1) // (2 if kind == 2 else 1)


def _jpeg2000(frame: bytes) -> FrameHeader:
    if frame[:4] != _JPEG2000 or len(frame) < 45:
        raise DamagedError("no JPEG 2000 codestream")
    right, bottom, left, top = (_number(frame, at, 4) for at in range(8, 24, 4))
    return FrameHeader(bottom - top, right - left, _number(frame, 40, 2), (frame[42] & 0x7F) + 1)


def jpeg_header(frame: bytes, allowed: tuple[int, ...]) -> FrameHeader:
    """Walk the marker segments up to the first scan.

    Args:
        allowed: second bytes of the markers that may start the frame.

    A frame that lacks its end marker is completed with invented pixels by some decoders (libjpeg), and
    makes others wait for ever (CharLS).

    Raises:
        DamagedError: no JPEG stream, one of another process, or one that is cut short.
    """
    if frame[:2] != b"\xff\xd8":
        raise DamagedError("no JPEG stream")
    _end(frame)
    found, process, near = [], 0, 0
    for marker, body, _ in segments(frame):
        if marker in _JPEG_FRAMES:
            if marker not in allowed:
                expected = " or ".join(f"0xFF{number:02X}" for number in allowed)
                raise DamagedError(f"the JPEG process is 0xFF{marker:02X}; {expected} was expected")
            process = marker
            rows, columns = _number(body, 1, 2), _number(body, 3, 2)
            found.append(FrameHeader(rows, columns, _number(body, 5, 1), _number(body, 0, 1)))
        elif marker == JPEG_SCAN:
            near = _number(body, 1 + 2 * _number(body, 0, 1), 1) if process == _SOF55 else 0
            break
    else:
        raise DamagedError("the JPEG stream is cut short: it ends before its first scan")
    if len(found) != 1:
        raise DamagedError(f"{len(found)} JPEG frame headers where one was expected")
    return replace(found[0], exact=process in (_SOF3, _SOF55) and near == 0)


def segments(stream: bytes, begin: int = 2) -> Iterator[tuple[int, bytes, int]]:
    """Every marker segment from `begin` on: the marker's second byte, what the segment holds, and where it ends.

    To be left at a scan, behind which coded data lie; ends with the marker that ends the stream.

    Raises:
        DamagedError: something else than a marker stands there, or a segment is cut short.
    """
    at = begin
    while True:
        found = _JPEG_MARKER.match(stream, at)
        if found is None:
            raise DamagedError(f"no JPEG marker {at} bytes into the stream")
        marker, at = found[1][0], found.end()
        if marker == JPEG_END or marker in _JPEG_BARE:
            yield marker, b"", at
            if marker == JPEG_END:
                return
            continue
        length = _number(stream, at, 2)
        if length < 2:
            raise DamagedError(f"a marker segment of {length} bytes")
        if at + length > len(stream):
            raise DamagedError("the compressed stream is cut short in its header")
        yield marker, stream[at + 2 : at + length], at + length
        at += length


def without_padding(frame: bytes, syntax: UID) -> bytes:
    """A frame that `frame_header` accepted, up to the marker that ends it; unchanged where the syntax has none."""
    return frame[: _end(frame)] if syntax in _ALLOWED_FRAMES else frame


def _end(frame: bytes) -> int:
    """How many bytes a JPEG stream has up to its end marker and with it.

    Raises:
        DamagedError: the marker is missing, or more follows it than what fills a fragment.
    """
    start = max(len(frame) - _MAX_PADDING - len(_EOI), 0)
    end = frame.rfind(_EOI, start) + len(_EOI)
    rest = frame[end:]
    if end < start + len(_EOI) or not (len(rest) < 2 or _PADDING.issuperset(rest)):
        raise DamagedError("the JPEG stream is cut short: the marker that ends it (FFD9) is missing")
    return end


def _next_segment(frame: bytes, at: int) -> int:
    """The marker after the segment at `at`, which holds its own length."""
    length = _number(frame, at + 2, 2)
    if length < 2:
        raise DamagedError(f"a marker segment of {length} bytes")
    return at + 2 + length


def _number(frame: bytes, at: int, size: int) -> int:
    if at + size > len(frame):
        raise DamagedError("the compressed stream is cut short in its header")
    return int.from_bytes(frame[at : at + size], "big")
