"""PNG and JPEG files: grey values against OpenCV, and what is refused."""

import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray

from mmcaf_engine.errors import StudyError
from mmcaf_engine.image import open_image, picture
from mmcaf_engine.image.exif import orientation, upright
from mmcaf_engine.manifest import ImageSpec
from refusals import Fact, refused
from tiny_image import stored
from tiny_pictures import SIGNATURE, chunk, exif, png, with_exif

SPEC = ImageSpec(size=(8, 8), channels=1, mean=(0.0,), std=(1.0,), view="any")

EIGHT = stored(20, 31, 8).astype(np.uint8)
SIXTEEN = stored(20, 31, 16)
THREE = np.repeat(EIGHT[..., np.newaxis], 3, axis=2)


def opaque(pixels: NDArray[Any]) -> NDArray[Any]:
    planes = pixels if pixels.ndim == 3 else pixels[..., np.newaxis]
    return np.concatenate([planes, np.full_like(planes[..., :1], np.iinfo(pixels.dtype).max)], axis=2)


def grey(path: Path, data: bytes) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    path.write_bytes(data)
    with open_image(path, SPEC) as opened:
        plane, facts = opened.read()
    assert plane.dtype == np.float32
    assert facts.modality == ("JPEG" if data[:1] == b"\xff" else "PNG")
    assert (facts.uids, facts.spacing_mm, facts.slices) == ({}, (0.0, 0.0, 0.0), 1)
    assert (facts.patient.patient_id, facts.patient.sex) == (None, None)
    return plane, facts.warnings


PALETTE = chunk(b"PLTE", b"".join(bytes([value] * 3) for value in range(256)))

ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row of each pass, and the steps between them (ISO/IEC 15948 8.2)."""


def of_data(pixels: NDArray[Any], data: bytes, *extra: bytes, **header: int) -> bytes:
    """A PNG of other packed pixels than its own."""
    plain = png(pixels, *extra, header=header)
    begin = plain.index(b"IDAT") - 4
    return plain[:begin] + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def interlaced(pixels: NDArray[np.uint8]) -> bytes:
    passes = [pixels[top::down, left::across] for left, top, across, down in ADAM7]
    return of_data(
        pixels, zlib.compress(b"".join(b"\0" + row.tobytes() for one in passes if one.size for row in one)), interlace=1
    )


ROWS = b"".join(b"\0" + row.tobytes() for row in EIGHT)
PNGS: dict[str, tuple[bytes, NDArray[np.float64]]] = {
    "8-bits": (png(EIGHT), EIGHT / 1.0),
    "16-bits": (png(SIXTEEN), SIXTEEN / 257.0),
    "three-equal-channels": (png(THREE), EIGHT / 1.0),
    "opaque": (png(opaque(EIGHT)), EIGHT / 1.0),
    "opaque-colour-of-16-bits": (png(opaque(np.repeat(SIXTEEN[..., np.newaxis], 3, axis=2))), SIXTEEN / 257.0),
    "palette": (png(EIGHT, PALETTE, header={"colour": 3}), EIGHT / 1.0),
    "short-palette": (png(EIGHT % 200, chunk(b"PLTE", PALETTE[8:608]), header={"colour": 3}), EIGHT % 200 / 1.0),
    "interlaced": (interlaced(EIGHT), EIGHT / 1.0),
    "interlaced-and-narrow": (interlaced(EIGHT[:, :3]), EIGHT[:, :3] / 1.0),
    "with-text-and-gamma": (
        png(EIGHT, chunk(b"tEXt", b"Comment\0DOE^JANE"), chunk(b"gAMA", struct.pack(">I", 45455))),
        EIGHT / 1.0,
    ),
    "by-another-encoder": (imagecodecs.png_encode(EIGHT), EIGHT / 1.0),
}


@pytest.mark.parametrize(("data", "expected"), PNGS.values(), ids=PNGS.keys())
def test_png(data: bytes, expected: NDArray[np.float64], tmp_path: Path) -> None:
    plane, warnings = grey(tmp_path / "image.png", data)
    assert np.abs(plane - expected).max() < 1e-4
    assert warnings == ()


def jpeg(pixels: NDArray[np.uint8], **options: Any) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(pixels, level=90, **options))


JPEGS = {
    "grey": jpeg(EIGHT),
    "three-equal-channels": jpeg(THREE),
    "subsampled": jpeg(THREE, subsampling="420"),
    "with-a-trailer": jpeg(EIGHT) + b"camera notes",
}


@pytest.mark.parametrize("data", JPEGS.values(), ids=JPEGS.keys())
def test_jpeg_is_as_opencv_reads_it(data: bytes, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="the reference is OpenCV")
    plane, warnings = grey(tmp_path / "image.jpg", data)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    expected = expected if expected.ndim == 2 else expected[..., 0]
    assert np.abs(plane - expected).max() <= 1  # two inverse cosine transforms
    assert np.abs(plane - EIGHT).mean() < 8
    assert warnings == ()


def test_progressive_jpeg(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="it encodes progressively")
    data = cv2.imencode(".jpg", EIGHT, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert b"\xff\xc2" in data
    plane, _ = grey(tmp_path / "image.jpg", data)
    assert np.abs(plane - EIGHT).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_exif_orientation_is_applied_and_said(kind: str, orientation: int, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="the reference is OpenCV")
    plain = jpeg(EIGHT)
    turned = with_exif(plain, orientation, "<" if orientation % 2 else ">")
    expected = cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_GRAYSCALE)
    upright = cv2.imdecode(np.frombuffer(plain, np.uint8), cv2.IMREAD_GRAYSCALE)
    data = turned if kind == "jpg" else png(upright, chunk(b"eXIf", exif(orientation)))
    plane, warnings = grey(tmp_path / f"image.{kind}", data)
    assert plane.shape == expected.shape
    assert np.abs(plane - expected).max() <= 1
    said = [f"image.{kind}: its EXIF orientation is {orientation}; it was "]
    assert [text[: len(said[0])] for text in warnings] == (said if orientation > 1 else [])


def test_a_picture_of_unknown_view_is_read_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(png(EIGHT))
    with open_image(tmp_path / "image.png", SPEC.model_copy(update={"view": "frontal"})) as opened:
        _, facts = opened.read()
    (warning,) = facts.warnings
    assert warning == "image.png: its view is not known, since a PNG file does not say; it was taken to be frontal."


def test_twelve_bits_in_sixteen_are_remarked_on(tmp_path: Path) -> None:
    _, (warning,) = grey(tmp_path / "image.png", png(stored(20, 31, 12)))
    assert "its brightest pixel is 15" in warning
    assert "fewer bits than the file says" in warning


COLOURED = THREE.copy()
COLOURED[3, 4, 2] ^= 1
CLEAR = opaque(EIGHT)
CLEAR[0, 0, 1] = 254
SHORT = png(EIGHT)
BEFORE_IEND = SHORT[:-12]

REFUSED: dict[str, tuple[bytes, tuple[Fact, ...]]] = {
    "colour": (png(COLOURED), ("colour", "PNG", 1, "620 pixels")),
    "transparent": (png(CLEAR), ("PNG", "transparent")),
    "4-bits": (png(EIGHT, header={"bits": 4}), ("PNG", "4 bits", 8, 16)),
    "unknown-colour-type": (png(EIGHT, header={"colour": 1}), ("PNG", "8 bits", "colour type 1")),
    "cut-in-the-pixels": (SHORT[:100], ("PNG", "truncated", "100 bytes", "IEND")),
    "cut-before-the-end": (BEFORE_IEND, ("PNG", "truncated", f"{len(BEFORE_IEND)} bytes", "IEND")),
    "only-a-signature": (SIGNATURE, ("PNG", "truncated", "8 bytes", "IEND")),
    "wrong-checksum": (SHORT[:60] + bytes([SHORT[60] ^ 1]) + SHORT[61:], ("PNG", "chunk", "33 bytes", "checksum")),
    "too-few-rows": (png(EIGHT, header={"height": 21}), ("pixels", "PNG", "640 bytes", 672)),
    "too-many-rows": (png(EIGHT, header={"height": 19}), ("pixels", "PNG", "more than", 608)),
    "more-rows-of-colour": (png(THREE, header={"height": 1}), ("pixels", "PNG", 94)),
    "not-interlaced": (png(EIGHT, header={"interlace": 1}), ("pixels", "PNG", 640)),
    "packed-and-more": (of_data(EIGHT, zlib.compress(ROWS) + b"x"), ("pixels", "PNG")),
    "packed-twice": (of_data(EIGHT, 2 * zlib.compress(ROWS)), ("pixels", "PNG")),
    "without-its-own-checksum": (of_data(EIGHT, zlib.compress(ROWS)[:-1]), ("pixels", "PNG", 640)),
    "another-checksum": (of_data(EIGHT, zlib.compress(ROWS)[:-1] + b"x"), ("pixels", "PNG")),
    "beyond-its-palette": (png(EIGHT, chunk(b"PLTE", PALETTE[8:608]), header={"colour": 3}), ("colour", "PNG")),
    "no-marker-before-its-scan": (jpeg(EIGHT).replace(b"\xff\xda", b"1\xda"), ("JPEG", "no JPEG marker")),
    "no-scan": (jpeg(EIGHT)[: jpeg(EIGHT).index(b"\xff\xda")] + b"\xff\xd9", ("JPEG", "short", "scan")),
    "half-a-jpeg": (jpeg(EIGHT)[:-60] + b"\xff\xd9", ("JPEG", "last pixel")),
    "no-pixels": (SIGNATURE + SHORT[8:33] + chunk(b"IEND", b""), ("pixels", "PNG")),
    "no-header": (SIGNATURE + chunk(b"IEND", b""), ("PNG", "IHDR", "13 bytes")),
    "two-headers": (SHORT[:33] + SHORT[8:], ("PNG", "IHDR", "13 bytes")),
    "unknown-critical-chunk": (png(EIGHT, chunk(b"ABCD", b"")), ("PNG", "critical chunk")),
    "too-wide": (png(EIGHT, header={"width": 9000}), ("20 x 9000", 1, 8192)),
    "no-width": (png(EIGHT, header={"width": 0}), ("20 x 0", 1, 8192)),
    "orientation-9": (png(EIGHT, chunk(b"eXIf", exif(9))), ("PNG", "EXIF", "orientation 9", 8)),
    "damaged-exif": (png(EIGHT, chunk(b"eXIf", exif(6)[:12])), ("PNG", "EXIF", "short")),
    "no-exif": (png(EIGHT, chunk(b"eXIf", b"nonsense")), ("PNG", "EXIF", "TIFF")),
    "one-value": (png(np.full((9, 9), 7, np.uint8)), ("every pixel", 7)),
    "colour-jpeg": (jpeg(np.stack([EIGHT, EIGHT // 2, 255 - EIGHT], axis=2)), ("colour", "JPEG", "620 pixels")),
    "cut-jpeg": (jpeg(EIGHT)[:-40], ("JPEG", "short", "FFD9")),
    "jpeg-without-end": (jpeg(EIGHT)[:-2], ("JPEG", "short", "FFD9")),
    "cut-after-a-thumbnail": (
        with_exif(jpeg(EIGHT), 1)[:90].replace(b"\xff\xdb", b"\xff\xd9"),
        ("JPEG", "short"),
    ),
    "lossless-jpeg": (bytes(imagecodecs.ljpeg_encode(EIGHT)), ("JPEG", "0xFFC3", "0xFFC0", "0xFFC1", "0xFFC2")),
    "cmyk-jpeg": (jpeg(opaque(THREE), colorspace="CMYK", outcolorspace="CMYK"), ("JPEG", "4 components", "8 bits", 1)),
    "many-scans": (jpeg(EIGHT)[:-2] + 65 * b"\xff\xda\0\2" + b"\xff\xd9", ("JPEG", "66 scans", 64)),
}


@pytest.mark.parametrize(("data", "facts"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(data: bytes, facts: tuple[Fact, ...], tmp_path: Path) -> None:
    with refused(StudyError, "image", *facts):
        grey(tmp_path / "image", data)


def test_what_is_not_of_the_pixels_never_reaches_the_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    decode = imagecodecs.png_decode

    def watched(data: bytes) -> Any:
        seen.append(bytes(data))
        return decode(data)

    monkeypatch.setattr(imagecodecs, "png_decode", watched)
    bomb = chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(10**7)))
    grey(tmp_path / "image", png(EIGHT, chunk(b"tEXt", b"Patient\0DOE^JANE"), bomb) + b"more")
    assert seen == [png(EIGHT)]


def test_the_largest_file_that_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = png(EIGHT)
    monkeypatch.setattr(picture, "MAX_FILE_BYTES", len(data))
    grey(tmp_path / "image", data)
    monkeypatch.setattr(picture, "MAX_FILE_BYTES", len(data) - 1)
    with pytest.raises(StudyError):
        grey(tmp_path / "image", data)


def test_a_file_is_not_unpacked_to_many_times_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = np.zeros((200, 300), np.uint8)
    plain[0, 0] = 200
    data = png(plain)
    ratio = plain.size // len(data)
    monkeypatch.setattr(picture, "RATIO_FROM_BYTES", plain.size - 1)
    monkeypatch.setattr(picture, "MAX_RATIO", ratio)
    with pytest.raises(StudyError):
        grey(tmp_path / "image", data)
    monkeypatch.setattr(picture, "MAX_RATIO", ratio + 1)
    grey(tmp_path / "image", data)
    monkeypatch.setattr(picture, "MAX_RATIO", 1)
    monkeypatch.setattr(picture, "RATIO_FROM_BYTES", plain.size)
    grey(tmp_path / "image", data)


def test_a_jpeg_of_too_few_bytes_for_its_size(tmp_path: Path) -> None:
    """A decoder makes up grey for blocks that are not there."""
    data = jpeg(EIGHT)
    at = data.index(b"\xff\xc0") + 5
    tall = data[:at] + struct.pack(">HH", 8000, 4000) + data[at + 4 :]
    with pytest.raises(StudyError):
        grey(tmp_path / "image", tall)


def test_as_many_scans_as_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = jpeg(EIGHT)
    monkeypatch.setattr(picture, "MAX_SCANS", data.count(b"\xff\xda"))
    grey(tmp_path / "image", data)
    monkeypatch.setattr(picture, "MAX_SCANS", data.count(b"\xff\xda") - 1)
    with pytest.raises(StudyError):
        grey(tmp_path / "image", data)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("lies", range(1, 9))
def test_an_orientation_in_either_byte_order(lies: int, order: str) -> None:
    assert orientation(exif(lies, order)) == lies


def test_orientations_are_those_of_the_standard() -> None:
    """JEITA CP-3451: what the first row and the first column of the stored picture are, looked at."""
    shown = np.arange(6, dtype=np.float32).reshape(2, 3)
    stored_as = {
        1: shown,
        2: shown[:, ::-1],
        3: shown[::-1, ::-1],
        4: shown[::-1],
        5: shown.T,
        6: shown.T[::-1],
        7: shown.T[::-1, ::-1],
        8: shown.T[:, ::-1],
    }
    for lies, picture_as_stored in stored_as.items():
        assert np.array_equal(upright(picture_as_stored, lies), shown), lies
