"""Studies made to harm: each threat once, read in a process with little memory and time."""

import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from bounded import BoundedReader
from dicom_factory import ct_series, ct_slice, enhanced_ct, hounsfield, save, save_dicomdir, write
from refusals import check_facts

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:pydicom"),
    pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are kept on Linux only"),
]

VALUES = hounsfield(3, 33, 35)
HUGE = 4096


@pytest.fixture(scope="module")
def reader() -> Iterator[BoundedReader]:
    with BoundedReader() as process:
        yield process


def refused(reader: BoundedReader, path: Path) -> str:
    answer = reader.read(path)
    assert answer.get("error") == "StudyError", answer
    return str(answer["message"])


def compressed(frame: bytes, syntax: str, path: Path, rows: int = HUGE, columns: int = HUGE) -> Path:
    image = ct_slice(VALUES[0], Rows=rows, Columns=columns)
    image.file_meta.TransferSyntaxUID = syntax
    image.PixelData = encapsulate([frame], has_bot=False)
    return write(image, path)


def spliced(path: Path, piece: bytes) -> Path:
    """A slice with raw bytes in front of its pixel element."""
    data = write(ct_slice(VALUES[0]), path).read_bytes()
    at = data.index(b"\xe0\x7f\x10\x00OW")
    path.write_bytes(data[:at] + piece + data[at:])
    return path


def test_the_limits_let_a_sound_study_pass(reader: BoundedReader, tmp_path: Path) -> None:
    assert reader.read(save(ct_series(VALUES), tmp_path / "study")) == {"shape": [3, 33, 35]}


# Sizes that are announced and not there


@pytest.mark.parametrize(
    "elements",
    [
        {"Rows": 65535, "Columns": 65535},
        {"Rows": HUGE, "Columns": HUGE},
        {"NumberOfFrames": 2**31 - 1},
        {"NumberOfFrames": -(2**31)},
    ],
    ids=["beyond-the-limits", "within-the-limits", "frames", "negative-frames"],
)
def test_a_small_file_of_a_huge_image(elements: dict[str, int], reader: BoundedReader, tmp_path: Path) -> None:
    refused(reader, write(ct_slice(VALUES[0], **elements), tmp_path / "slice"))


def test_huge_frames_that_are_compressed_to_nothing(reader: BoundedReader, tmp_path: Path) -> None:
    image = enhanced_ct(np.zeros((64, 1, 1), np.int16), Rows=HUGE, Columns=HUGE)
    image.file_meta.TransferSyntaxUID = RLELossless
    image.PixelData = encapsulate([b"\0" * 64] * 64)
    refused(reader, write(image, tmp_path / "enhanced"))


@pytest.mark.parametrize("length", [0xFFFFFFFE, 0x7FFFFFFE], ids=hex)
@pytest.mark.parametrize("vr", [b"OW", b"UN", b"SQ", b"UT"], ids=lambda vr: vr.decode())
def test_gigabytes_announced_in_a_kilobyte(vr: bytes, length: int, reader: BoundedReader, tmp_path: Path) -> None:
    """In an element that is read, and in a private one that is not."""
    for tag in (b"\x28\x00\x00\x30", b"\x29\x00\x10\x10"):
        path = spliced(tmp_path / "slice", tag + vr + b"\0\0" + struct.pack("<I", length))
        assert path.stat().st_size < 5000
        refused(reader, path)


def test_pixels_of_four_gigabytes_in_a_kilobyte(reader: BoundedReader, tmp_path: Path) -> None:
    path = write(ct_slice(VALUES[0]), tmp_path / "slice")
    data = path.read_bytes()
    at = data.index(b"\xe0\x7f\x10\x00OW") + 8
    path.write_bytes(data[:at] + b"\xfe\xff\xff\xff" + data[at + 4 :])
    answer = reader.read(path)
    assert answer == {"shape": [1, 33, 35]} or answer["error"] == "StudyError"


@pytest.mark.parametrize("tag", [b"\x28\x00\x00\x30", b"\x00\x52\x30\x92", b"\x40\x00\x75\x02"], ids=bytes.hex)
def test_sequences_nested_without_end(tag: bytes, reader: BoundedReader, tmp_path: Path) -> None:
    level = tag + b"SQ\0\0" + b"\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0" + b"\xff\xff\xff\xff"
    for depth in (500, 100_000):
        answer = reader.read(spliced(tmp_path / "slice", level * depth))
        assert answer.get("error") == "StudyError", depth


# Compression


def test_a_deflated_bomb(reader: BoundedReader, tmp_path: Path) -> None:
    image = ct_slice(VALUES[0])
    image.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = write(image, tmp_path / "slice")
    data = path.read_bytes()
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    at = data.index(DeflatedExplicitVRLittleEndian.encode()) + len(DeflatedExplicitVRLittleEndian)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(512)) + packer.flush()
    path.write_bytes(data[: at + at % 2] + bomb)
    assert path.stat().st_size < 1_000_000
    refused(reader, path)


def test_a_zip_whose_members_overlap(reader: BoundedReader, tmp_path: Path) -> None:
    """Every entry of the directory points to the same packed bytes."""
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0", bytes(10 << 20))
        entry = archive.infolist()[0]
        for number in range(1, 2000):
            copied = zipfile.ZipInfo(str(number))
            for key in ("compress_type", "CRC", "compress_size", "file_size", "header_offset", "flag_bits"):
                setattr(copied, key, getattr(entry, key))
            archive.filelist.append(copied)
    assert path.stat().st_size < 300_000
    refused(reader, path)


def test_a_zip_member_that_hides_its_size(reader: BoundedReader, tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("slice.dcm", bytes(128) + b"DICM" + bytes(1 << 28))
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 24 : at + 28] = (2000).to_bytes(4, "little")
    path.write_bytes(data)
    refused(reader, path)


def test_a_zip_within_a_zip_stays_closed(reader: BoundedReader, tmp_path: Path) -> None:
    inner = tmp_path / "inner.zip"
    with zipfile.ZipFile(inner, "w") as archive:
        archive.write(write(ct_slice(VALUES[0]), tmp_path / "slice"), "slice.dcm")
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.write(inner, "inner.zip")
    check_facts(refused(reader, tmp_path / "outer.zip"), "DICOM", "1 files", "zip")


def jpeg2000(style: bytes, tile: int = HUGE) -> bytes:
    """A codestream of a few hundred bytes that declares 4096 x 4096 samples in parts as given."""
    size = struct.pack(">HHIIIIIIIIHBBB", 41, 0, HUGE, HUGE, 0, 0, tile, tile, 0, 0, 1, 15, 1, 1)
    coding = struct.pack(">H", 2 + len(style)) + style
    steps = struct.pack(">HB", 19, 0x40) + bytes([16 << 3] * 16)
    head = b"\xff\x4f\xff\x51" + size + b"\xff\x52" + coding + b"\xff\x5c" + steps
    part = b"\xff\x90" + struct.pack(">HHIBB", 10, 0, 14 + 200, 0, 1) + b"\xff\x93" + bytes(200)
    return head + part + b"\xff\xd9"


@pytest.mark.parametrize(
    ("style", "tile"),
    [
        (bytes([1, 0, 0, 1, 0, 5, 4, 4, 0, 1, *[0x11] * 6]), HUGE),
        (bytes([0, 0, 0, 1, 0, 5, 0, 0, 0, 1]), HUGE),
        (bytes([0, 0, 0, 1, 0, 5, 4, 4, 0, 1]), 17),
    ],
    ids=["precincts-of-2x2", "blocks-of-4x4", "tiles-of-17x17"],
)
def test_jpeg_2000_in_a_million_parts(style: bytes, tile: int, reader: BoundedReader, tmp_path: Path) -> None:
    """The decoder would spend gigabytes on the parts before it looks at their data."""
    frame = jpeg2000(style, tile)
    assert len(frame) < 500
    check_facts(refused(reader, compressed(frame, JPEG2000Lossless, tmp_path / "slice")), "slice", "JPEG 2000")


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, JPEGLosslessSV1], ids=lambda uid: uid.keyword)
@pytest.mark.parametrize("announced", [HUGE, 65535], ids=str)
def test_a_codestream_that_announces_more_than_it_holds(
    announced: int, syntax: str, reader: BoundedReader, tmp_path: Path
) -> None:
    dimensions = struct.pack(">HH", announced, announced)
    frame = {
        JPEG2000Lossless: jpeg2000(bytes([0, 0, 0, 1, 0, 5, 4, 4, 0, 1]))
        .replace(struct.pack(">II", HUGE, HUGE), struct.pack(">II", announced, announced))
        .replace(bytes(200), b"\xc7\xd4\x01\x99" * 50),  # zeros would be empty packets, of an image of one value
        JPEGLSLossless: b"\xff\xd8\xff\xf7\x00\x0b\x0c" + dimensions + b"\x01\x01\x11\x00"
        b"\xff\xda\x00\x08\x01\x01\x00\x00\x00\x00" + bytes(100) + b"\xff\xd9",
        JPEGLosslessSV1: b"\xff\xd8\xff\xc3\x00\x0b\x0c" + dimensions + b"\x01\x01\x11\x00"
        b"\xff\xda\x00\x08\x01\x01\x00\x01\x00\x00" + bytes(100) + b"\xff\xd9",
    }[syntax]  # fmt: skip
    refused(reader, compressed(frame, syntax, tmp_path / "slice"))


def test_runs_that_unpack_without_end(reader: BoundedReader, tmp_path: Path) -> None:
    """Two bytes become 128; a file of 8 MB would become 512."""
    segment = b"\x81\x00" * (2 << 20)
    frame = struct.pack("<16I", 2, 64, 64 + len(segment), *[0] * 13) + segment * 2
    path = compressed(frame, RLELossless, tmp_path / "slice", 33, 35)
    assert reader.read(path) == {"shape": [1, 33, 35]}


# Paths


def test_a_link_to_a_file_without_end(reader: BoundedReader, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/zero")
    check_facts(refused(reader, tmp_path / "link"), "link", "neither")
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "slice.dcm").symlink_to("/dev/zero")
    check_facts(refused(reader, tmp_path / "study"), "1 symbolic links")


@pytest.mark.parametrize(
    "components",
    [[".."], ["..", "secret"], ["", "secret"], ["/etc/passwd"], ["A", "..", "..", "secret"], ["A\\..\\secret"]],
    ids="|".join,
)
def test_a_dicomdir_that_names_files_outside(components: list[str], reader: BoundedReader, tmp_path: Path) -> None:
    write(ct_slice(VALUES[0]), tmp_path / "secret")
    (tmp_path / "medium" / "A").mkdir(parents=True)
    message = refused(reader, save_dicomdir(tmp_path / "medium" / "DICOMDIR", [components]))
    assert "ReferencedFileID" in message or "are not beside it" in message


def test_a_dicomdir_whose_image_is_a_link_out_of_the_medium(reader: BoundedReader, tmp_path: Path) -> None:
    write(ct_slice(VALUES[0]), tmp_path / "secret")
    (tmp_path / "medium").mkdir()
    (tmp_path / "medium" / "IM1").symlink_to(tmp_path / "secret")
    check_facts(refused(reader, save_dicomdir(tmp_path / "medium" / "DICOMDIR", [["IM1"]])), 1, "images")


def test_a_dicomdir_that_lists_itself(reader: BoundedReader, tmp_path: Path) -> None:
    refused(reader, save_dicomdir(tmp_path / "DICOMDIR", [["DICOMDIR"]] * 50))


# Damage


def damaged(data: bytes, folder: Path, draw: np.random.Generator) -> Path:
    changed = bytearray(data)
    for at in draw.integers(132, len(changed), 8):
        changed[at] ^= 1 << int(draw.integers(8))
    path = folder / "slice"
    path.write_bytes(changed)
    return path


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless], ids=lambda uid: uid.keyword)
def test_flipped_bits_neither_crash_nor_hang(syntax: str, reader: BoundedReader, tmp_path: Path) -> None:
    image = ct_slice(VALUES[0])
    image.compress(syntax)
    sound = write(image, tmp_path / "sound").read_bytes()
    draw = np.random.default_rng(5)
    for _ in range(60):
        answer = reader.read(damaged(sound, tmp_path, draw))
        assert "shape" in answer or answer["error"] == "StudyError"
