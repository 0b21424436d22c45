"""JPEG, JPEG lossless, JPEG-LS and JPEG 2000 streams taken apart by their marker segments, and spoilt there.

What lies within a scan or a tile has no checksum in any of them and is left as it is, but for being cut short or moved.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.random import Generator
from pydicom.encaps import encapsulate
from pydicom.uid import UID, JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless

import jpeg_lossless
from dicom_factory import ct_slice, write

from .case import Answer, Case, Maker, answer_of_picture, answer_of_study, choose
from .files import SECRETS, VALUES

BARE = {0x01, 0x4F, 0xD8, 0xD9, *range(0xD0, 0xD8)}
"""Markers without a length; 93, the begin of a tile's data in JPEG 2000, is one that is followed by them."""
SCAN, TILE, TILE_DATA, END = 0xDA, 0x90, 0x93, 0xD9
STRAY = (
    b"\xff\xfe\0\7DOE^J",
    b"\xff\xe1\0\x10Exif\0\0MM\0*\0\0",
    b"\xff\xd0",
    b"\xff\xd9",
    b"\xff\xd8",
    b"\xff\xdd\0\4\0\1",
)


@dataclass(frozen=True)
class Segment:
    """One marker with its payload, and the coded data that follow it. length: what it says, where that is wrong."""

    marker: int
    payload: bytes | None = None
    data: bytes = b""
    length: int | None = None

    def encode(self) -> bytes:
        """The bytes of it."""
        head = bytes([0xFF, self.marker])
        if self.payload is not None:
            length = len(self.payload) + 2 if self.length is None else self.length
            head += struct.pack(">H", length & 0xFFFF) + self.payload
        return head + self.data


def parse(stream: bytes) -> list[Segment]:
    """The segments of a sound stream."""
    at, found = 0, []
    while at < len(stream):
        marker = stream[at + 1]
        at += 2
        payload = None
        if marker not in BARE and marker != TILE_DATA:
            length = struct.unpack_from(">H", stream, at)[0]
            payload = stream[at + 2 : at + length]
            at += length
        end = at
        if marker in (SCAN, TILE_DATA):
            while end < len(stream) - 1 and not _is_marker(stream, end):
                end += 1
        found.append(Segment(marker, payload, stream[at:end]))
        at = end
    return found


def _is_marker(stream: bytes, at: int) -> bool:
    if stream[at] != 0xFF:
        return False
    following = stream[at + 1]
    if stream[1] == 0x4F:  # of JPEG 2000, where no data have more than 8F after FF (ISO/IEC 15444-1 B.10.1)
        return following > 0x8F
    if b"\xff\xf7" in stream[:64]:  # of JPEG-LS, which stuffs a bit, not a byte (ISO/IEC 14495-1 A.1)
        return following >= 0x80
    return following not in (0, *range(0xD0, 0xD8))


def encode(segments: list[Segment]) -> bytes:
    """The stream."""
    return b"".join(segment.encode() for segment in segments)


def streams(folder: Path) -> Maker:
    """Slices in each of the three compressed forms, and a grey JPEG picture, sequential and progressive."""
    folder.mkdir(parents=True, exist_ok=True)
    plane = (VALUES[0].astype(np.int32) + 1024).astype(np.uint16)
    grey = (plane >> 4).astype(np.uint8)
    frames: dict[str, tuple[UID | None, bytes]] = {
        "JPEG lossless": (JPEGLosslessSV1, jpeg_lossless.encode(plane, 12, 1)),
        "JPEG-LS": (JPEGLSLossless, bytes(imagecodecs.jpegls_encode(plane))),
        "JPEG 2000": (
            JPEG2000Lossless,
            bytes(imagecodecs.jpeg2k_encode(plane, codecformat="j2k", reversible=True, level=0)),
        ),
        "JPEG": (None, bytes(imagecodecs.jpeg8_encode(grey, level=90))),
        "JPEG of three": (None, bytes(imagecodecs.jpeg8_encode(np.repeat(grey[..., None], 3, 2), level=90))),
    }
    path, picture = folder / "damaged", folder / "damaged.jpg"

    def put(form: str, frame: bytes) -> Callable[[], Answer]:
        syntax = frames[form][0]
        if syntax is None:
            picture.write_bytes(frame)
            return lambda: answer_of_picture(picture)
        image = ct_slice(VALUES[0])
        image.PixelData = encapsulate([(frame or b"\0") + b"\0" * (max(len(frame), 1) % 2)])
        image.file_meta.TransferSyntaxUID = syntax
        write(image, path)
        return lambda: answer_of_study(path, "hounsfield")

    parts = {form: parse(frame) for form, (_, frame) in frames.items()}
    for form, (_, frame) in frames.items():
        if encode(parts[form]) != frame:
            raise ValueError(f"{form}: the stream is not what its segments are written as")
    sound = {form: put(form, frame)() for form, (_, frame) in frames.items()}

    def make(draw: Generator) -> Case:
        form = choose(draw, list(frames))
        segments, done, checked = list(parts[form]), [], True
        for _ in range(int(choose(draw, (1, 1, 1, 2, 3)))):
            change, structural = choose(draw, CHANGES)
            done.append(change(segments, draw) if segments else "nothing")
            checked = checked and structural
        frame = encode(segments)
        if draw.random() < 0.1:
            frame = frame[: int(draw.integers(len(frame)))]
            done.append(f"cut after {len(frame)}")
        attempt = put(form, frame)
        return Case(attempt, f"{form}: {', '.join(done)}", frame, sound[form] if checked else None, SECRETS)

    return make


def _gone(segments: list[Segment], draw: Generator) -> str:
    return f"without {segments.pop(int(draw.integers(len(segments)))).marker:02X}"


def _twice(segments: list[Segment], draw: Generator) -> str:
    at = int(draw.integers(len(segments)))
    segments.insert(int(draw.integers(len(segments) + 1)) if draw.random() < 0.5 else at, segments[at])
    return f"{segments[at].marker:02X} twice"


def _swapped(segments: list[Segment], draw: Generator) -> str:
    one, other = int(draw.integers(len(segments))), int(draw.integers(len(segments)))
    segments[one], segments[other] = segments[other], segments[one]
    return f"{segments[one].marker:02X} and {segments[other].marker:02X} exchanged"


def _length(segments: list[Segment], draw: Generator) -> str:
    at = _with_payload(segments, draw)
    size = len(segments[at].payload or b"") + 2
    length = int(choose(draw, (0, 1, 2, size - 1, size + 1, size + 7, 0xFFFF)))
    segments[at] = replace(segments[at], length=length)
    return f"length {length} of {segments[at].marker:02X}"


def _shorter(segments: list[Segment], draw: Generator) -> str:
    at = _with_payload(segments, draw)
    payload = segments[at].payload or b""
    kept = int(draw.integers(len(payload) + 1))
    segments[at] = replace(segments[at], payload=payload[:kept] if draw.random() < 0.7 else payload + draw.bytes(kept))
    return f"{segments[at].marker:02X} of {len(segments[at].payload or b'')} bytes"


def _stray(segments: list[Segment], draw: Generator) -> str:
    at = int(draw.integers(len(segments)))
    piece = choose(draw, STRAY)
    segments[at] = replace(segments[at], data=piece + segments[at].data)
    return f"{piece[:2].hex()} after {segments[at].marker:02X}"


def _shifted(segments: list[Segment], draw: Generator) -> str:
    """One byte more before coded data."""
    at = next((at for at, one in enumerate(segments) if one.data), 0)
    segments[at] = replace(segments[at], data=draw.bytes(1) + segments[at].data)
    return "a byte before the data"


def _marker(segments: list[Segment], draw: Generator) -> str:
    at = int(draw.integers(len(segments)))
    former, marker = segments[at].marker, int(draw.integers(256))
    segments[at] = replace(segments[at], marker=marker)
    return f"{former:02X} as {marker:02X}"


def _cut_data(segments: list[Segment], draw: Generator) -> str:
    """Coded data that end early."""
    at = next((at for at, one in enumerate(segments) if one.data), 0)
    data = segments[at].data
    kept = int(draw.integers(len(data) + 1))
    segments[at] = replace(segments[at], data=data[:kept])
    return f"{kept} bytes of data instead of {len(data)}"


def _data_again(segments: list[Segment], draw: Generator) -> str:
    """A part of the coded data twice."""
    at = next((at for at, one in enumerate(segments) if one.data), 0)
    data = segments[at].data
    kept = int(draw.integers(len(data) + 1))
    segments[at] = replace(segments[at], data=data[:kept] + data)
    return f"{kept} bytes of data twice"


def _payload(segments: list[Segment], draw: Generator) -> str:
    """A value of a header, of a table or of a coding style: what no checksum holds."""
    at = _with_payload(segments, draw)
    payload = bytearray(segments[at].payload or b"")
    for _ in range(int(choose(draw, (1, 1, 2, 4)))):
        if payload:
            place = int(draw.integers(min(len(payload), 40)))
            payload[place] = int(
                choose(draw, (0, 1, 2, 16, 17, 0x7F, 0x80, 0xFF, payload[place] ^ 1, payload[place] ^ 8))
            )
    segments[at] = replace(segments[at], payload=bytes(payload))
    return f"payload of {segments[at].marker:02X}"


def _with_payload(segments: list[Segment], draw: Generator) -> int:
    places = [at for at, one in enumerate(segments) if one.payload is not None]
    return int(choose(draw, places or [0]))


CHANGES: tuple[tuple[Callable[[list[Segment], Generator], str], bool], ...] = (
    *((change, True) for change in (_gone, _twice, _swapped, _length, _shorter, _stray, _marker, _cut_data)),
    (_data_again, False),
    (_shifted, False),
    (_payload, False),
    (_payload, False),
)
"""Each with whether it breaks the stream's structure, so that no other answer may come in silence."""
