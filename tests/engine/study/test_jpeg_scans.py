"""JPEG streams are whole: coded data that end early, or go on, are refused, whatever a decoder makes of them."""

import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, JPEGLosslessSV1

import jpeg_lossless
from dicom_factory import ct_slice, relay, save
from mmcaf_engine.errors import StudyError
from mmcaf_engine.study import read_study
from mmcaf_engine.study.dicom.jpeg_scans import decode_whole, walk
from mmcaf_engine.study.faults import DamagedError
from refusals import refused

END = b"\xff\xd9"


def values(bits: int, seed: int = 0) -> NDArray[np.uint16]:
    """Noise, with a flat part, so that coded data end in many ways."""
    found = np.random.default_rng(seed).integers(0, 1 << bits, (13, 11)).astype(np.uint16)
    found[8:] = 1 << (bits - 1)
    return found


def lossless(stream: bytes) -> NDArray[Any]:
    return np.asarray(decode_whole(stream, imagecodecs.jpegsof3_decode))


def lossy(stream: bytes) -> NDArray[Any]:
    return np.asarray(decode_whole(stream, imagecodecs.jpeg8_decode))


def cut(stream: bytes, count: int) -> bytes:
    """Without the last bytes of the coded data, but with the marker that ends the stream."""
    return stream[: len(stream) - len(END) - count] + END


@pytest.mark.parametrize("bits", [2, 8, 12, 16])
@pytest.mark.parametrize("predictor", range(1, 8))
def test_lossless_data_are_as_long_as_their_values_take(bits: int, predictor: int) -> None:
    expected = values(bits, predictor)
    stream = jpeg_lossless.encode(expected, bits, predictor)
    assert np.array_equal(lossless(stream), expected)
    assert np.array_equal(lossless(stream[:-2] + b"\0\xff\0" + END), expected)  # fill
    begin, end = walk(stream).scans[0].parts[0]
    for count in (1, 2, (end - begin) // 2, end - begin):
        with pytest.raises(DamagedError, match="of coded data; the pixels take"):
            lossless(cut(stream, count))
    for data in (b"\x5a", bytes(40), stream[begin:end]):
        with pytest.raises(DamagedError, match=r"of coded data; the pixels take|no code"):
            lossless(stream[:end] + data + END)


def with_restarts(expected: NDArray[np.uint16], bits: int, rows: int) -> bytes:
    """Each few rows coded as if they were all, with the markers between them."""
    bands = [jpeg_lossless.encode(expected[at : at + rows], bits, 1) for at in range(0, len(expected), rows)]
    parts = [band[slice(*walk(band).scans[0].parts[0])] for band in bands]
    whole = jpeg_lossless.encode(expected, bits, 1)
    begin, _ = walk(whole).scans[0].parts[0]
    interval = b"\xff\xdd\0\4" + struct.pack(">H", rows * expected.shape[1])
    data = b"".join(part + bytes([0xFF, 0xD0 + at % 8]) for at, part in enumerate(parts))[:-2]
    return whole[:2] + interval + whole[2:begin] + data + END


def test_restarts_in_lossless_data() -> None:
    stream = with_restarts(values(12), 12, 2)
    assert len(walk(stream).scans[0].parts) == 7

    def decode(given: bytes) -> NDArray[Any]:
        return values(12)  # the decoder that is used here knows no restarts

    assert np.array_equal(decode_whole(stream, decode), values(12))
    for other in (
        stream.replace(b"\xff\xd3", b"\xff\xd4"),
        stream.replace(b"\xff\xd3", b""),
        stream.replace(b"\xff\xdd\0\4\0\x16", b"\xff\xdd\0\4\0\x17"),
        stream.replace(b"\xff\xdd\0\4\0\x16", b"\xff\xdd\0\4\0\0"),
        cut(stream, 3),
    ):
        assert other != stream
        with pytest.raises(DamagedError):
            decode_whole(other, decode)


GREY = (values(8, 5).repeat(4, 0).repeat(4, 1)[:33, :35]).astype(np.uint8)
LOSSY = {
    "grey": bytes(imagecodecs.jpeg8_encode(GREY, level=90)),
    "optimised": bytes(imagecodecs.jpeg8_encode(GREY, level=90, optimize=True)),
    "colour": bytes(imagecodecs.jpeg8_encode(np.repeat(GREY[..., np.newaxis], 3, 2), level=90)),
    "subsampled": bytes(imagecodecs.jpeg8_encode(np.repeat(GREY[..., np.newaxis], 3, 2), level=90, subsampling="420")),
    "12 bits": bytes(imagecodecs.jpeg8_encode(GREY.astype(np.uint16) * 16, level=90, bitspersample=12)),
}


@pytest.mark.parametrize("stream", LOSSY.values(), ids=LOSSY)
def test_lossy_data_reach_to_the_last_pixel(stream: bytes) -> None:
    assert np.array_equal(lossy(stream), imagecodecs.jpeg8_decode(stream))
    begin, end = walk(stream).scans[0].parts[0]
    for count in (4, (end - begin) // 2, end - begin - 1):
        with pytest.raises(DamagedError, match="before the last pixel"):
            lossy(cut(stream, count))


def test_what_stands_between_segments() -> None:
    stream = LOSSY["grey"]
    begin, end = walk(stream).scans[0].parts[0]
    table = stream.index(b"\xff\xc4")
    for other in (
        stream[:begin] + b"\xff\xe1\0\x08Exif\0\0" + stream[begin:],
        stream[:begin] + b"\xff\xdd\0\4\0\1" + stream[begin:],
        stream[:table] + b"\xff\xdd\0\4\0\1" + stream[table:],
        stream[:begin] + b"\xff\xd0" + stream[begin:],
        stream[:end],
        stream[:table] + b"\0" + stream[table:],
        stream[:begin] + END,
    ):
        with pytest.raises(DamagedError):
            lossy(other)
    text = b"\xff\xff\xfe\0\6text"
    assert np.array_equal(lossy(stream[:table] + text + stream[table:end] + text + END), lossy(stream))


def slice_of(frame: bytes, syntax: str, plane: NDArray[np.uint16], bits: int) -> FileDataset:
    image = relay(ct_slice(plane.astype(np.int16)), plane, bits)
    image.PixelData = encapsulate([frame + b"\0" * (len(frame) % 2)])
    image.file_meta.TransferSyntaxUID = syntax
    return image


@pytest.mark.parametrize("count", [1, 20, 60])
def test_a_slice_whose_data_were_cut_is_refused(count: int, tmp_path: Path) -> None:
    """Its file is whole, and its stream has its end."""
    plane = values(12)
    stream = jpeg_lossless.encode(plane, 12, 1)
    path = save(slice_of(stream, JPEGLosslessSV1, plane, 12), tmp_path / "sound")
    assert np.array_equal(read_study(path, intensity="stored").volume.values[0], plane)
    path = save(slice_of(cut(stream, count), JPEGLosslessSV1, plane, 12), tmp_path / "cut")
    with refused(StudyError, "IM0000", "bytes of coded data"):
        read_study(path, intensity="stored")


def test_a_lossy_slice_whose_data_were_cut_is_refused(tmp_path: Path) -> None:
    frame = slice_of(cut(LOSSY["grey"], 40), JPEGBaseline8Bit, GREY.astype(np.uint16), 8)
    frame.BitsAllocated = 8
    with refused(StudyError, "IM0000", "before the last pixel"):
        read_study(save(frame, tmp_path / "study"), intensity="stored")
