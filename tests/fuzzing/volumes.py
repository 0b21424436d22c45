"""NIfTI-1 and NIfTI-2 files, plain and gzipped, spoilt field by field of their header and member by member of gzip."""

import gzip
import struct
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.random import Generator

from .case import Answer, Case, Maker, answer_of_study, choose
from .octets import damage

FIELDS = {
    1: {
        "sizeof_hdr": (0, "i"),
        "dim": (40, "8h"),
        "intent_code": (68, "h"),
        "datatype": (70, "h"),
        "bitpix": (72, "h"),
        "slice_start": (74, "h"),
        "pixdim": (76, "8f"),
        "vox_offset": (108, "f"),
        "scl_slope": (112, "f"),
        "scl_inter": (116, "f"),
        "xyzt_units": (123, "B"),
        "qform_code": (252, "h"),
        "sform_code": (254, "h"),
        "quatern": (256, "6f"),
        "srow": (280, "12f"),
        "magic": (344, "4s"),
        "extension": (348, "4s"),
    },
    2: {
        "sizeof_hdr": (0, "i"),
        "magic": (4, "8s"),
        "datatype": (12, "h"),
        "bitpix": (14, "h"),
        "dim": (16, "8q"),
        "pixdim": (104, "8d"),
        "vox_offset": (168, "q"),
        "scl_slope": (176, "d"),
        "scl_inter": (184, "d"),
        "qform_code": (344, "i"),
        "sform_code": (348, "i"),
        "quatern": (352, "6d"),
        "srow": (400, "12d"),
        "xyzt_units": (500, "i"),
        "intent_code": (504, "i"),
        "extension": (540, "4s"),
    },
}
"""Version -> field -> its place and form (NIfTI-1.1, NIfTI-2)."""
STRUCTURE = {"sizeof_hdr", "magic", "bitpix", "vox_offset", "extension"}
"""What says how the file is built; the others are values that a header may have."""
WHOLE = (0, 1, -1, 2, 3, 4, 5, 7, 8, 16, 64, 128, 255, 348, 352, 540, 544, 1024, 2304, 32767, -32768)
REAL = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    2.0,
    1e-40,
    1e30,
    3e38,
    float("nan"),
    float("inf"),
    float("-inf"),
    352.0,
    353.0,
    352.5,
)
MAGIC = (b"n+1\0", b"ni1\0", b"n+2\0", b"n+3\0", b"\0" * 8, b"n+2\0\r\n\x1a\n", b"n+1\0\r\n\x1a\n")
AFFINE = np.array([[-2.0, 0, 0, 20], [0, 2, 0, -22], [0, 0, 3, -27], [0, 0, 0, 1]])


def headers(folder: Path) -> Maker:
    """Volumes of three types in both versions and both byte orders."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "damaged.nii"
    forms: dict[str, tuple[int, str, bytes]] = {}
    for version, order, kind in (
        (1, "<", "i2"),
        (1, ">", "i2"),
        (1, "<", "f4"),
        (2, "<", "i2"),
        (2, ">", "f8"),
        (1, "<", "u1"),
    ):
        forms[f"NIfTI-{version} {order}{kind}"] = (version, order, _file(version, order, kind))
    sound: dict[str, Answer] = {}
    for form, (_, _, data) in forms.items():
        path.write_bytes(data)
        sound[form] = answer_of_study(path, "rescaled", None)

    def make(draw: Generator) -> Case:
        form = choose(draw, list(forms))
        version, order, data = forms[form]
        changed, done, checked = bytearray(data), [], True
        for _ in range(int(choose(draw, (0, 1, 1, 1, 2, 4)))):
            name = choose(draw, list(FIELDS[version]))
            checked = checked and name in STRUCTURE
            done.append(_field(changed, version, order, name, draw))
        if draw.random() < 0.15:
            done.append(_cut(changed, draw))
        packed = bytes(changed)
        if draw.random() < 0.4 or not done:
            packed, what = _packed(packed, draw)
            done.append(what)
        if draw.random() < 0.05:
            packed, checked = damage(packed, draw), checked and packed[:2] == b"\x1f\x8b"
            done.append("bytes")
        path.write_bytes(packed)
        what = f"{form}: {', '.join(done)}"
        return Case(lambda: answer_of_study(path, "rescaled", None), what, packed, sound[form] if checked else None)

    return make


def _file(version: int, order: str, kind: str) -> bytes:
    values = np.random.default_rng(3).integers(0, 200, (9, 8, 7)).astype(f"{order}{kind}")
    make = nib.Nifti1Image if version == 1 else nib.Nifti2Image
    image = make(values, AFFINE, make.header_class(endianness=order))
    image.header.set_data_dtype(values.dtype)
    image.set_qform(AFFINE, 1)
    image.set_sform(AFFINE, 1)
    return bytes(image.to_bytes())


def _field(data: bytearray, version: int, order: str, name: str, draw: Generator) -> str:
    """Another value of a field, or of one of its several."""
    at, form = FIELDS[version][name]
    if form.endswith("s"):
        text = choose(draw, MAGIC)[: int(form[:-1])].ljust(int(form[:-1]), b"\0")
        text = bytes([int(draw.integers(3)), 0, 0, 0]) if name == "extension" else text
        data[at : at + len(text)] = text
        return f"{name} {text!r}"
    count, letter = int(form[:-1] or 1), form[-1]
    values = list(struct.unpack_from(f"{order}{form}", data, at))
    place = int(draw.integers(count))
    chosen = float(choose(draw, REAL)) if letter in "fd" else int(choose(draw, WHOLE))
    if letter in "fd" and draw.random() < 0.3:
        chosen = values[place] * float(choose(draw, (-1.0, 1.0 + 1e-7, 1.5)))
    if letter == "B":
        chosen %= 256
    values[place] = chosen
    try:
        struct.pack_into(f"{order}{form}", data, at, *values)
    except (OverflowError, struct.error):
        return f"{name} as it was"
    return f"{name}[{place}] {chosen:g}"


def _cut(data: bytearray, draw: Generator) -> str:
    """Fewer bytes, or more, or some of them elsewhere."""
    match int(draw.integers(4)):
        case 0:
            del data[int(draw.integers(len(data))) :]
        case 1:
            data += draw.bytes(int(draw.integers(1, 40)))
        case 2:
            at = int(draw.integers(340, len(data)))
            del data[at : at + int(draw.integers(1, 40))]
        case _:
            at = int(draw.integers(348, len(data)))
            data[at:at] = draw.bytes(int(choose(draw, (1, 2, 16, 32))))
    return f"{len(data)} bytes"


def _packed(data: bytes, draw: Generator) -> tuple[bytes, str]:
    """Gzipped as it should be, in several members, or with a header, trailer or stream that is wrong."""
    whole = gzip.compress(data, mtime=0)
    match int(draw.integers(9)):
        case 0:
            return whole, "gzipped"
        case 1:
            at = int(draw.integers(len(data)))
            return gzip.compress(data[:at], mtime=0) + gzip.compress(data[at:], mtime=0), "two members"
        case 2:
            spoilt = bytearray(whole)
            spoilt[int(draw.integers(len(spoilt)))] ^= 1 << int(draw.integers(8))
            return bytes(spoilt), "a bit of gzip"
        case 3:
            return whole[: int(draw.integers(len(whole)))], "gzip cut short"
        case 4:
            return whole + choose(draw, (b"\0" * 20, b"x", b"\x1f\x8b", whole[:12], draw.bytes(9))), "more after gzip"
        case 5:
            return whole[:-8] + struct.pack(
                "<II", zlib.crc32(data) ^ int(draw.integers(2)), len(data) + 1
            ), "gzip's trailer"
        case 6:
            flags = int(draw.integers(256))
            return whole[:3] + bytes([flags]) + whole[4:10] + choose(draw, (b"", b"name\0", b"\4\0abcd")) + whole[
                10:
            ], f"flags {flags}"
        case 7:
            return gzip.compress(whole, mtime=0), "gzipped twice"
        case _:
            raw = zlib.compress(data)
            return whole[:10] + raw + whole[-8:], "a zlib stream within gzip"
