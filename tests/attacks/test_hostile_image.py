"""Pictures and radiographs made to harm: each threat once, read in a process with little memory and time."""

import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from bounded import BoundedReader
from dicom_factory import PHI, write
from mmcaf_engine.errors import MmcafError
from mmcaf_engine.image import open_image
from mmcaf_engine.manifest import ImageSpec
from tiny_image import radiograph, stored
from tiny_pictures import SIGNATURE, chunk, exif, png, with_exif

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:pydicom"),
    pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are kept on Linux only"),
]

GREY = stored(24, 33, 8).astype(np.uint8)
JPEG = bytes(imagecodecs.jpeg8_encode(GREY, level=90))
SPEC = ImageSpec(view="any", size=(8, 8), channels=1, mean=(0.0,), std=(1.0,))


@pytest.fixture(scope="module")
def reader() -> Iterator[BoundedReader]:
    with BoundedReader(image=True) as process:
        yield process


def header(width: int, height: int, bits: int = 8, colour: int = 0, interlace: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">2I5B", width, height, bits, colour, 0, 0, interlace))


def picture(*chunks: bytes) -> bytes:
    return b"".join([SIGNATURE, *chunks, chunk(b"IEND", b"")])


def deflated(size: int) -> bytes:
    return chunk(b"IDAT", zlib.compress(bytes(size), 9))


def resized(jpeg: bytes, rows: int, columns: int, marker: bytes = b"\xff\xc0") -> bytes:
    """A JPEG whose frame header announces another size."""
    at = jpeg.index(marker)
    return jpeg[: at + 5] + struct.pack(">2H", rows, columns) + jpeg[at + 9 :]


def progressive_scans(count: int) -> bytes:
    cv2 = pytest.importorskip("cv2", reason="it encodes progressively")
    data = cv2.imencode(".jpg", np.zeros((64, 64), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    scan = data[data.rindex(b"\xff\xda") : -2]
    return bytes(resized(data[:-2], 4000, 4000, b"\xff\xc2") + count * scan + b"\xff\xd9")


THREATS: dict[str, Callable[[], bytes]] = {
    "huge-png": lambda: picture(header(2**31 - 1, 2**31 - 1), deflated(1000)),
    "wide-png": lambda: picture(header(65535, 8), deflated(65536 * 8)),
    "png-bomb": lambda: picture(header(8192, 4096, 16, 6), deflated(60_000_000)),
    "png-of-few-bytes": lambda: picture(header(8192, 4096, 16, 6), deflated(10)),
    "interlaced-png-bomb": lambda: picture(header(8192, 4096, 16, 6, 1), deflated(10)),
    "more-pixels-than-announced": lambda: picture(header(8, 8), deflated(50_000_000)),
    "many-chunks": lambda: picture(header(33, 24), *[chunk(b"tEXt", b"")] * 200_000, deflated(34 * 24)),
    "chunk-longer-than-the-file": lambda: SIGNATURE + header(33, 24) + struct.pack(">I", 2**31 - 1) + b"IDAT",
    "negative-chunk": lambda: SIGNATURE + header(33, 24) + b"\xff\xff\xff\xff" + b"IDAT" + bytes(40),
    "palette-beyond-its-entries": lambda: picture(
        header(33, 24, 8, 3), chunk(b"PLTE", b"\1\2\3"), chunk(b"IDAT", zlib.compress(b"\xc8" * 34 * 24))
    ),
    "no-palette": lambda: picture(header(33, 24, 8, 3), deflated(34 * 24)),
    "huge-jpeg": lambda: resized(JPEG, 65500, 65500),
    "jpeg-bomb": lambda: resized(JPEG, 8192, 4096),
    "jpeg-of-many-scans": lambda: progressive_scans(500),
    "jpeg-of-endless-fill": lambda: JPEG[:2] + b"\xff" * 1_000_000 + JPEG[2:-2],
    "segment-longer-than-the-file": lambda: JPEG[:2] + b"\xff\xe1\xff\xff" + JPEG[2:],
    "exif-that-points-outside": lambda: JPEG[:2] + b"\xff\xe1\0\x10Exif\0\0II*\0\xff\xff\xff\xff" + JPEG[2:],
    "exif-of-many-entries": lambda: with_exif(JPEG, 6).replace(exif(6)[8:10], b"\xff\xff"),
    "script-in-a-picture": lambda: SIGNATURE + b"<script>alert(1)</script>",
}
"""What must be refused, and cost little."""


@pytest.mark.parametrize("make", THREATS.values(), ids=THREATS.keys())
def test_a_hostile_picture_is_refused(make: Callable[[], bytes], reader: BoundedReader, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(make())
    answer = reader.read(path)
    assert answer.get("error") == "StudyError", answer


def test_the_limits_let_a_sound_picture_pass(reader: BoundedReader, tmp_path: Path) -> None:
    for name, data in {"a": png(GREY), "b": JPEG}.items():
        (tmp_path / name).write_bytes(data)
        assert reader.read(tmp_path / name) == {"shape": [24, 33]}
    assert reader.read(write(radiograph(), tmp_path / "c")) == {"shape": [33, 47]}


def test_a_large_radiograph_fits_into_memory(reader: BoundedReader, tmp_path: Path) -> None:
    large = np.kron(stored(64, 64), np.ones((64, 64), np.uint16))
    path = write(radiograph(large), tmp_path / "image")
    assert reader.read(path, megabytes=600) == {"shape": [4096, 4096]}


@pytest.mark.parametrize(
    "elements",
    [
        {"Rows": 65535, "Columns": 65535},
        {"Rows": 8192, "Columns": 4096},
        {"NumberOfFrames": 2**31 - 1},
        {"NumberOfFrames": -(2**31)},
    ],
    ids=["beyond-the-limits", "within-the-limits", "frames", "negative-frames"],
)
def test_a_small_file_of_a_huge_radiograph(elements: dict[str, int], reader: BoundedReader, tmp_path: Path) -> None:
    assert reader.read(write(radiograph(**elements), tmp_path / "image")).get("error") == "StudyError"


def test_a_zip_of_a_picture_bomb(reader: BoundedReader, tmp_path: Path) -> None:
    path = tmp_path / "study.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image.png", SIGNATURE + bytes(300_000_000))
    assert reader.read(path).get("error") == "StudyError"


def test_a_dicom_file_may_begin_like_a_picture(tmp_path: Path) -> None:
    path = write(radiograph(), tmp_path / "image.png")
    path.write_bytes(png(GREY)[:128] + path.read_bytes()[128:])
    with open_image(path, SPEC) as opened:
        plane, facts = opened.read()
    assert (facts.modality, plane.shape) == ("DX", (33, 47))


def damaged(data: bytes, seed: int) -> bytes:
    draw = np.random.default_rng(seed)
    spoilt = bytearray(data)
    for _ in range(int(draw.integers(1, 6))):
        at, kind = int(draw.integers(len(spoilt))), draw.integers(4)
        if kind == 0:
            spoilt[at] ^= 1 << int(draw.integers(8))
        elif kind == 1:
            del spoilt[at : at + int(draw.integers(1, 40))]
        elif kind == 2:
            spoilt[at:at] = bytes(draw.integers(0, 256, int(draw.integers(1, 20)), dtype=np.uint8))
        else:
            spoilt[at : at + 4] = b"\xff\xff\xff\xff"
    return bytes(spoilt)


SOUND: dict[str, Callable[[Path], bytes]] = {
    "png": lambda folder: png(
        GREY, chunk(b"eXIf", exif(6)), chunk(b"tEXt", b"Patient\0" + PHI["PatientName"].encode())
    ),
    "jpeg": lambda folder: with_exif(JPEG, 3),
    "dicom": lambda folder: write(radiograph(), folder / "sound").read_bytes(),
}


@pytest.mark.parametrize("make", SOUND.values(), ids=SOUND.keys())
def test_damage_is_read_or_refused_and_never_names_the_patient(make: Callable[[Path], bytes], tmp_path: Path) -> None:
    """Whatever the damage: an image with finite grey values, or an error of ours."""
    data, outcomes = make(tmp_path), {"read": 0, "refused": 0}
    path = tmp_path / "image"
    for seed in range(300):
        path.write_bytes(damaged(data, seed))
        try:
            with open_image(path, SPEC) as opened:
                plane, facts = opened.read()
            assert np.isfinite(plane).all() and plane.min() >= 0 and plane.max() <= 255
            told = " ".join(facts.warnings)
            outcomes["read"] += 1
        except MmcafError as failure:
            told = str(failure)
            outcomes["refused"] += 1
        assert not [value for value in PHI.values() if value in told], told
    assert outcomes["refused"] > 50
