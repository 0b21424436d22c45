"""The bytes of an instance's frames, read from the file; encoded ones are checked to be complete."""

from collections.abc import Collection, Iterator
from io import BufferedIOBase
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import generate_frames

from ...errors import StudyError
from ...workers import Scratch
from .codestream import FrameHeader, frame_header, refuse_costly_layout, without_padding
from .pixel_format import PixelFormat
from .tags import describe

_ITEM = b"\xfe\xff\x00\xe0"
_DELIMITER = b"\xfe\xff\xdd\xe0"
"""PS3.5 A.4: encapsulated frames are items up to this delimiter, always little endian."""


def plain_frames(
    pixels: PixelFormat, wanted: Collection[int], scratch: Scratch
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """(frame number from 0, its bytes as they lie in the file) of uncompressed frames, rising.

    The bytes lie in `scratch` until the next frame is asked for; there are fewer where the file has shrunk.
    """
    held = scratch.array("frame", (pixels.frame_bytes,), np.uint8)
    with pixels.instance.open_pixels() as stream:
        for index in sorted(wanted):
            stream.seek(pixels.element.offset + index * pixels.frame_bytes)
            yield index, held[: cast(BufferedIOBase, stream).readinto(held.data)]


def encoded_frames(pixels: PixelFormat, wanted: Collection[int]) -> Iterator[tuple[int, bytes, FrameHeader | None]]:
    """(frame number from 0, its encoded bytes, the header that these begin with, if any), rising.

    Raises:
        StudyError: the file ends early, frames are missing, or a frame's own size differs from the header's.
    """
    name = pixels.instance.name
    with pixels.instance.open_pixels() as stream:
        _refuse_incomplete(stream, pixels)
        stream.seek(pixels.element.offset)
        remaining = set(wanted)
        frames = generate_frames(stream, number_of_frames=pixels.frames, extended_offsets=pixels.offsets)
        for index, frame in enumerate(frames):
            if index in remaining:
                remaining.remove(index)
                header = _checked_header(frame, pixels)
                yield index, without_padding(frame, pixels.instance.syntax), header
            if not remaining:
                return
    raise StudyError(
        f"{name}: {describe('PixelData')} lacks {len(remaining)} of {pixels.frames} frames.",
        "Send the study again; its transfer was cut short.",
    )


def _refuse_incomplete(stream: BinaryIO, pixels: PixelFormat) -> None:
    """Walk the items: a decoder may turn half a frame into a picture without a word."""
    name, element = pixels.instance.name, pixels.element
    at = 0
    while at + 8 <= element.available:
        stream.seek(element.offset + at)
        head = stream.read(8)
        if head[:4] == _DELIMITER:
            return
        length = int.from_bytes(head[4:], "little")
        if head[:4] != _ITEM:
            raise StudyError(
                f"{name}: {describe('PixelData')} is damaged: no item tag {at} bytes into it.",
                "Send the study again from its source.",
            )
        left = element.available - at - 8
        at += 8 + length
        if length > left:
            raise StudyError(
                f"{name}: {describe('PixelData')} is truncated: {left} bytes of a fragment came, {length} were "
                "expected.",
                "Send the study again; its transfer was cut short.",
            )
    raise StudyError(
        f"{name}: {describe('PixelData')} is truncated: {element.available} bytes came and the delimiter that ends it "
        "(FFFE,E0DD) is not among them.",
        "Send the study again; its transfer was cut short.",
    )


def _checked_header(frame: bytes, pixels: PixelFormat) -> FrameHeader | None:
    name, syntax = pixels.instance.name, pixels.instance.syntax
    header = frame_header(frame, syntax)
    if header is None:
        return None
    if (header.rows, header.columns, header.components) != (pixels.rows, pixels.columns, 1):
        raise StudyError(
            f"{name}: the compressed frame is {header.rows} x {header.columns} with {header.components} components; "
            f"the header says {pixels.rows} x {pixels.columns} with 1.",
            "Send the study again from its source.",
        )
    if not 2 <= header.precision <= pixels.bits_allocated:
        raise StudyError(
            f"{name}: the compressed frame has samples of {header.precision} bits; 2 to {pixels.bits_allocated} were "
            f"expected by {describe('BitsAllocated')}.",
            "Send the study again from its source.",
        )
    refuse_costly_layout(frame, syntax)
    return header
