"""Stored pixels to intensities: depth, sign, rescale, padding, compression, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import (
    MPEG2MPML,
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from dicom_factory import PHI, change, compress, ct_series, ct_slice, enhanced_ct, hounsfield, save, write
from mmcaf_engine.errors import StudyError
from mmcaf_engine.study import read_study
from mmcaf_engine.study.dicom import pixels
from refusals import Fact, check_facts, refused

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

VALUES = hounsfield(3, 33, 35)


def stored(image: FileDataset, values: NDArray[Any], bits: int = 16, **elements: Any) -> FileDataset:
    """Put raw values into an image; their type gives the sign."""
    image.BitsStored, image.HighBit = bits, bits - 1
    image.PixelRepresentation = int(values.dtype.kind == "i")
    image.PixelData = values.astype(values.dtype.newbyteorder("<")).tobytes()
    change(image, **elements)
    return image


def one(values: NDArray[Any], path: Path, *, bits: int = 16, intensity: Any = "hounsfield", **elements: Any) -> Any:
    """Read back one slice of raw values."""
    image = stored(ct_slice(np.zeros(values.shape, np.int16)), values, bits, **elements)
    return read_study(write(image, path / "slice"), intensity=intensity)


def refusal(image: FileDataset, folder: Path, **options: Any) -> str:
    with refused(StudyError, "slice") as caught:
        read_study(write(image, folder / "slice"), **options)
    message = str(caught.value)
    assert not [word for word in PHI.values() if word in message]
    assert caught.value.remedy
    return caught.value.problem


@pytest.mark.parametrize(
    ("raw", "bits", "rescale", "expected"),
    [
        (np.array([[0, 1, 4095]], np.uint16), 12, (1, -1024), [-1024, -1023, 3071]),
        (np.array([[-2048, 0, 2047]], np.int16), 12, (1, 0), [-2048, 0, 2047]),
        (np.array([[-2000, 0, 2047]], np.int16), 16, (1, -1024), [-3024, -1024, 1023]),
        (np.array([[0, 1000, 33000]], np.uint16), 16, (1, -1024), [-1024, -24, 31976]),
        (np.array([[0, 1000, 65535]], np.uint16), 16, (1, -1024), [-1024.0, -24.0, 64511.0]),
        (np.array([[0, 3, 100]], np.uint16), 12, (0.5, -1024), [-1024.0, -1022.5, -974.0]),
        (np.array([[0, 3, 100]], np.uint16), 12, (2, -1024), [-1024.0, -1018.0, -824.0]),
        (np.array([[0, 3, 100]], np.uint16), 12, (1, -1023.5), [-1023.5, -1020.5, -923.5]),
        # Bits above BitsStored may hold anything.
        (np.array([[0xF000, 0xF7FF, 0x0801]], np.uint16), 12, (1, 0), [0, 2047, 2049]),
        (np.array([[0x0800, 0x7FFF, 0x0001]], np.int16), 12, (1, 0), [-2048, -1, 1]),
    ],
    ids=[
        "unsigned-12", "signed-12", "signed-16", "unsigned-16-that-fits", "unsigned-16-beyond-int16", "half-slope",
        "slope-2", "half-intercept", "unsigned-with-overlay-bits", "signed-with-overlay-bits",
    ],
)  # fmt: skip
def test_rescales(
    raw: NDArray[Any], bits: int, rescale: tuple[float, float], expected: list[float], tmp_path: Path
) -> None:
    values = one(raw, tmp_path, bits=bits, RescaleSlope=rescale[0], RescaleIntercept=rescale[1]).volume.values
    assert values.dtype == (np.float32 if any(isinstance(value, float) for value in expected) else np.int16)
    assert values[0, 0].tolist() == expected


def test_rle_may_carry_overlay_bits_too(tmp_path: Path) -> None:
    image = stored(ct_slice(np.zeros((1, 4), np.int16)), np.array([[0xF000, 0xF7FF, 0x0801, 5]], np.uint16), 12)
    image.compress(RLELossless)
    values = read_study(write(image, tmp_path / "slice")).volume.values
    assert values[0, 0].tolist() == [-1024, 1023, 1025, -1019]


@pytest.mark.parametrize(
    ("raw", "bits", "expected"),
    [
        (np.array([[0, 7, 255]], np.uint8), 8, [-1024, -1017, -769]),
        (np.array([[-128, 0, 127]], np.int8), 8, [-1152, -1024, -897]),
        (np.array([[0, 2024, 4095]], np.uint32), 32, [-1024, 1000, 3071]),
        (np.array([[-2000, 0, 2047]], np.int32), 32, [-3024, -1024, 1023]),
        (np.array([[0, 40000, 3]], np.uint32), 32, [-1024.0, 38976.0, -1021.0]),
        (np.array([[0x10000, 0x1FFFF, 0x20005]], np.uint32), 16, [-1024.0, 64511.0, -1019.0]),
    ],
    ids=["unsigned-8", "signed-8", "unsigned-32", "signed-32", "unsigned-32-beyond-int16", "32-with-overlay-bits"],
)
def test_other_depths(raw: NDArray[Any], bits: int, expected: list[float], tmp_path: Path) -> None:
    values = one(raw, tmp_path, bits=bits, BitsAllocated=8 * raw.dtype.itemsize).volume.values
    assert values.dtype == (np.float32 if any(isinstance(value, float) for value in expected) else np.int16)
    assert values[0, 0].tolist() == expected


def test_32_bits_that_would_wrap_are_refused(tmp_path: Path) -> None:
    raw = np.array([[0xFFFFFFFF, 0]], np.uint32)
    image = stored(ct_slice(np.zeros(raw.shape, np.int16)), raw, 32, BitsAllocated=32)
    check_facts(refusal(image, tmp_path), "(0028,1053) RescaleSlope", -1024, 1e6)


def test_bits_above_the_stored_ones_mean_nothing_in_compressed_values_either(tmp_path: Path) -> None:
    raw = np.tile(np.array([[0x0350, 0xC350], [0x1350, 0x0351]], np.uint16), (20, 20))
    image = stored(ct_slice(np.zeros(raw.shape, np.int16)), raw, 16)
    change(image, BitsStored=12, HighBit=11)
    plain = read_study(write(image, tmp_path / "plain")).volume.values
    change(image, BitsStored=16, HighBit=15)
    image.compress(JPEG2000Lossless)
    change(image, BitsStored=12, HighBit=11)
    values = read_study(write(image, tmp_path / "slice")).volume.values
    assert np.array_equal(values, plain) and np.unique(values).tolist() == [0x350 - 1024, 0x351 - 1024]


@pytest.mark.parametrize(("lowest", "said"), [(-1499, 0), (-1500, 0), (-1501, 1), (-3024, 1)])
def test_what_lies_far_below_air_and_is_not_declared_is_said(lowest: int, said: int, tmp_path: Path) -> None:
    raw = np.array([[lowest, lowest, 0, 40]], np.int16)
    study = one(raw, tmp_path, bits=16, RescaleIntercept=0)
    assert study.volume.values[0, 0].tolist() == [lowest, lowest, 0, 40]
    found = [warning for warning in study.warnings if "-1500 HU" in warning]
    assert len(found) == said and all("2 pixels (50.0 %)" in warning for warning in found)


def test_a_lookup_table_beside_a_rescale_is_refused(tmp_path: Path) -> None:
    table = Dataset()
    change(table, LUTDescriptor=[4, 0, 16], ModalityLUTType="HU", LUTData=bytes(8))
    image = ct_slice(VALUES[0], ModalityLUTSequence=[table])
    check_facts(refusal(image, tmp_path), "(0028,3000) ModalityLUTSequence", "(0028,1053) RescaleSlope")
    change(image, RescaleSlope=None)
    check_facts(refusal(image, tmp_path), "(0028,1053) RescaleSlope", "missing", "(0028,3000) ModalityLUTSequence")


def test_each_slice_has_its_own_rescale(tmp_path: Path) -> None:
    images = ct_series(VALUES)
    for index, image in enumerate(images):
        change(image, RescaleSlope=1 + index, RescaleIntercept=-1024 - index)
    values = read_study(save(images, tmp_path / "study")).volume.values
    raw = VALUES.astype(np.float32) + 1024
    assert values.dtype == np.float32
    assert np.array_equal(values, np.stack([raw[index] * (1 + index) - 1024 - index for index in range(3)]))


def test_stored_intensity_is_the_raw_value(tmp_path: Path) -> None:
    raw = np.array([[0, 63536, 7]], np.uint16)
    study = one(raw, tmp_path, intensity="stored", RescaleSlope=3, PixelPaddingValue=63536)
    assert study.volume.intensity == "stored"
    assert study.volume.values.tolist() == [[[0.0, 63536.0, 7.0]]]
    assert read_study(save(ct_series(VALUES), tmp_path / "study"), intensity="stored").volume.values.dtype == np.int16


def test_stored_intensity_needs_no_rescale(tmp_path: Path) -> None:
    image = ct_slice(VALUES[0], RescaleSlope=None, RescaleIntercept=None, Modality="MR")
    values = read_study(write(image, tmp_path / "slice"), intensity="stored").volume.values
    assert np.array_equal(values[0], VALUES[0] + 1024)


# Padding


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian], ids=["explicit", "implicit"])
@pytest.mark.parametrize(
    ("raw", "elements", "expected"),
    [
        (np.array([[-2000, 24, 2024]], np.int16), {"PixelPaddingValue": -2000}, [-1000, -1000, 1000]),
        (np.array([[63536, 24, 2024]], np.uint16), {"PixelPaddingValue": 63536}, [-1000, -1000, 1000]),
        (
            np.array([[5, 10, 2024]], np.uint16),
            {"PixelPaddingValue": 4, "PixelPaddingRangeLimit": 6},
            [-1000, -1014, 1000],
        ),
        (np.array([[32767, 24, 2024]], np.int16), {"PixelPaddingValue": 32767}, [-1000, -1000, 1000]),
        (np.array([[-32768, 24, 2024]], np.int16), {"PixelPaddingValue": -32768}, [-1000, -1000, 1000]),
    ],
    ids=["signed", "unsigned", "range", "largest", "smallest"],
)
def test_padding_becomes_air(
    raw: NDArray[Any], elements: dict[str, int], expected: list[int], syntax: str, tmp_path: Path
) -> None:
    image = stored(ct_slice(np.zeros(raw.shape, np.int16)), raw, 16, **elements)
    image.file_meta.TransferSyntaxUID = syntax
    study = read_study(write(image, tmp_path / "slice"))
    assert study.volume.values[0, 0].tolist() == expected


def test_padding_beyond_the_stored_bits_is_seen_before_they_are_dropped(tmp_path: Path) -> None:
    """63536 in twelve bits would be 2096, brighter than bone."""
    study = one(np.array([[63536, 24]], np.uint16), tmp_path, bits=12, PixelPaddingValue=63536)
    assert study.volume.values[0, 0].tolist() == [-1000, -1000]


def test_padding_that_tissue_could_have_is_worth_a_warning(tmp_path: Path) -> None:
    study = one(np.array([[0, 1, 0, 4]], np.int16), tmp_path, RescaleIntercept=0, PixelPaddingValue=0)
    assert study.volume.values[0, 0].tolist() == [-1000, 1, -1000, 4]
    assert "2 pixels (50.0 %) carry (0028,0120) PixelPaddingValue" in study.warnings[-1]


def test_padding_of_air_is_not(tmp_path: Path) -> None:
    study = one(np.array([[0, 1000]], np.int16), tmp_path, PixelPaddingValue=0)
    assert study.volume.values[0, 0].tolist() == [-1000, -24]
    assert not [warning for warning in study.warnings if "Padding" in warning]


@pytest.mark.parametrize(("highest", "said"), [(124, False), (125, True)], ids=["-900 HU", "-899 HU"])
def test_one_value_of_a_range_of_padding_that_tissue_could_have_is_enough(
    highest: int, said: bool, tmp_path: Path
) -> None:
    raw = np.array([[0, 2000, highest, 3000]], np.uint16)
    study = one(raw, tmp_path, PixelPaddingValue=0, PixelPaddingRangeLimit=highest)
    assert study.volume.values[0, 0].tolist() == [-1000, 976, -1000, 1976]
    assert any("2 pixels (50.0 %) carry (0028,0120)" in warning for warning in study.warnings) == said


# Remarks


def test_loss_in_compression_is_worth_a_warning(tmp_path: Path) -> None:
    study = read_study(save(ct_series(VALUES, LossyImageCompression="01"), tmp_path / "study"))
    assert ["compressed with loss" in warning for warning in study.warnings] == [True]


def test_an_unspecified_unit_is_worth_a_warning(tmp_path: Path) -> None:
    study = read_study(save(ct_series(VALUES, RescaleType="US"), tmp_path / "study"))
    assert ["RescaleType" in warning for warning in study.warnings] == [True]


# Refusals


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"PhotometricInterpretation": "MONOCHROME1"}, ("(0028,0004) PhotometricInterpretation", "MONOCHROME1")),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, ("(0028,0004) PhotometricInterpretation", "MONOCHROME2")),
        ({"BitsAllocated": 12}, ("(0028,0100) BitsAllocated", 12, 8, 16, 32)),
        (
            {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7},
            ("PixelData", "(0028,0008) NumberOfFrames", "2310 bytes", 1155),
        ),
        ({"BitsStored": 17}, ("(0028,0101) BitsStored", 17, 1, 16)),
        ({"HighBit": 15}, ("(0028,0102) HighBit", 15, 11, 12)),
        ({"PixelRepresentation": 2}, ("(0028,0103) PixelRepresentation", 2)),
        ({"RescaleSlope": None}, ("(0028,1053) RescaleSlope", "missing")),
        ({"RescaleIntercept": None}, ("(0028,1052) RescaleIntercept", "missing")),
        ({"RescaleSlope": 0}, ("(0028,1053) RescaleSlope", 0)),
        ({"RescaleSlope": 1e9}, ("(0028,1053) RescaleSlope", 1e9, 1e6)),
        ({"RescaleType": "MGML"}, ("(0028,1054) RescaleType", "MGML", "HU")),
        ({"Rows": 65535, "Columns": 65535}, ("(0028,0010) Rows", 65535, 1, 4096)),
        ({"Columns": 4097}, ("(0028,0011) Columns", 4097, 4096)),
        ({"NumberOfFrames": 2000000}, ("(0028,0008) NumberOfFrames", 2000000, 1, 4096)),
        ({"NumberOfFrames": -1}, ("(0028,0008) NumberOfFrames", -1)),
        ({"Rows": 34}, ("PixelData", "truncated", "2310 bytes", 2380, "34 x 35", "2 bytes")),
        ({"Rows": 4096, "Columns": 4096}, ("PixelData", "truncated", "2310 bytes", 33554432)),
        ({"Rows": 16}, ("PixelData", "(0028,0008) NumberOfFrames", "2310 bytes", 1120)),
    ],
    ids=lambda value: "-".join(f"{key}={entry}" for key, entry in value.items()) if isinstance(value, dict) else "",
)
def test_refuses(elements: dict[str, Any], expected: tuple[Fact, ...], tmp_path: Path) -> None:
    check_facts(refusal(ct_slice(VALUES[0], **elements), tmp_path), *expected)


def test_refuses_more_voxels_than_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "MAX_VOXELS", VALUES.size - 1)
    with refused(StudyError, "3 slices", "33 x 35", 4096, VALUES.size - 1):
        read_study(save(ct_series(VALUES), tmp_path / "study"))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless], ids=lambda uid: uid.keyword)
@pytest.mark.parametrize("lost", [2, 100, 1000])
def test_refuses_truncated_pixel_data(syntax: UID, lost: int, tmp_path: Path) -> None:
    image = ct_slice(VALUES[0])
    if syntax == JPEG2000Lossless:
        pytest.importorskip("openjpeg")
    if syntax != ExplicitVRLittleEndian:
        image.compress(syntax)
    path = write(image, tmp_path / "slice")
    path.write_bytes(path.read_bytes()[:-lost])
    with refused(StudyError, "slice", "(7FE0,0010) PixelData", "truncated", "bytes"):
        read_study(path)


def test_refuses_a_truncated_multi_frame_file(tmp_path: Path) -> None:
    path = write(enhanced_ct(VALUES), tmp_path / "enhanced")
    path.write_bytes(path.read_bytes()[:-10])
    size = VALUES.size * 2
    with refused(StudyError, "enhanced", "PixelData", "truncated", f"{size - 10} bytes", size, "3 frames"):
        read_study(path)


def test_refuses_missing_frames(tmp_path: Path) -> None:
    image = enhanced_ct(VALUES[:2])
    image.compress(RLELossless)
    image.NumberOfFrames = 3
    image.PerFrameFunctionalGroupsSequence = enhanced_ct(VALUES).PerFrameFunctionalGroupsSequence
    path = write(image, tmp_path / "enhanced")
    with refused(StudyError, "enhanced", "(7FE0,0010) PixelData", 1, "3 frames"):
        read_study(path)


@pytest.mark.parametrize(
    ("syntax", "at"), [(RLELossless, 20), (RLELossless, 60), (JPEG2000Lossless, 150)], ids=["segments", "runs", "tiles"]
)
def test_refuses_corrupt_frames(syntax: UID, at: int, tmp_path: Path) -> None:
    image = ct_slice(VALUES[0])
    if syntax == JPEG2000Lossless:
        pytest.importorskip("openjpeg")
    image.compress(syntax)
    data = bytearray(image.PixelData)
    data[at : at + 250] = b"\x80" * 250
    image.PixelData = bytes(data)
    check_facts(refusal(image, tmp_path), syntax.name, "damaged")


def test_refuses_a_compressed_frame_of_another_size(tmp_path: Path) -> None:
    """A codestream that declares a gigantic image never reaches the decoder."""
    pytest.importorskip("openjpeg")
    image = ct_slice(VALUES[0])
    image.compress(JPEG2000Lossless)
    data = bytearray(image.PixelData)
    at = data.index(b"\xff\x4f\xff\x51")
    data[at + 8 : at + 16] = (60000).to_bytes(4, "big") * 2
    image.PixelData = bytes(data)
    check_facts(refusal(image, tmp_path), "60000 x 60000", 1, "33 x 35")


def test_refuses_encapsulated_data_in_an_uncompressed_syntax(tmp_path: Path) -> None:
    image = ct_slice(VALUES[0])
    image.compress(RLELossless)
    path = write(image, tmp_path / "slice")
    path.write_bytes(path.read_bytes().replace(RLELossless.encode(), b"1.2.840.10008.1.2.1"))
    with refused(StudyError, "(7FE0,0010) PixelData", "encapsulated", "Explicit VR Little Endian"):
        read_study(path)


def test_refuses_a_transfer_syntax_that_is_no_image(tmp_path: Path) -> None:
    image = ct_slice(VALUES[0])
    image.compress(RLELossless)
    image.file_meta.TransferSyntaxUID = MPEG2MPML
    check_facts(refusal(image, tmp_path), "(0002,0010) TransferSyntaxUID", "MPEG2")


def test_the_same_bits_from_any_number_of_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(ct_series(hounsfield(20)), tmp_path / "study")
    first = read_study(path).volume.values
    monkeypatch.setattr(pixels, "WORKERS", 1)
    assert np.array_equal(first, read_study(path).volume.values)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ([-32768, 0], [-33792.0, -1024.0]),
        ([-31745, 0], [-32769.0, -1024.0]),
        ([-31744, 0], [-32768, -1024]),
        ([32767, 0], [31743, -1024]),
    ],
    ids=["far-below", "just-below", "lowest", "highest"],
)
def test_signed_values_below_int16_do_not_wrap(raw: list[int], expected: list[float], tmp_path: Path) -> None:
    values = one(np.array([raw], np.int16), tmp_path).volume.values
    assert values.dtype == (np.float32 if isinstance(expected[0], float) else np.int16)
    assert values[0, 0].tolist() == expected


@pytest.mark.parametrize("extreme", [2**31 - 1, -(2**31)], ids=["above", "below"])
def test_values_beyond_any_meaning_are_refused_on_either_side(extreme: int, tmp_path: Path) -> None:
    raw = np.array([[extreme, 0]], np.int32)
    image = stored(ct_slice(np.zeros(raw.shape, np.int16)), raw, 32, BitsAllocated=32)
    assert "beyond the limit" in refusal(image, tmp_path)


@pytest.mark.parametrize("ends", [(4, 6), (6, 4)], ids=["rising", "falling"])
def test_both_ends_of_a_range_of_padding_are_padding(ends: tuple[int, int], tmp_path: Path) -> None:
    raw = np.array([[3, 4, 5, 6, 7]], np.uint16)
    study = one(raw, tmp_path, PixelPaddingValue=ends[0], PixelPaddingRangeLimit=ends[1])
    assert study.volume.values[0, 0].tolist() == [-1021, -1000, -1000, -1000, -1017]


def test_big_endian_values(tmp_path: Path) -> None:
    images = [compress(image, ExplicitVRBigEndian) for image in ct_series(VALUES)]
    assert np.array_equal(read_study(save(images, tmp_path / "study")).volume.values, VALUES)
