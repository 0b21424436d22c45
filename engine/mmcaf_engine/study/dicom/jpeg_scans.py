"""Whether all that a JPEG decoder gave was in its stream: no checksum tells, and decoders make up what is not there.

The markers are walked to the end (ISO/IEC 10918-1 annex B). Of lossless streams the decoded values tell how many bits
they take, which must be those that came. Of others, bytes put behind each scan must change nothing.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..faults import DamagedError
from .codestream import JPEG_SCAN, segments

Decode = Callable[[bytes], NDArray[np.integer]]

SLACK_BYTES = 16
"""Of a lossless scan: how many bytes more than needed may come, all of them fill; some encoders write whole words."""
_FILL = {0x00, 0xFF}

_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
_RESTARTS = range(0xD0, 0xD8)
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3}
_LOSSLESS, _HUFFMAN, _INTERVAL = 0xC3, 0xC4, 0xDD
_NO_CODE = 255
_FILLER = bytes([0x55, 0xAA, 0x33, 0xCC, 0x0F, 0xF0, 0x69, 0x96]) * 4
"""Coded data of every kind of symbol; whatever decoder is short of data takes it for the image."""


@dataclass(frozen=True)
class Scan:
    """The coded data of one scan.

    parts: from where to where in the stream, one for each restart interval. components: identifier and table of each.
    selection, transform: Ss and Al of its header. lengths: of the Huffman codes of its table for DC, by value.
    """

    parts: tuple[tuple[int, int], ...]
    components: tuple[tuple[int, int], ...]
    selection: int
    transform: int
    lengths: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Stream:
    """process: by the marker of its frame. sampling: identifier -> horizontal, vertical factor. interval: in MCUs."""

    process: int
    precision: int
    rows: int
    columns: int
    sampling: dict[int, tuple[int, int]]
    interval: int
    scans: tuple[Scan, ...]


def decode_whole(stream: bytes, decode: Decode) -> NDArray[np.integer]:
    """What the decoder gives, where the stream holds all of it and nothing else.

    Raises:
        DamagedError: it does not.
    """
    found = walk(stream)
    samples = np.asarray(decode(stream))
    if found.process == _LOSSLESS:
        _count(stream, found, samples)
    elif not np.array_equal(samples, decode(_filled(stream, found))):
        raise DamagedError("the coded data end before the last pixel")
    return samples


def walk(stream: bytes) -> Stream:
    """Every marker segment of a stream that begins and ends as it should.

    Raises:
        DamagedError: bytes between segments, a header of a wrong length, or restart markers that are not as announced.
    """
    at: int | None = 2
    interval = 0
    frame: tuple[int, bytes] | None = None
    tables: dict[int, dict[int, int]] = {}
    scans: list[Scan] = []
    while at is not None:
        begin, at = at, None
        for code, body, end in segments(stream, begin):
            if code in _FRAMES:
                frame = code, body
            elif code == _HUFFMAN:
                tables |= _tables(body)
            elif code == _INTERVAL:
                interval = int.from_bytes(body, "big")
            elif code == JPEG_SCAN:
                if frame is None or len(body) < 6 or len(body) != 4 + 2 * body[0]:
                    raise DamagedError(f"a scan header of {len(body)} bytes")
                scan, at = _scan(stream, end, body, tables)
                _check_restarts(scan, interval, *frame)
                scans.append(scan)
                break
    if frame is None or not scans:
        raise DamagedError("a JPEG stream without a scan")
    process, body = frame
    if len(body) < 6 or len(body) != 6 + 3 * body[5]:
        raise DamagedError(f"a frame header of {len(body)} bytes")
    rows, columns = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    return Stream(process, body[0], rows, columns, _sampling(body), interval, tuple(scans))


def _scan(stream: bytes, begin: int, header: bytes, tables: dict[int, dict[int, int]]) -> tuple[Scan, int]:
    """The coded data from `begin` on, and where the marker after them stands."""
    parts, start, number = [], begin, 0
    for marker in _MARKER.finditer(stream, begin):
        parts.append((start, marker.start()))
        if marker[1][0] not in _RESTARTS:
            break
        if marker[1][0] != _RESTARTS[number % 8]:
            raise DamagedError("restart markers out of their order")
        number, start = number + 1, marker.end()
    else:
        raise DamagedError("coded data without an end")
    components = tuple((header[1 + 2 * at], header[2 + 2 * at] >> 4) for at in range(header[0]))
    table = tables.get(components[0][1], {})
    return Scan(tuple(parts), components, header[-3], header[-1] & 15, table), parts[-1][1]


def _tables(body: bytes) -> dict[int, dict[int, int]]:
    """Of DC tables: number -> value -> length of its code (B.2.4.2)."""
    found: dict[int, dict[int, int]] = {}
    at = 0
    while at < len(body):
        kind, counts = body[at], body[at + 1 : at + 17]
        values = body[at + 17 : at + 17 + sum(counts)]
        if len(counts) < 16 or len(values) < sum(counts):
            raise DamagedError("a Huffman table that is cut short")
        lengths = [size for size, count in enumerate(counts, start=1) for _ in range(count)]
        if kind < 16:
            found[kind] = dict(zip(values, lengths, strict=True))
        at += 17 + len(values)
    return found


def _sampling(frame: bytes) -> dict[int, tuple[int, int]]:
    return {frame[at]: (frame[at + 1] >> 4, frame[at + 1] & 15) for at in range(6, len(frame) - 2, 3)}


def _check_restarts(scan: Scan, interval: int, process: int, frame: bytes) -> None:
    """As many restart markers as the interval gives (B.2.4.4); none without one."""
    units = _units(scan, process, frame)
    expected = -(-units // interval) if interval else 1
    if len(scan.parts) != expected:
        raise DamagedError(f"{len(scan.parts) - 1} restart markers in a scan; {expected - 1} were expected")


def _units(scan: Scan, process: int, frame: bytes) -> int:
    """Minimum coded units of a scan (A.2): blocks of 8 x 8, or samples; of several components in step."""
    rows, columns = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    sampling = _sampling(frame)
    factors = [sampling.get(identifier, (0, 0)) for identifier, _ in scan.components]
    if not factors or not all(min(pair) for pair in [*factors, *sampling.values()]):
        raise DamagedError("a scan of components that the frame does not have")
    widest, highest = (max(pair[axis] for pair in sampling.values()) for axis in (0, 1))
    side = 1 if process == _LOSSLESS else 8
    if len(factors) > 1:
        return -(-columns // (side * widest)) * -(-rows // (side * highest))
    across, down = factors[0]
    own_columns, own_rows = -(-columns * across // widest), -(-rows * down // highest)
    return -(-own_columns // side) * -(-own_rows // side)


def _filled(stream: bytes, found: Stream) -> bytes:
    """The stream with more bytes at the end of every part of its coded data."""
    ends = [end for scan in found.scans for _, end in scan.parts]
    pieces = [stream[begin:end] for begin, end in zip([0, *ends], [*ends, len(stream)], strict=True)]
    return _FILLER.join(pieces)


def _count(stream: bytes, found: Stream, samples: NDArray[np.integer]) -> None:
    """Refuse a lossless scan of one component whose coded data are not as long as its values take (annex H).

    Raises:
        DamagedError: fewer bytes, or more than encoders add; or a value without a code.
    """
    scan = found.scans[0]
    if len(found.scans) != 1 or len(scan.components) != 1 or samples.ndim != 2:
        raise DamagedError(f"{len(found.scans)} scans of lossless JPEG; one of one component was expected")
    every = found.interval // found.columns if found.interval else found.rows
    if found.interval % max(found.columns, 1) or not every:
        raise DamagedError(f"restarts after {found.interval} samples; whole rows were expected")
    if scan.transform:  # Values lack their lowest bits, which decoders give back differently.
        return
    bits = _costs(scan.lengths)[_differences(samples.astype(np.uint16, copy=False), found, scan.selection, every)]
    needed = np.add.reduceat(bits.sum(axis=1, dtype=np.int64), np.arange(0, len(bits), every))
    if int(bits.max()) == _NO_CODE:
        raise DamagedError("values for which the stream has no code")
    for (begin, end), bytes_needed in zip(scan.parts, (int(each) for each in -(-needed // 8)), strict=True):
        size = end - begin - stream.count(b"\xff\0", begin, end)
        spare = size - bytes_needed
        if not 0 <= spare <= SLACK_BYTES or not _FILL.issuperset(stream[end - spare : end]):
            raise DamagedError(f"{size} bytes of coded data; the pixels take {bytes_needed}")


@cache
def _categories() -> NDArray[np.uint8]:
    """Of each difference, modulo 65536 (table H.2)."""
    whole = np.arange(65536)
    magnitude = np.minimum(whole, 65536 - whole)
    return np.searchsorted(1 << np.arange(17), magnitude, side="right").astype(np.uint8)


def _costs(lengths: dict[int, int]) -> NDArray[np.uint8]:
    """Bits that each difference takes, modulo 65536 (H.1.2.2)."""
    added = [*range(16), 0]  # of category 16 there is but one value
    of_category = [lengths[value] + added[value] if value in lengths else _NO_CODE for value in range(17)]
    costs: NDArray[np.uint8] = np.array(of_category, np.uint8)[_categories()]
    return costs


def _differences(values: NDArray[np.uint16], found: Stream, selection: int, every: int) -> NDArray[np.uint16]:
    """Of each value from its prediction, modulo 65536 (H.1.2.1); rows after a restart are predicted as the first."""
    differences = np.empty_like(values)
    left, above, corner = values[1:, :-1], values[:-1, 1:], values[:-1, :-1]
    differences[1:, 1:] = values[1:, 1:] - _predicted(selection, left, above, corner)
    differences[1:, 0] = values[1:, 0] - values[:-1, 0]
    differences[::every, 1:] = values[::every, 1:] - values[::every, :-1]
    differences[::every, 0] = values[::every, 0] - np.uint16(1 << (found.precision - 1))
    return differences


def _predicted(
    selection: int, left: NDArray[np.uint16], above: NDArray[np.uint16], corner: NDArray[np.uint16]
) -> NDArray[np.uint16]:
    """Table H.1, by the selection value of the scan's header."""
    match selection:
        case 1:
            return left
        case 2:
            return above
        case 3:
            return corner
        case 4:
            return left + above - corner
        case 5:
            return (left + (np.subtract(above, corner, dtype=np.int32) >> 1)).astype(np.uint16)
        case 6:
            return (above + (np.subtract(left, corner, dtype=np.int32) >> 1)).astype(np.uint16)
        case 7:
            return (np.add(left, above, dtype=np.int32) >> 1).astype(np.uint16)
    raise DamagedError(f"the predictor {selection}; 1 to 7 are known")
