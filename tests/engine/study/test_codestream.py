"""Headers of compressed frames, byte by byte: what they say, and where they end too early."""

import struct
from dataclasses import replace

import pytest
from pydicom.uid import (
    JPEG2000,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from mmcaf_engine.study.dicom.codestream import (
    FrameHeader,
    frame_header,
    jpeg_header,
    refuse_costly_layout,
    without_padding,
)

PROCESS = {JPEGBaseline8Bit: 0xC0, JPEGLosslessSV1: 0xC3, JPEGLSLossless: 0xF7}


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def frame_segment(marker: int, rows: int = 33, columns: int = 35, components: int = 1, bits: int = 12) -> bytes:
    return segment(marker, struct.pack(">BHHB", bits, rows, columns, components) + bytes(3 * components))


def jpeg(*segments: bytes, end: bytes = b"\xff\xd9") -> bytes:
    return b"".join([b"\xff\xd8", *segments, segment(0xDA, bytes(6)), b"pixels", end])


@pytest.mark.parametrize("syntax", PROCESS, ids=lambda uid: uid.keyword)
def test_rows_columns_components_and_bits(syntax: str) -> None:
    found = frame_header(jpeg(segment(0xE0, b"text"), frame_segment(PROCESS[syntax], 33, 35, 3, 12)), syntax)
    assert found == FrameHeader(33, 35, 3, 12, exact=syntax != JPEGBaseline8Bit)


def test_filler_and_bare_markers_are_passed_over() -> None:
    data = jpeg(b"\xff\xff\xff\xd0\xff\x01", frame_segment(0xC0))
    assert jpeg_header(data, (0xC0,)) == FrameHeader(33, 35, 1, 12)


PADDING = {
    "none": b"",
    "zero": b"\0",
    "zeros": bytes(62),
    "fill": b"\xff",
    "blank": b" ",
    "any one byte": b"\xd9",
    "fill and zeros": b"\xff\xff\0\0",
    "the marker again": b"\xff\xd9",
}


@pytest.mark.parametrize("padding", PADDING.values(), ids=PADDING)
def test_padding_after_the_end(padding: bytes) -> None:
    sound = jpeg(frame_segment(0xF7))
    assert frame_header(sound + padding, JPEGLSLossless) == FrameHeader(33, 35, 1, 12, exact=True)
    found = without_padding(sound + padding, JPEGLSLossless)
    assert found == sound if padding != b"\xff\xd9" else found.startswith(sound)


def test_a_stream_without_end_marker_keeps_its_bytes() -> None:
    assert without_padding(b"\xff\xd9 and more", JPEG2000Lossless) == b"\xff\xd9 and more"


@pytest.mark.parametrize("near", [0, 1, 255])
def test_the_loss_of_jpeg_ls_is_in_its_scan(near: int) -> None:
    scan = segment(0xDA, bytes([1, 1, 0, near, 0, 0]))
    stream = b"".join([b"\xff\xd8", frame_segment(0xF7), scan, b"pixels", b"\xff\xd9"])
    header = frame_header(stream, JPEGLSLossless)
    assert header is not None and header.exact == (near == 0)


SOUND = jpeg(frame_segment(0xC3))
BROKEN = {
    "nothing": b"",
    "no stream": SOUND[2:],
    "without its end": SOUND[:-2],
    "half of its end": SOUND[:-1],
    "half of its end, filled": SOUND[:-1] + b"\xff\0",
    "an end and more": SOUND + b"more",
    "an end and two bytes": SOUND + b"\0\1",
    "an end long before": SOUND + bytes(64),
    "cut in the header": SOUND[:9] + b"\xff\xd9",
    "no frame": jpeg(),
    "two frames": jpeg(frame_segment(0xC3), frame_segment(0xC3)),
    "another process": jpeg(frame_segment(0xC0)),
    "arithmetic codes": jpeg(frame_segment(0xC9)),
    "no marker": jpeg(frame_segment(0xC3), b"\x00\x01\x00\x02"),
    "a segment of 1 byte": jpeg(b"\xff\xe0\0\1", frame_segment(0xC3)),
    "a segment of 0 bytes": jpeg(b"\xff\xe0\0\0", frame_segment(0xC3)),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_no_frame_of_jpeg_lossless(data: bytes) -> None:
    assert frame_header(SOUND, JPEGLosslessSV1) is not None
    with pytest.raises(ValueError):
        frame_header(data, JPEGLosslessSV1)


def jpeg2000(right: int, bottom: int, left: int = 0, top: int = 0, components: int = 1, bits: int = 0x0B) -> bytes:
    size = struct.pack(">HIIIIIIIIH", 0, right, bottom, left, top, right, bottom, 0, 0, components)
    return b"\xff\x4f" + segment(0x51, size + bytes([bits, 1, 1])) + bytes(8)


@pytest.mark.parametrize(
    ("data", "header"),
    [
        (jpeg2000(35, 33), FrameHeader(33, 35, 1, 12, exact=True)),
        (jpeg2000(35, 33, bits=0x8F), FrameHeader(33, 35, 1, 16, exact=True)),
        (jpeg2000(40, 35, left=5, top=2), FrameHeader(33, 35, 1, 12, exact=True)),
        (jpeg2000(35, 33, components=3), FrameHeader(33, 35, 3, 12, exact=True)),
    ],
    ids=["unsigned", "signed", "offset", "colour"],
)
def test_a_jpeg_2000_frame(data: bytes, header: FrameHeader) -> None:
    assert frame_header(data, JPEG2000Lossless) == header
    assert frame_header(data, JPEG2000) == replace(header, exact=False)


@pytest.mark.parametrize("data", [b"", jpeg2000(35, 33)[:44], b"\0" + jpeg2000(35, 33)], ids=["none", "cut", "shifted"])
def test_no_jpeg_2000_frame(data: bytes) -> None:
    with pytest.raises(ValueError):
        frame_header(data, JPEG2000Lossless)


def test_run_lengths_have_no_header() -> None:
    assert frame_header(b"anything", RLELossless) is None


def with_steps(style: int, steps: int) -> bytes:
    """A stream of three levels, one tile, with so many bytes of quantisation steps."""
    coding = segment(0x52, bytes([0, 0, 0, 1, 0, 3, 4, 4, 0, 1]))
    tile = segment(0x90, bytes(8)) + b"\xff\x93"
    return jpeg2000(35, 33)[:-8] + coding + segment(0x5C, bytes([style]) + bytes(steps)) + tile


@pytest.mark.parametrize(("style", "enough"), [(0x40, 10), (0x41, 2), (0x42, 20)], ids=["none", "derived", "expounded"])
def test_a_step_for_each_subband(style: int, enough: int) -> None:
    """A decoder takes any for one that is not there."""
    for steps in (enough, enough + 3):
        refuse_costly_layout(with_steps(style, steps), JPEG2000Lossless)
    for steps in (0, enough - 1):
        with pytest.raises(ValueError, match="quantisation steps"):
            refuse_costly_layout(with_steps(style, steps), JPEG2000Lossless)
    sound = with_steps(style, enough)
    again = segment(0x5C, bytes([style]) + bytes(enough))
    tile = sound.index(b"\xff\x90")
    for other in (
        sound.replace(again, b""),
        sound.replace(again, 2 * again),
        sound.replace(again, again + segment(0x5D, bytes([0, style]) + bytes(enough))),
        sound[: tile + 12] + again + sound[tile + 12 :],
    ):
        assert other != sound
        with pytest.raises(ValueError):
            refuse_costly_layout(other, JPEG2000Lossless)
