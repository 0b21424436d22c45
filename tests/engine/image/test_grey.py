"""The grey values of DICOM radiographs against pydicom's own modality, VOI and windowing functions."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import (
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from dicom_factory import compress, write
from mmcaf_engine.errors import StudyError
from mmcaf_engine.image import open_image
from mmcaf_engine.image.grey import Function, GreyScale, OfInterest, Range, Rescale, Table, Window
from mmcaf_engine.manifest import ImageSpec
from refusals import Fact, refused
from tiny_image import radiograph, stored, table_item

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

SPEC = ImageSpec(size=(8, 8), channels=1, mean=(0.0,), std=(1.0,))
TOLERANCE = 1e-4
"""Grey values up to 255 in float32 against double precision; measured 8e-6."""

RISING = np.linspace(0, 1023, 200).astype(np.uint16)
BENT = (1023 * np.linspace(0, 1, 300) ** 2).astype(np.uint16)


def grey(path: Path) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    with open_image(path, SPEC) as opened:
        plane, facts = opened.read()
    assert plane.dtype == np.float32
    return plane, facts.warnings


def reference(path: Path) -> NDArray[np.float64]:
    """By pydicom: the shown values, and the ends of their range by the standard."""
    image = dcmread(path)
    shown = apply_voi_lut(apply_modality_lut(image.pixel_array, image), image, index=0).astype(np.float64)
    span = 2**image.BitsStored
    ends = np.array([0, span - 1]) - (span // 2 if image.PixelRepresentation else 0)
    if "VOILUTSequence" in image:
        ends = np.array([0, 2 ** image.VOILUTSequence[0].LUTDescriptor[2] - 1])
    elif "ModalityLUTSequence" in image:
        ends = np.array([0, 2 ** image.ModalityLUTSequence[0].LUTDescriptor[2] - 1])
    elif "RescaleSlope" in image:
        ends = ends * float(image.RescaleSlope) + float(image.RescaleIntercept)
        # With a falling slope, pydicom lets its windows run from the higher end to the lower.
        ends = ends if "WindowCenter" in image else np.sort(ends)
    shares = (shown - ends[0]) / (ends[1] - ends[0])
    inverted = image.PhotometricInterpretation == "MONOCHROME1" or image.get("PresentationLUTShape") == "INVERSE"
    return 255 * (1 - shares if inverted else shares)


SCALES: dict[str, dict[str, Any]] = {
    "window": {"WindowCenter": 1800, "WindowWidth": 1500},
    "window-of-fractions": {"WindowCenter": 1800.25, "WindowWidth": 1500.5},
    "narrowest-window": {"WindowCenter": 1800, "WindowWidth": 1},
    "linear": {"WindowCenter": 1800, "WindowWidth": 1500, "VOILUTFunction": "LINEAR"},
    "linear-exact": {"WindowCenter": 1800, "WindowWidth": 1500, "VOILUTFunction": "LINEAR_EXACT"},
    "sigmoid": {"WindowCenter": 1800, "WindowWidth": 900, "VOILUTFunction": "SIGMOID"},
    "first-of-two-windows": {"WindowCenter": [1800, 300], "WindowWidth": [1500, 20]},
    "all-bits": {"WindowCenter": None, "WindowWidth": None},
    "rescaled": {"RescaleSlope": 0.5, "RescaleIntercept": -300, "WindowCenter": 700, "WindowWidth": 800},
    "rescaled-falling": {"RescaleSlope": -1, "RescaleIntercept": 4095, "WindowCenter": 1800, "WindowWidth": 900},
    "rescaled-all-bits": {"RescaleSlope": 2, "RescaleIntercept": -1000, "WindowCenter": None, "WindowWidth": None},
    "no-rescale": {"RescaleSlope": None, "RescaleIntercept": None, "RescaleType": None},
    "table": {"VOILUTSequence": [table_item(RISING, 1500, 10)]},
    "bent-table": {"VOILUTSequence": [table_item(BENT, 0, 10), table_item(RISING, 0, 10)]},
    "table-and-no-window": {
        "WindowCenter": None,
        "WindowWidth": None,
        "VOILUTSequence": [table_item(RISING, 1900, 10)],
    },
    "modality-table": {
        "RescaleSlope": None,
        "RescaleIntercept": None,
        "RescaleType": None,
        "ModalityLUTSequence": [table_item(64 * BENT, 1800, 16)],
        "WindowCenter": 32000,
        "WindowWidth": 40000,
    },
    "inverted": {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
    "inverted-by-photometric": {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": None},
    "inverted-table": {
        "PhotometricInterpretation": "MONOCHROME1",
        "PresentationLUTShape": None,
        "VOILUTSequence": [table_item(BENT, 1500, 10)],
    },
}


@pytest.mark.parametrize("elements", SCALES.values(), ids=SCALES.keys())
def test_grey_values_are_those_of_pydicom(
    elements: dict[str, Any], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    path = write(radiograph(**elements), tmp_path / "image")
    plane, _ = grey(path)
    expected = reference(path)
    error = float(np.abs(plane - expected).max())
    record_property("max_error", error)
    assert np.ptp(expected) > 20
    assert error < TOLERANCE


@pytest.mark.parametrize("elements", [{}, {"VOILUTSequence": [table_item(BENT, -150, 10)]}], ids=["window", "table"])
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian], ids=["implicit", "big-endian"])
def test_signed_values_in_every_encoding(elements: dict[str, Any], syntax: str, tmp_path: Path) -> None:
    values = stored().astype(np.int16) - 2048
    image = radiograph(values, **{"WindowCenter": 0, "WindowWidth": 3000, **elements})
    path = write(image, tmp_path / "explicit")
    plain, _ = grey(path)
    assert np.abs(plain - reference(path)).max() < TOLERANCE
    if syntax == ExplicitVRBigEndian:
        image.PixelData = values.astype(">i2").tobytes()
        for item in image.get("VOILUTSequence", []):
            item.LUTData = np.frombuffer(item.LUTData, "<u2").astype(">u2").tobytes()
    image.file_meta.TransferSyntaxUID = syntax
    other, _ = grey(write(image, tmp_path / "other"))
    assert np.array_equal(other, plain)


@pytest.mark.parametrize(
    "syntax", [RLELossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless], ids=["rle", "jpeg", "jpeg-ls", "j2k"]
)
def test_compressed_images_have_the_same_values(syntax: str, tmp_path: Path) -> None:
    plain, _ = grey(write(radiograph(), tmp_path / "plain"))
    packed, _ = grey(write(compress(radiograph(), syntax), tmp_path / "packed"))
    assert np.array_equal(plain, packed)


def test_a_byte_for_each_entry_of_a_table(tmp_path: Path) -> None:
    item = table_item(np.arange(0, 250, 2), 2000, 8)
    words, _ = grey(write(radiograph(VOILUTSequence=[item]), tmp_path / "words"))
    item.LUTData = np.arange(0, 250, 2).astype(np.uint8).tobytes() + b"\0"
    entries, _ = grey(write(radiograph(VOILUTSequence=[item]), tmp_path / "bytes"))
    assert np.array_equal(words, entries)
    assert np.ptp(words) > 200


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black(photometric: str, tmp_path: Path) -> None:
    values = stored()
    values[:5, :7] = 4000
    values[5:] = np.where(values[5:] == 4000, 3999, values[5:])
    elements = {"PhotometricInterpretation": photometric, "PresentationLUTShape": None}
    padded, remarks = grey(write(radiograph(values, PixelPaddingValue=4000, **elements), tmp_path / "padded"))
    plain, _ = grey(write(radiograph(values, **elements), tmp_path / "plain"))
    marked = values == 4000
    assert (padded[marked] == 0).all()
    assert np.array_equal(padded[~marked], plain[~marked])
    (remark,) = remarks
    assert f"{marked.sum()} of its pixels" in remark
    assert "(0028,0120) PixelPaddingValue; they were set to black" in remark


NO_WINDOW = {"WindowCenter": None, "WindowWidth": None}
REMARKS: dict[str, tuple[dict[str, Any], str]] = {
    "two-windows": ({"WindowCenter": [1800, 300], "WindowWidth": [1500, 20]}, "2 alternatives.*first window"),
    "table-and-window": (
        {"VOILUTSequence": [table_item(np.arange(4096) // 4, 0, 10)]},
        "1 tables and 1 windows.*first table",
    ),
    "no-window": ({"WindowCenter": None, "WindowWidth": None}, "no values of interest.*all from 0 to 4095"),
    "contradiction": ({"PresentationLUTShape": "INVERSE"}, "MONOCHROME2 but .* INVERSE, which contradict"),
    "other-contradiction": (
        {"PhotometricInterpretation": "MONOCHROME1"},
        "MONOCHROME1 but .* IDENTITY, which contradict",
    ),
    "lossy": ({"LossyImageCompression": "01"}, "compressed with loss"),
    "burned-in": ({"BurnedInAnnotation": "YES"}, r"\(0028,0301\) BurnedInAnnotation is YES"),
    "falling-table": (
        {**NO_WINDOW, "VOILUTSequence": [table_item(4095 - np.arange(4096), 0, 12)]},
        "entries .* fall, so",
    ),
    "waving-table": (
        {**NO_WINDOW, "VOILUTSequence": [table_item(np.abs(np.arange(4096) - 2048), 0, 12)]},
        "entries of .* rise and fall",
    ),
    "narrow": ({"WindowCenter": 1800, "WindowWidth": 20}, r"\d % of its pixels lie between black and white"),
    "beside": ({"WindowCenter": 100, "WindowWidth": 200}, r"\d % of its pixels lie between black and white"),
    "too-few-bits": (
        {"BitsStored": 9, "HighBit": 8, "WindowCenter": 256, "WindowWidth": 512},
        "more bits than .*BitsStored",
    ),
    "dark": ({"WindowCenter": 30000, "WindowWidth": 60000}, "its brightest pixel is 1"),
    "bright": ({"WindowCenter": -26000, "WindowWidth": 60000}, "its darkest pixel is 238"),
    "bright-for-its-window-is-dark": (
        {
            "PhotometricInterpretation": "MONOCHROME1",
            "PresentationLUTShape": None,
            "WindowCenter": 30000,
            "WindowWidth": 60000,
        },
        "its darkest pixel is 23",
    ),
    "pale": ({"WindowCenter": 2048, "WindowWidth": 60000}, "its grey values run from 119.* to 135.* only"),
    "shutter": ({"ShutterShape": "CIRCULAR"}, r"\(0018,1600\) ShutterShape is CIRCULAR"),
    "shutters": ({"ShutterShape": ["RECTANGULAR", "POLYGONAL"]}, r"ShutterShape is RECTANGULAR\\POLYGONAL"),
}


@pytest.mark.parametrize(("elements", "remark"), REMARKS.values(), ids=REMARKS.keys())
def test_what_is_uncertain_is_said(elements: dict[str, Any], remark: str, tmp_path: Path) -> None:
    _, warnings = grey(write(radiograph(**elements), tmp_path / "image"))
    (warning,) = warnings
    assert warning.startswith("image: ")
    assert re.search(remark, warning), warning


@pytest.mark.parametrize("declared", range(8, 17))
@pytest.mark.parametrize("used", [8, 10, 12, 15, 16])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_table_counts_for_the_bits_that_it_reaches(
    declared: int, used: int, photometric: str, tmp_path: Path
) -> None:
    entries = np.round((2**used - 1) * np.linspace(0, 1, 4096) ** 1.5).astype(np.uint16)
    elements = {"PhotometricInterpretation": photometric, "PresentationLUTShape": None}
    item = table_item(entries, 0, declared)
    image = radiograph(WindowCenter=None, WindowWidth=None, VOILUTSequence=[item], **elements)
    if used > declared:
        with refused(StudyError, "image", "(0028,3006) LUTData", f"{declared} bits"):
            grey(write(image, tmp_path / "image"))
        return
    plane, warnings = grey(write(image, tmp_path / "image"))
    expected = 255.0 * entries[stored()] / (2**used - 1)
    assert np.abs(plane - (255 - expected if photometric == "MONOCHROME1" else expected)).max() < TOLERANCE
    said = [] if used == declared else [(f"{declared} bits", f"{used} bits", f"{2**used - 1}")]
    assert len(warnings) == len(said)
    assert all("(0028,3002) LUTDescriptor" in text for text in warnings)
    found = [all(part in text for part in parts) for text, parts in zip(warnings, said, strict=True)]
    assert found == [True] * len(said)


def test_a_table_that_ends_between_two_numbers_of_bits_keeps_its_range(tmp_path: Path) -> None:
    """Of 12 bits and never quite white: what the table does, not what is missing from it, is shown."""
    entries = np.linspace(0, 3000, 4096).astype(np.uint16)
    elements = {"WindowCenter": None, "WindowWidth": None, "VOILUTSequence": [table_item(entries, 0, 12)]}
    plane, warnings = grey(write(radiograph(**elements), tmp_path / "image"))
    assert np.abs(plane - 255.0 * entries[stored()] / 4095).max() < TOLERANCE and warnings == ()


def test_so_does_a_modality_table_whose_end_is_white(tmp_path: Path) -> None:
    none = dict.fromkeys(("RescaleSlope", "RescaleIntercept", "RescaleType", "WindowCenter", "WindowWidth"))
    table = np.arange(4096).astype(np.uint16)
    image = radiograph(ModalityLUTSequence=[table_item(table, 0, 16)], **none)
    plane, (window, bits) = grey(write(image, tmp_path / "image"))
    assert np.abs(plane - 255.0 * stored() / 4095).max() < TOLERANCE
    assert "all from 0 to 4095" in window and "16 bits" in bits and "12 bits" in bits
    image.WindowCenter, image.WindowWidth = 2048, 4096
    assert grey(write(image, tmp_path / "window"))[1] == ()


def test_a_marker_is_no_use_of_the_range(tmp_path: Path) -> None:
    values = stored(100, 120)
    values[0, :11] = 65535
    _, (warning,) = grey(
        write(radiograph(values, BitsStored=16, HighBit=15, WindowCenter=32768, WindowWidth=65536), tmp_path / "marked")
    )
    assert "its brightest pixel is 15" in warning
    values[0, :13] = 65535
    image = radiograph(values, BitsStored=16, HighBit=15, WindowCenter=32768, WindowWidth=65536)
    assert grey(write(image, tmp_path / "more"))[1] == ()


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_no_use_of_the_range_either(photometric: str, tmp_path: Path) -> None:
    values = stored()
    values[:, :9] = 4000
    values[:, 9:] = np.minimum(values[:, 9:], 3999)
    beside = {"WindowCenter": -26000, "WindowWidth": 60000}
    if photometric == "MONOCHROME1":
        beside["WindowCenter"] = 30000
    elements = {"PhotometricInterpretation": photometric, "PresentationLUTShape": None, "PixelPaddingValue": 4000}
    _, warnings = grey(write(radiograph(values, **elements, **beside), tmp_path / "image"))
    assert any("its darkest pixel is 2" in warning for warning in warnings)
    beside = {"WindowCenter": -30000 if photometric == "MONOCHROME2" else 30000, "WindowWidth": 100}
    with refused(StudyError, "image", 255):
        grey(write(radiograph(values, **elements, **beside), tmp_path / "image"))


def test_nothing_is_said_of_a_usual_image(tmp_path: Path) -> None:
    assert grey(write(radiograph(), tmp_path / "image"))[1] == ()


def damaged_table(**changes: Any) -> list[Any]:
    item = table_item(RISING, 0, 10)
    for keyword, value in changes.items():
        setattr(item, keyword, value)
    return [item]


REFUSED: dict[str, tuple[dict[str, Any], tuple[Fact, ...]]] = {
    "fewer-widths": (
        {"WindowCenter": [1, 2], "WindowWidth": 5},
        ("(0028,1051) WindowWidth", 1, "(0028,1050) WindowCenter", 2),
    ),
    "no-width": ({"WindowWidth": 0}, ("(0028,1051) WindowWidth", 0, 1, "LINEAR")),
    "negative-width": ({"WindowWidth": -3, "VOILUTFunction": "SIGMOID"}, ("(0028,1051) WindowWidth", -3, 0, "SIGMOID")),
    "unknown-function": (
        {"VOILUTFunction": "CUBIC"},
        ("(0028,1056) VOILUTFunction", "LINEAR", "LINEAR_EXACT", "SIGMOID"),
    ),
    "unknown-shape": ({"PresentationLUTShape": "ROUND"}, ("(2050,0020) PresentationLUTShape", "IDENTITY", "INVERSE")),
    "slope-without-intercept": ({"RescaleIntercept": None}, ("(0028,1052) RescaleIntercept",)),
    "no-slope": ({"RescaleSlope": 0}, ("(0028,1053) RescaleSlope", 0)),
    "huge-slope": ({"RescaleSlope": 1e30}, ("(0028,1053) RescaleSlope", 1e30)),
    "slope-and-table": (
        {"ModalityLUTSequence": [table_item(RISING, 0, 10)]},
        ("(0028,3000) ModalityLUTSequence", "(0028,1053) RescaleSlope"),
    ),
    "short-table": (
        {"VOILUTSequence": damaged_table(LUTData=b"\0" * 20)},
        ("(0028,3006) LUTData", "10 entries", 200),
    ),
    "short-descriptor": (
        {"VOILUTSequence": damaged_table(LUTDescriptor=[200, 0])},
        ("(0028,3002) LUTDescriptor", 2, 3),
    ),
    "bits-of-table": (
        {"VOILUTSequence": damaged_table(LUTDescriptor=[200, 0, 20])},
        ("(0028,3002) LUTDescriptor", "20 bits", 8, 16),
    ),
    "beyond-bits-of-table": (
        {"VOILUTSequence": damaged_table(LUTDescriptor=[200, 0, 8])},
        ("(0028,3006) LUTData", "8 bits"),
    ),
    "wide-values": (
        {"BitsAllocated": 32, "BitsStored": 24, "HighBit": 23},
        ("(7FE0,0010) PixelData", "truncated", 3102, 6204),
    ),
    "palette": (
        {"PhotometricInterpretation": "PALETTE COLOR"},
        ("(0028,0004) PhotometricInterpretation", "MONOCHROME2"),
    ),
    "truncated": ({"Rows": 40}, ("(7FE0,0010) PixelData", "truncated", 3102, 3760)),
    "too-large": ({"Rows": 9000}, ("9000 x 47", 1, 8192)),
    "no-rows": ({"Rows": 0}, ("0 x 47", 1, 8192)),
}


@pytest.mark.parametrize(("elements", "facts"), REFUSED.values(), ids=REFUSED.keys())
def test_unclear_grey_scales_are_refused(elements: dict[str, Any], facts: tuple[Fact, ...], tmp_path: Path) -> None:
    with refused(StudyError, "image", *facts):
        grey(write(radiograph(**elements), tmp_path / "image"))


def test_an_image_of_one_value_is_refused(tmp_path: Path) -> None:
    image: FileDataset = radiograph(np.full((20, 30), 1000, np.uint16))
    with refused(StudyError, "image", "every pixel", 62.2711):
        grey(write(image, tmp_path / "image"))


def test_more_bits_than_a_scale_has_are_refused(tmp_path: Path) -> None:
    values = stored().astype(np.uint32)
    fits = radiograph(values, BitsAllocated=32, BitsStored=12, HighBit=11)
    assert np.array_equal(grey(write(fits, tmp_path / "fits"))[0], grey(write(radiograph(), tmp_path / "usual"))[0])
    with pytest.raises(StudyError, match="BitsStored"):
        grey(write(radiograph(values, BitsAllocated=32, BitsStored=17, HighBit=16), tmp_path / "wide"))


def test_bits_that_are_not_of_the_value_do_not_count(tmp_path: Path) -> None:
    plain = grey(write(radiograph(), tmp_path / "plain"))[0]
    overlaid = radiograph(stored() | np.uint16(0xA000))
    assert np.array_equal(grey(write(overlaid, tmp_path / "overlaid"))[0], plain)


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME1", None, True),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", True),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME2", None, False),
    ],
)
def test_which_end_is_bright(photometric: str, shape: str | None, inverted: bool, tmp_path: Path) -> None:
    plain = grey(write(radiograph(), tmp_path / "plain"))[0]
    elements = {"PhotometricInterpretation": photometric, "PresentationLUTShape": shape}
    found = grey(write(radiograph(**elements), tmp_path / "image"))[0]
    assert np.allclose(found, 255 - plain if inverted else plain, atol=TOLERANCE)


@pytest.mark.parametrize(
    "elements", [{"WindowCenter": None}, {"WindowWidth": None}], ids=["width-alone", "centre-alone"]
)
def test_half_a_window_is_refused(elements: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="WindowWidth"):
        grey(write(radiograph(**elements), tmp_path / "image"))


@pytest.mark.parametrize(
    ("function", "centre", "width", "shares"),
    [
        ("LINEAR", 2, 1, (0, 0, 1, 1)),
        ("LINEAR", 1.5, 1, (0, 0, 1, 1)),
        ("LINEAR", 2.5, 1, (0, 0, 0, 1)),
        ("LINEAR", 2, 4, (0, 1 / 3, 2 / 3, 1)),
        ("LINEAR_EXACT", 2, 4, (0, 0.25, 0.5, 0.75)),
    ],
)
def test_windows_by_the_formulas_of_the_standard(
    function: Function, centre: float, width: float, shares: tuple[float, ...]
) -> None:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3, of 0, 1, 2 and 3."""
    assert Window(centre, width, function).shares(np.arange(4.0)) == pytest.approx(shares)


def test_an_s_shaped_window_has_no_ends() -> None:
    values = np.array([-1e9, 0.0, 2.0, 4.0, 1e9])
    expected = [0, 1 / (1 + np.exp(2)), 0.5, 1 / (1 + np.exp(-2)), 1]
    assert Window(2, 4, "SIGMOID").shares(values) == pytest.approx(expected)


def test_a_table_is_looked_up_from_its_first_entry_to_its_last() -> None:
    table = Table(-2, np.array([5.0, 7.0, 10.0]), 10.0)
    assert table(np.array([-9.0, -2, -1, 0, 1, 9])).tolist() == [5, 5, 7, 10, 10, 10]
    assert OfInterest(table).shares(np.array([-2.0, 0])).tolist() == [0.5, 1]


def test_every_step_from_stored_to_grey() -> None:
    stored_values = np.array([[3, 1], [2, 5]], np.int16)
    plain = GreyScale(Rescale(2, -1), Range(1, 9), inverted=False)
    assert plain(stored_values).tolist() == [[127.5, 0], [63.75, 255]]
    inverted = GreyScale(Rescale(2, -1), Range(1, 9), inverted=True)
    assert inverted(stored_values).tolist() == [[127.5, 255], [191.25, 0]]
    assert plain(np.array([[-30000, 30000]], np.int16)).tolist() == [[0, 255]]


def test_a_table_of_as_many_entries_as_there_are(tmp_path: Path) -> None:
    """Their number, 65536, is written as 0 (PS3.3 C.11.1.1.1)."""
    item = table_item(np.arange(65536, dtype=np.uint16)[::-1], 0, 16)
    assert item.LUTDescriptor[0] in (0, 65536)
    item.LUTDescriptor = [0, 0, 16]
    plane = grey(write(radiograph(VOILUTSequence=[item], WindowCenter=None, WindowWidth=None), tmp_path / "image"))[0]
    assert np.allclose(plane, 255 * (65535 - stored().astype(np.float64)) / 65535, atol=TOLERANCE)
