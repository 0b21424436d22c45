"""The decoder of each compressed transfer syntax: exact against other decoders, and against the standard's text."""

import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    JPEG2000,
    UID,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

import jpeg_lossless
from dicom_factory import change, ct_slice, hounsfield, relay, write
from mmcaf_engine.errors import StudyError
from mmcaf_engine.study import read_study
from mmcaf_engine.study.dicom import pixel_format
from mmcaf_engine.study.dicom.codestream import frame_header, refuse_costly_layout
from mmcaf_engine.study.dicom.decoders import CODECS
from mmcaf_engine.study.dicom.run_length import decode_rle
from mmcaf_engine.study.dicom.transfer_syntaxes import TRANSFER_SYNTAXES, decoders
from refusals import check_facts, refused

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

NOISE = (hounsfield(1, 37, 41)[0] + 1024).astype(np.uint16)
SMOOTH = (2000 + 900 * np.sin(np.arange(64)[:, None] / 9) * np.cos(np.arange(72) / 7)).astype(np.uint16)
FLAT = np.full((33, 35), 1024, np.uint16)
IMAGES = {"noise": NOISE, "smooth": SMOOTH, "flat": FLAT}


def packed(frame: bytes, syntax: str, values: NDArray[Any], **elements: Any) -> FileDataset:
    """An image of one frame that is encoded already."""
    image = ct_slice(np.zeros(values.shape, np.int16))
    image.file_meta.TransferSyntaxUID = syntax
    image.PixelData = encapsulate([frame], has_bot=False)
    image.BitsStored, image.HighBit = 16, 15
    return change(image, RescaleIntercept=0, **elements)  # type: ignore[return-value]


def read(image: FileDataset, folder: Path) -> NDArray[Any]:
    values: NDArray[Any] = read_study(write(image, folder / "slice"), intensity="stored").volume.values[0]
    return values


def refusal(image: FileDataset, folder: Path) -> str:
    with refused(StudyError, "slice") as caught:
        read_study(write(image, folder / "slice"))
    return caught.value.problem


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize(
    ("syntax", "other"),
    [
        (RLELossless, "pydicom"),
        (JPEG2000Lossless, "pylibjpeg"),
        (JPEG2000, "pylibjpeg"),
        (JPEGLSLossless, "pyjpegls"),
        (JPEGLSNearLossless, "pyjpegls"),
    ],
    ids=lambda value: getattr(value, "keyword", value),
)
def test_the_same_bits_as_another_decoder(syntax: UID, other: str, name: str, tmp_path: Path) -> None:
    if other not in get_decoder(syntax).available_plugins:
        pytest.skip(f"{other} is not installed")
    image = ct_slice(np.zeros(IMAGES[name].shape, np.int16))
    relay(image, IMAGES[name], 12)
    image.compress(syntax, **{JPEG2000: {"j2k_cr": [12]}, JPEGLSNearLossless: {"jls_error": 3}}.get(syntax, {}))
    found = read(image, tmp_path)
    theirs, _ = get_decoder(syntax).as_array(image, index=0, raw=True, decoding_plugin=other)
    assert np.array_equal(found, theirs)
    if syntax not in (JPEG2000, JPEGLSNearLossless):
        assert np.array_equal(found, IMAGES[name])


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("syntax", [JPEG2000Lossless, HTJ2KLossless, JPEGLSLossless], ids=lambda uid: uid.keyword)
def test_sign_and_all_sixteen_bits(syntax: UID, signed: bool, tmp_path: Path) -> None:
    values = np.random.default_rng(3).integers(0, 65536, (19, 23)).astype(np.uint16)
    if signed:
        values = (values.view(np.int16) // 2).astype(np.int16)
    encode = {
        JPEG2000Lossless: lambda data: imagecodecs.jpeg2k_encode(data, level=0, reversible=True, codecformat="j2k"),
        HTJ2KLossless: lambda data: imagecodecs.htj2k_encode(data, reversible=True),
        JPEGLSLossless: lambda data: imagecodecs.jpegls_encode(data.view(np.uint16)),
    }[syntax]
    found = read(packed(encode(values), syntax, values, PixelRepresentation=int(signed)), tmp_path)
    assert np.array_equal(found, values)


def test_a_signed_image_in_an_unsigned_jpeg_2000_stream(tmp_path: Path) -> None:
    """Some archives write two's complement of 13 bits as an unsigned stream; the DICOM header has the sign."""
    values = np.array([[-2000, -1, 0, 4095]] * 8, np.int16)
    stream = imagecodecs.jpeg2k_encode(
        (values & 0x1FFF).astype(np.uint16), level=0, reversible=True, codecformat="j2k", bitspersample=13
    )
    image = packed(stream, JPEG2000Lossless, values, PixelRepresentation=1, BitsStored=13, HighBit=12)
    assert np.array_equal(read(image, tmp_path), values)


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("bits", [12, 16])
def test_jpeg_lossless_by_the_standard(bits: int, predictor: int, tmp_path: Path) -> None:
    values = np.random.default_rng(predictor).integers(0, 1 << bits, (13, 17)).astype(np.uint16)
    values[4:8] = values[4, 0]
    stream = jpeg_lossless.encode(values, bits, predictor)
    assert np.array_equal(read(packed(stream, JPEGLossless, values), tmp_path), values)


@pytest.mark.parametrize("bits", [8, 12])
def test_jpeg_with_loss(bits: int, tmp_path: Path) -> None:
    values = (SMOOTH >> (12 - bits)).astype(np.uint8 if bits == 8 else np.uint16)
    stream = imagecodecs.jpeg8_encode(values, level=95, bitspersample=bits)
    syntax = JPEGBaseline8Bit if bits == 8 else JPEGExtended12Bit
    allocated = {8: {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, 12: {"BitsStored": 12, "HighBit": 11}}[bits]
    found = read(packed(stream, syntax, values, **allocated), tmp_path)
    # A quality of 95 of a smooth image: errors of a few steps of quantisation.
    assert np.abs(found - values.astype(np.int32)).max() <= 2 ** (bits - 7)


def test_run_lengths() -> None:
    high, low = bytes([253, 7, 128, 1, 8, 9]), bytes([5, *range(6)])
    frame = struct.pack("<16I", 2, 64, 64 + len(high), *[0] * 13) + high + low
    assert decode_rle(frame, 6, 2).tolist() == [7 << 8, 7 << 8 | 1, 7 << 8 | 2, 7 << 8 | 3, 8 << 8 | 4, 9 << 8 | 5]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ([1, 64], "1 RLE .*2"),
        ([2, 64, 20], "out of order"),
        ([2, 0, 64], "out of order"),
        ([2, 64, 4000], "out of order"),
        ([2, 64, 66], "1 bytes.* 6"),
    ],
    ids=["segments", "order", "in-the-header", "beyond-the-end", "too-short"],
)
def test_refuses_run_lengths(header: list[int], said: str) -> None:
    frame = struct.pack("<16I", *header, *[0] * (16 - len(header))) + bytes([0, 1, 255, 2])
    with pytest.raises(ValueError, match=said):
        decode_rle(frame, 6, 2)


# What a frame's own header must say


def stream(syntax: UID) -> bytes:
    if syntax == JPEG2000Lossless:
        return bytes(imagecodecs.jpeg2k_encode(NOISE, level=0, reversible=True, codecformat="j2k"))
    if syntax == JPEGLSLossless:
        return bytes(imagecodecs.jpegls_encode(NOISE))
    if syntax == JPEGExtended12Bit:
        return bytes(imagecodecs.jpeg8_encode(NOISE, level=90, bitspersample=12))
    return jpeg_lossless.encode(NOISE, 12, 1)


STREAMS = (JPEG2000Lossless, JPEGLSLossless, JPEGExtended12Bit, JPEGLosslessSV1)


@pytest.mark.parametrize("syntax", STREAMS, ids=lambda uid: uid.keyword)
def test_a_frame_cut_short_anywhere_is_refused(syntax: UID, tmp_path: Path) -> None:
    """At the end of a cut JPEG-LS stream its decoder waits for ever; others complete the picture."""
    sound = stream(syntax)
    for kept in range(1, len(sound) - 1, max(1, len(sound) // 40)):
        check_facts(refusal(packed(sound[:kept], syntax, NOISE), tmp_path), "slice")


@pytest.mark.parametrize("syntax", STREAMS, ids=lambda uid: uid.keyword)
def test_a_frame_of_another_syntax_is_refused(syntax: UID, tmp_path: Path) -> None:
    for other in STREAMS:
        if other != syntax:
            check_facts(refusal(packed(stream(other), syntax, NOISE), tmp_path), syntax.name, "JPEG")


@pytest.mark.parametrize("syntax", STREAMS, ids=lambda uid: uid.keyword)
def test_padding_after_the_end_is_no_damage(syntax: UID, tmp_path: Path) -> None:
    found = read(packed(stream(syntax) + b"\0", syntax, NOISE), tmp_path)
    assert np.array_equal(found, read(packed(stream(syntax), syntax, NOISE), tmp_path))


def test_refuses_a_second_jpeg_frame_header() -> None:
    sound = stream(JPEGLosslessSV1)
    twice = sound[:2] + sound[2:15] + sound[2:]
    with pytest.raises(ValueError, match="2 JPEG"):
        frame_header(twice, JPEGLosslessSV1)


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        (24, b"\0\0\0\0", "tiles.* 0 x"),
        (24, b"\0\0\0\1\0\0\0\1", "1024 tiles"),
    ],
    ids=["no-tiles", "tiny-tiles"],
)
def test_refuses_costly_tiles(at: int, value: bytes, said: str) -> None:
    data = bytearray(stream(JPEG2000Lossless))
    data[at : at + len(value)] = value
    with pytest.raises(ValueError, match=said):
        refuse_costly_layout(bytes(data), JPEG2000Lossless)


@pytest.mark.parametrize("change_at", [(10, 0), (11, 0)], ids=["narrow", "flat"])
def test_refuses_costly_code_blocks(change_at: tuple[int, int]) -> None:
    data = bytearray(stream(JPEG2000Lossless))
    data[data.index(b"\xff\x52") + change_at[0]] = change_at[1]
    with pytest.raises(ValueError, match="16 x 16"):
        refuse_costly_layout(bytes(data), JPEG2000Lossless)


def test_refuses_costly_precincts() -> None:
    data = stream(JPEG2000Lossless)
    at = data.index(b"\xff\x52")
    length = int.from_bytes(data[at + 2 : at + 4], "big")
    style = bytearray(data[at : at + 2 + length])
    style[4] |= 1
    precincts = bytes([0x11] * (style[9] + 1))
    style[2:4] = (length + len(precincts)).to_bytes(2, "big")
    with pytest.raises(ValueError, match="16 x 16"):
        refuse_costly_layout(data[:at] + style + precincts + data[at + 2 + length :], JPEG2000Lossless)


# What is installed


def test_every_syntax_is_decoded_here() -> None:
    found = decoders()
    assert [entry.name for entry in found] == [syntax.keyword for syntax in TRANSFER_SYNTAXES]
    assert all(entry.plugins for entry in found)
    assert set(CODECS) <= set(TRANSFER_SYNTAXES)


def test_names_the_package_when_a_decoder_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    image = packed(stream(JPEG2000Lossless), JPEG2000Lossless, NOISE)  # made by the package that is then missing
    monkeypatch.setattr(pixel_format.CODECS[JPEG2000Lossless].load.__globals__["importlib"], "import_module", missing)
    with refused(StudyError, "slice", "JPEG 2000", JPEG2000Lossless, "imagecodecs") as caught:
        read_study(write(image, tmp_path / "slice"))
    [remedy] = caught.value.remedies
    assert remedy.command and remedy.command.startswith("pip install 'imagecodecs>=")
    detail = {entry.name: entry for entry in decoders()}["JPEG2000Lossless"]
    assert detail.plugins == () and "pip install 'imagecodecs>=" in str(detail.remedies[0].command)
