"""The encoded bytes of an instance's frames, read from the file and checked to be complete."""

from collections.abc import Collection, Iterator
from typing import BinaryIO

from pydicom.encaps import encapsulate, generate_frames

from ..errors import StudyError
from .codestream import declared_size
from .pixel_format import PixelFormat
from .tags import describe

_ITEM = b"\xfe\xff\x00\xe0"
_DELIMITER = b"\xfe\xff\xdd\xe0"
"""PS3.5 A.4: encapsulated frames are items up to this delimiter, always little endian."""


def encoded_frames(pixels: PixelFormat, wanted: Collection[int]) -> Iterator[tuple[int, bytes]]:
    """(frame number from 0, its encoded bytes as pydicom's decoder takes them), rising, for the wanted frames.

    Raises:
        StudyError: the file ends early, frames are missing, or a frame's own size differs from the header's.
    """
    name = pixels.instance.name
    with pixels.instance.open_pixels() as stream:
        if not pixels.encapsulated:
            for index in sorted(wanted):
                stream.seek(pixels.element.offset + index * pixels.frame_bytes)
                yield index, stream.read(pixels.frame_bytes)
            return
        _refuse_incomplete(stream, pixels)
        stream.seek(pixels.element.offset)
        remaining = set(wanted)
        frames = generate_frames(stream, number_of_frames=pixels.frames, extended_offsets=pixels.offsets)
        for index, frame in enumerate(frames):
            if index in remaining:
                remaining.remove(index)
                _refuse_other_size(frame, pixels)
                yield index, encapsulate([frame], has_bot=False)
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


def _refuse_other_size(frame: bytes, pixels: PixelFormat) -> None:
    size = declared_size(frame, pixels.instance.syntax)
    if size not in (None, (pixels.rows, pixels.columns, 1)):
        rows, columns, components = size or (0, 0, 0)
        raise StudyError(
            f"{pixels.instance.name}: the compressed frame is {rows} x {columns} with {components} components; the "
            f"header says {pixels.rows} x {pixels.columns} with 1.",
            "Send the study again from its source.",
        )
