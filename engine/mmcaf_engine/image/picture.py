"""PNG and JPEG files as candidates for the image: a header that is checked, then grey values.

What a decoder is given is checked first: the size that it will allocate, the number of scans that it will run, and that
the file is whole. Of a PNG it sees only what it needs for the pixels.
"""

import zlib
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ..errors import StudyError
from ..study.dicom.codestream import jpeg_header
from ..study.dicom.jpeg_scans import decode_whole
from ..study.faults import DamagedError, doing
from ..study.files import MAX_RATIO, RATIO_FROM_BYTES, Source
from .candidate import Candidate, Grey, Plane, refuse_size
from .exif import UPRIGHT, jpeg_orientation, orientation, upright
from .grey import WHITE
from .view import Seen

MAX_FILE_BYTES = 256 * 1024**2
MAX_SCANS = 64
"""Of a progressive JPEG, each of which touches the whole image; encoders make about ten."""

MAX_CHUNKS = 100_000
"""Of a PNG; encoders put 8 KiB or more of pixels into each."""

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_START_BYTES = 132
"""As many as tell a DICOM file, whatever it may begin with."""
_JPEG_PROCESSES = (0xC0, 0xC1, 0xC2)
"""Baseline, extended and progressive, with Huffman codes (ISO/IEC 10918-1 table B.1)."""
_EOI, _SOS = b"\xff\xd9", b"\xff\xda"
_PNG_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
"""What the decoder is given (ISO/IEC 15948 11.2, and transparency)."""
_PNG_GREY, _PNG_PALETTE = 0, 3
_PNG_SAMPLES = {_PNG_GREY: 1, 2: 3, _PNG_PALETTE: 4, 4: 2, 6: 4}
"""Colour type -> samples per pixel that are decoded, at most."""
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of each pass of an interlaced PNG: first column and row, and the steps between them (ISO/IEC 15948 8.2)."""
_RED = bytes([255, 0, 0])
_BLOCK_BYTES = 1024**2
_REMEDY = "Export the radiograph again, as DICOM or as a grey PNG of 8 or 16 bits."

Samples = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True)
class _Header:
    """Rows and columns as stored, bytes of a decoded pixel, and how the picture lies, by the numbers of EXIF.

    data: what the decoder needs.
    """

    rows: int
    columns: int
    pixel_bytes: int
    lies: int
    data: bytes


def read_picture(source: Source) -> Candidate | None:
    """The candidate that a PNG or JPEG file is; None for another file. What is wrong with it becomes its fault."""
    kind = _kind(source)
    if kind is None:
        return None
    matrix, fault = None, None
    try:
        header = _read(source, kind)
        matrix = (header.rows, header.columns)
    except StudyError as failure:
        fault = failure
    told = f"a {kind} file does not say"
    return Candidate(source.name, kind, matrix, None, Seen(told=told), lambda: _decode(source, kind), fault=fault)


def _kind(source: Source) -> str | None:
    with doing(f"{source.name}: reading its header"), source.open_header() as stream:
        head = stream.read(_START_BYTES)
    if head[128:132] == b"DICM":
        return None
    return "PNG" if head.startswith(_PNG) else "JPEG" if head.startswith(_JPEG) else None


def _read(source: Source, kind: str) -> _Header:
    """The whole file, checked.

    Raises:
        StudyError: it is too large, damaged, cut short, or no picture that is read.
    """
    name = source.name
    if source.size > MAX_FILE_BYTES:
        raise StudyError(f"{name}: {source.size} bytes; at most {MAX_FILE_BYTES} are read of a picture.", _REMEDY)
    with doing(f"{name}: reading the {kind} file", remedy="Copy the file again."):
        with source.open() as stream:
            data = stream.read()
        header = _png(data, name) if kind == "PNG" else _jpeg(data, name)
        if header.lies not in UPRIGHT:
            raise DamagedError(f"EXIF orientation {header.lies}; 1 to 8 are known")
    decoded = header.rows * header.columns * header.pixel_bytes
    if decoded > RATIO_FROM_BYTES and decoded > MAX_RATIO * source.size:
        raise StudyError(
            f"{name}: its {source.size} bytes would become {decoded}; at most {MAX_RATIO} times the size is read.",
            _REMEDY,
        )
    return header


def _png(data: bytes, name: str) -> _Header:
    """Walk the chunks (ISO/IEC 15948 clause 5) and keep those that the pixels are made of."""
    kept, lies, at, ended = [_PNG], 1, len(_PNG), False
    rows = columns = pixel_bytes = colours = chunks = 0
    while not ended:
        chunks += 1
        if chunks > MAX_CHUNKS:
            raise DamagedError(f"more than {MAX_CHUNKS} chunks")
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        end = at + 12 + length
        if end > len(data) or len(kind) < 4:
            raise StudyError(
                f"{name}: the PNG file is truncated: {len(data)} bytes came and its last chunk, IEND, is not among "
                "them.",
                "Copy the file again.",
            )
        body = data[at + 8 : end - 4]
        if zlib.crc32(kind + body) != int.from_bytes(data[end - 4 : end], "big"):
            raise DamagedError(f"the chunk {at} bytes into it does not have its checksum")
        if (at == len(_PNG)) != (kind == b"IHDR") or (kind == b"IHDR" and length != 13):
            raise DamagedError("one IHDR chunk of 13 bytes was expected, before all others")
        if kind == b"IHDR":
            columns, rows = int.from_bytes(body[:4], "big"), int.from_bytes(body[4:8], "big")
            pixel_bytes = _png_pixel_bytes(bits=body[8], colour=body[9], name=name)
            colours = 1 << body[8] if body[9] == _PNG_PALETTE else 0
            refuse_size(rows, columns, name)
        elif kind == b"eXIf":
            lies = orientation(body)
        elif kind not in _PNG_CHUNKS and kind[0] < 0x60:
            raise DamagedError("a critical chunk that the standard does not have")
        if kind == b"PLTE" and len(body) < 3 * colours:
            # A decoder takes any colour for one that is not there: ours is none of a grey image.
            kept.append(_chunk(kind, body + _RED * (colours - len(body) // 3)))
        elif kind in _PNG_CHUNKS:
            kept.append(data[at:end])
        ended, at = kind == b"IEND", end
    return _Header(rows, columns, pixel_bytes, lies, b"".join(kept))


def _chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def _check_png_size(data: bytes) -> None:
    """Whether the packed pixels are as many as the header says, and nothing follows them (ISO/IEC 15948 8.2, 10.3).

    Decoders warn of it at most.

    Args:
        data: a file whose chunks are in order.

    Raises:
        DamagedError: they are not.
    """
    columns, rows = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    bits, colour, interlaced = data[24], data[25], data[28]
    pixel_bits = bits * (1 if colour == _PNG_PALETTE else _PNG_SAMPLES[colour])
    expected = 0
    for left, top, across, down in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        wide, high = -(-(columns - left) // across), -(-(rows - top) // down)
        expected += high * (1 + -(-wide * pixel_bits // 8)) if wide > 0 and high > 0 else 0
    inflater, came, at = zlib.decompressobj(), 0, len(_PNG)
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        packed = data[at + 8 : at + 8 + length] if data[at + 4 : at + 8] == b"IDAT" else b""
        while packed and came <= expected and not inflater.eof:
            came += len(inflater.decompress(packed, _BLOCK_BYTES))
            packed = inflater.unconsumed_tail
        if packed and inflater.eof:
            raise DamagedError("data after the packed pixels")
        at += 12 + length
    if came != expected or not inflater.eof or inflater.unused_data:
        shown = f"more than {expected}" if came >= expected else str(came)
        raise DamagedError(f"{shown} bytes of pixels; {expected} were expected by its header")


def _png_pixel_bytes(*, bits: int, colour: int, name: str) -> int:
    if bits < 8 and colour == _PNG_GREY:
        raise StudyError(
            f"{name}: a PNG file of {bits} bits per pixel, {1 << bits} grey values; 8 or 16 bits were expected.",
            _REMEDY,
        )
    if colour not in _PNG_SAMPLES or (bits not in (8, 16) and colour != _PNG_PALETTE):
        raise DamagedError(f"{bits} bits of colour type {colour}")
    return _PNG_SAMPLES[colour] * (2 if bits == 16 else 1)


def _jpeg(data: bytes, name: str) -> _Header:
    """Check the header up to the first scan, and that the stream has its end."""
    end = data.rfind(_EOI)
    data = data if end < 0 else data[: end + len(_EOI)]  # what a camera appended is no part of the image
    header = jpeg_header(data, _JPEG_PROCESSES)
    refuse_size(header.rows, header.columns, name)
    if header.precision != 8 or header.components not in (1, 3):
        raise StudyError(
            f"{name}: a JPEG file of {header.components} components of {header.precision} bits; 1 grey component of 8 "
            "bits was expected.",
            _REMEDY,
        )
    # A block of 8 x 8 pixels takes a bit at least; of what is not there, the decoder makes up grey.
    needed = -(-header.rows // 8) * -(-header.columns // 8) // 8
    if len(data) < needed:
        raise StudyError(
            f"{name}: the JPEG file is truncated: {len(data)} bytes came, at least {needed} were expected for "
            f"{header.rows} x {header.columns} pixels.",
            "Copy the file again.",
        )
    scans = data.count(_SOS)
    if scans > MAX_SCANS:
        raise StudyError(f"{name}: a JPEG file of {scans} scans; at most {MAX_SCANS} are read.", _REMEDY)
    return _Header(header.rows, header.columns, header.components, jpeg_orientation(data), data)


def _decode(source: Source, kind: str) -> Grey:
    """The picture's grey values, turned as its EXIF orientation says."""
    import imagecodecs

    name, header = source.name, _read(source, kind)
    with doing(f"{name}: decoding its pixels ({kind})", remedy="Copy the file again."):
        decode = imagecodecs.png_decode if kind == "PNG" else imagecodecs.jpeg8_decode
        if kind == "PNG":
            _check_png_size(header.data)
            samples: Samples = np.asarray(decode(header.data))
        else:
            samples = cast(Samples, decode_whole(header.data, decode))
        if samples.shape[:2] != (header.rows, header.columns) or samples.dtype not in (np.uint8, np.uint16):
            raise DamagedError(f"the decoder gave {samples.shape} of {samples.dtype}")
        plane = _grey(samples, name, kind)
    if header.lies == 1:
        return Grey(plane)
    return Grey(
        np.ascontiguousarray(upright(plane, header.lies)),
        (f"its EXIF orientation is {header.lies}; it was {UPRIGHT[header.lies]}",),
    )


def _grey(samples: Samples, name: str, kind: str) -> Plane:
    """[H, W] from 0 to 255 of grey samples, with or without equal copies of them and full opacity."""
    white = np.iinfo(samples.dtype).max
    if samples.ndim == 3 and samples.shape[2] in (2, 4):
        if (samples[..., -1] != white).any():
            raise StudyError(f"{name}: a {kind} file with transparent pixels; a radiograph has none.", _REMEDY)
        samples = samples[..., :-1]
    grey = samples if samples.ndim == 2 else samples[..., 0]
    for at in range(1, samples.shape[2] if samples.ndim == 3 else 0):
        differing = int(np.count_nonzero(samples[..., at] != grey))
        if differing:
            raise StudyError(
                f"{name}: a colour {kind} file: red, green and blue differ in {differing} of {grey.size} pixels; a "
                "grey radiograph was expected.",
                _REMEDY,
            )
    plane: Plane = grey.astype(np.float32) * np.float32(WHITE / white)
    return plane
