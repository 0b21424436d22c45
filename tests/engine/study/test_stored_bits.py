"""Which bits of a sample are the image's: every form of pixel data, depth and sign against a loop in whole numbers."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import imagecodecs
import jpeg_ls
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from dicom_factory import ct_slice, write
from mmcaf_engine.errors import StudyError
from mmcaf_engine.study import read_study
from refusals import refused

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

ROWS, COLUMNS = 5, 6
Words = NDArray[np.unsignedinteger]
Encode = Callable[[Words, int], bytes]


def by_charls(words: Words, bits: int, near: int = 0) -> bytes:
    facts = {"bits_allocated": 8 * words.itemsize, "bits_stored": bits, "samples_per_pixel": 1}
    made = jpeg_ls.encode_pixel_data(
        words.tobytes(),
        rows=words.shape[0],
        columns=words.shape[1],
        photometric_interpretation="MONOCHROME2",
        planar_configuration=0,
        lossy_error=near,
        **facts,
    )
    return bytes(made)


def by_openjpeg(words: Words, bits: int) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(words, level=0, reversible=True, codecformat="j2k", bitspersample=bits))


def by_ljpeg(words: Words, bits: int) -> bytes:
    return bytes(imagecodecs.ljpeg_encode(words, bitspersample=bits))


CODERS: dict[UID, Encode] = {
    JPEGLSLossless: by_charls,
    JPEG2000Lossless: by_openjpeg,
    JPEGLosslessSV1: by_ljpeg,
}
WHOLE_WORDS = (ExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless)
"""Forms whose samples are as many bits as BitsAllocated."""


def image(words: Words, syntax: UID, precision: int, stored: int, signed: bool) -> FileDataset:
    """A slice of these samples, of which the header says `stored` bits."""
    made = ct_slice(np.zeros(words.shape, np.int16), RescaleIntercept=0)
    made.BitsAllocated = made.BitsStored = 8 * words.itemsize
    made.PixelRepresentation = int(signed)
    made.PixelData = words.astype(words.dtype.newbyteorder("<")).tobytes()
    if syntax == RLELossless:
        made.compress(syntax, encoding_plugin="pydicom")
    elif syntax == ExplicitVRBigEndian:
        made.PixelData = words.astype(words.dtype.newbyteorder(">")).tobytes()
        made["PixelData"].VR = "OB" if words.itemsize == 1 else "OW"
    elif syntax in CODERS:
        made.PixelData = encapsulate([CODERS[syntax](words, precision)])
    made.file_meta.TransferSyntaxUID = syntax
    made.BitsStored, made.HighBit = stored, stored - 1
    return made


def oracle(words: Words, bits: int, signed: bool) -> list[list[int]]:
    """The lowest bits of each sample, one by one, as two's complement where they are signed."""

    def value(word: int) -> int:
        low = word % 2**bits
        return low - 2**bits if signed and low >= 2 ** (bits - 1) else low

    return [[value(int(word)) for word in row] for row in words]


def least(syntax: UID, allocated: int, stored: int) -> int:
    """The fewest bits that the encoder here can be told of; JPEG lossless of fewer than are stored has no sign."""
    if syntax == JPEGLSLossless:
        return 2
    if syntax == JPEG2000Lossless:
        return 2 if allocated == 8 else 9
    return 8 if allocated == 8 else max(stored, 9)


@st.composite
def samples(draw: st.DrawFn) -> tuple[Words, UID, int, int, bool]:
    syntax = draw(st.sampled_from((*WHOLE_WORDS, *CODERS)))
    allocated = 16 if syntax == ExplicitVRBigEndian else draw(st.sampled_from((8, 16)))
    stored = draw(st.integers(2, allocated))
    precision = allocated if syntax in WHOLE_WORDS else draw(st.integers(least(syntax, allocated, stored), allocated))
    words = draw(st.lists(st.integers(0, 2**precision - 1), min_size=ROWS * COLUMNS, max_size=ROWS * COLUMNS))
    grid = np.array(words, f"u{allocated // 8}").reshape(ROWS, COLUMNS)
    grid = grid.repeat(3, axis=0).repeat(3, axis=1)  # pyjpegls cannot encode pure noise
    return grid, syntax, precision, stored, draw(st.booleans())


def agrees(drawn: tuple[Words, UID, int, int, bool]) -> None:
    words, syntax, precision, stored, signed = drawn
    if words.min() == words.max():
        return
    with TemporaryDirectory() as folder:
        path = write(image(words, syntax, precision, stored, signed), Path(folder) / "slice")
        for intensity in ("stored", "hounsfield"):
            read = read_study(path, intensity=intensity).volume.values[0]
            assert read.astype(int).tolist() == oracle(words, min(precision, stored), signed), intensity


@settings(max_examples=60, deadline=None)
@given(samples())
def test_bits_that_are_the_images(drawn: tuple[Words, UID, int, int, bool]) -> None:
    agrees(drawn)


@pytest.mark.full
@settings(max_examples=600, deadline=None)
@given(samples())
def test_bits_that_are_the_images_at_length(drawn: tuple[Words, UID, int, int, bool]) -> None:
    agrees(drawn)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("stored", [9, 12, 13, 16])
@pytest.mark.parametrize("precision", [9, 12, 16])
@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
def test_a_stream_of_more_or_fewer_bits_than_are_stored(syntax: UID, precision: int, stored: int, signed: bool) -> None:
    """The ends of its range among them."""
    top = 2**precision - 1
    ends = np.array([0, 1, top // 2, top // 2 + 1, top - 1, top], np.uint16)
    agrees((np.tile(ends, (ROWS, 1)).repeat(3, axis=0).repeat(3, axis=1), syntax, precision, stored, signed))


SOFT = (2000 + 1500 * np.sin(np.arange(ROWS * 4)[:, None] / 3) * np.cos(np.arange(COLUMNS * 4) / 4)).astype(np.uint16)
"""[20, 24] of 500 to 3500."""


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless, JPEGLosslessSV1, RLELossless])
def test_an_overlay_above_the_stored_bits_hides_nothing(syntax: UID, tmp_path: Path) -> None:
    drawn = SOFT.copy()
    drawn[3:9, 4:12] |= 0x1000
    read = read_study(write(image(drawn, syntax, 16, 12, False), tmp_path / "slice"), intensity="stored")
    assert np.array_equal(read.volume.values[0], SOFT)


@pytest.mark.parametrize("padding", [0, 50, -1000])
def test_padding_is_known_with_or_without_its_unused_bits(padding: int, tmp_path: Path) -> None:
    """The sign extended, cut off, or an overlay above it: all of them are padding."""
    words = (SOFT // 2).astype(np.uint16)  # 250 to 1750
    extended = np.uint16(padding & 0xFFFF)
    words[0, :3] = extended, extended & 0x0FFF, (extended & 0x0FFF) | 0x1000
    for syntax in (ExplicitVRLittleEndian, JPEGLSLossless):
        made = image(words, syntax, 16, 12, True)
        made.add_new("PixelPaddingValue", "SS", padding)
        values = read_study(write(made, tmp_path / "slice")).volume.values[0]
        assert values[0, :3].tolist() == [-1000] * 3
        assert np.array_equal(np.delete(values, 0, axis=0), np.delete(SOFT // 2, 0, axis=0))


def lossy(words: Words, syntax: UID) -> bytes:
    if syntax == JPEGLSNearLossless:
        return by_charls(words, 16, near=2)
    return bytes(imagecodecs.jpeg8_encode(words, level=60, bitspersample=12))


@pytest.mark.parametrize(("syntax", "stored"), [(JPEGLSNearLossless, 12), (JPEGExtended12Bit, 10)])
def test_loss_that_leaves_the_stored_bits_is_not_wrapped(syntax: UID, stored: int, tmp_path: Path) -> None:
    """A value that grew by the loss would become the darkest one."""
    top = 2**stored - 1
    words = np.clip(SOFT, 0, top).astype(np.uint16)
    words[5:12, 5:12], words[7:9, 7:9] = top, 0
    made = image(words, JPEGLSLossless, 16, stored, False)
    made.file_meta.TransferSyntaxUID = syntax
    made.PixelData = encapsulate([lossy(words, syntax)])
    if syntax == JPEGLSNearLossless:
        words[5, 5] = top + 1  # within the loss of the highest value
        made.PixelData = encapsulate([lossy(words, syntax)])
    with refused(StudyError, "slice", "(0028,0101) BitsStored", stored, 16 if stored == 12 else 12):
        read_study(write(made, tmp_path / "slice"))


def test_loss_within_the_stored_bits_is_read(tmp_path: Path) -> None:
    made = image(SOFT, JPEGLSLossless, 16, 12, False)
    made.file_meta.TransferSyntaxUID = JPEGLSNearLossless
    made.PixelData = encapsulate([lossy(SOFT, JPEGLSNearLossless)])
    read = read_study(write(made, tmp_path / "slice"), intensity="stored").volume.values[0]
    assert 0 < np.abs(read.astype(int) - SOFT).max() <= 2


@pytest.mark.parametrize(("lowest", "signed"), [(-1, False), (0, False), (-1, True)])
def test_samples_below_zero_are_not_unsigned(lowest: int, signed: bool, tmp_path: Path) -> None:
    values = np.arange(ROWS * COLUMNS, dtype=np.int16).reshape(ROWS, COLUMNS) + np.int16(lowest)
    made = image(values.view(np.uint16), JPEG2000Lossless, 16, 12, signed)
    stream = bytes(imagecodecs.jpeg2k_encode(values, level=0, reversible=True, codecformat="j2k"))
    made.PixelData = encapsulate([stream])
    path = write(made, tmp_path / "image")
    if lowest < 0 and not signed:
        with refused(StudyError, "as low as -1", "(0028,0103) PixelRepresentation is 0"):
            read_study(path, intensity="stored")
        return
    assert np.array_equal(read_study(path, intensity="stored").volume.values[0], values)
