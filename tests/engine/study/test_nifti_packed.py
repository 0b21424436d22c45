"""Packed NIfTI files: whatever became of one on its way, it is refused or gives the voxels that were packed."""

import gzip
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mmcaf_engine.errors import StudyError
from mmcaf_engine.study import read_study
from mmcaf_engine.volume import Volume
from refusals import refused

SHAPE = (3, 4, 5)


def plain(values: NDArray[Any]) -> bytes:
    image = nib.Nifti1Image(values, np.diag([-2.0, 2.0, 3.0, 1.0]))
    image.set_qform(image.affine, 1)
    image.set_sform(image.affine, 1)
    return bytes(image.to_bytes())


def read(data: bytes, folder: str | Path, name: str = "t2.nii.gz") -> Volume:
    path = Path(folder) / name
    path.write_bytes(data)
    return read_study(path, intensity="rescaled").volume


VALUES = np.arange(60, dtype=np.int16).reshape(SHAPE)
SOUND = plain(VALUES)
PACKED = gzip.compress(SOUND, mtime=0)


@st.composite
def flips(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A packed file, of one member or two, and the same with one bit changed."""
    values = np.array(draw(st.lists(st.integers(-999, 999), min_size=60, max_size=60)), np.int16).reshape(SHAPE)
    data = plain(values)
    cut = draw(st.integers(0, len(data)))
    level = draw(st.sampled_from((0, 1, 9)))
    parts = (data,) if draw(st.booleans()) else (data[:cut], data[cut:])
    packed = b"".join(gzip.compress(part, level, mtime=0) for part in parts)
    flipped = bytearray(packed)
    bit = draw(st.integers(0, 8 * len(packed) - 1))
    flipped[bit // 8] ^= 1 << bit % 8
    return packed, bytes(flipped)


def never_other_voxels(drawn: tuple[bytes, bytes]) -> None:
    packed, flipped = drawn
    with TemporaryDirectory() as folder:
        sound = read(packed, folder)
        try:
            found = read(flipped, folder)
        except StudyError:
            return
    assert np.array_equal(found.values, sound.values)
    assert (found.spacing_mm, found.origin_mm, found.direction) == (
        sound.spacing_mm,
        sound.origin_mm,
        sound.direction,
    )


@settings(max_examples=150, deadline=None)
@given(flips())
def test_no_flipped_bit_is_answered_with_other_voxels(drawn: tuple[bytes, bytes]) -> None:
    never_other_voxels(drawn)


@pytest.mark.full
def test_no_bit_of_a_whole_file(tmp_path: Path) -> None:
    """One after the other; of the few that mean nothing, such as the packer's clock, the voxels are the same."""
    read_anyway = 0
    for bit in range(8 * len(PACKED)):
        flipped = bytearray(PACKED)
        flipped[bit // 8] ^= 1 << bit % 8
        never_other_voxels((PACKED, bytes(flipped)))
        try:
            read(bytes(flipped), tmp_path)
        except StudyError:
            continue
        read_anyway += 1
    assert read_anyway <= 8 * 10


@pytest.mark.parametrize(
    "data",
    [
        PACKED[:-8] + bytes(4) + PACKED[-4:],
        PACKED[:-4] + bytes(4),
        PACKED[:-1],
        PACKED + b"more",
        PACKED + gzip.compress(b"\0"),
        PACKED + gzip.compress(b"")[:-1],
        gzip.compress(SOUND + b"\0"),
        gzip.compress(SOUND[:-1]),
        gzip.compress(SOUND[:-60]) + gzip.compress(SOUND[-60:])[:-2],
    ],
    ids=[
        "checksum",
        "length",
        "cut in its length",
        "text behind it",
        "another member behind it",
        "a cut member behind it",
        "a byte more",
        "a byte less",
        "a cut second member",
    ],
)
def test_what_is_not_what_was_packed(data: bytes, tmp_path: Path) -> None:
    assert np.array_equal(read(PACKED, tmp_path).values.size, VALUES.size)
    with refused(StudyError, "t2.nii.gz") as caught:
        read(data, tmp_path)
    assert "Check the path" not in caught.value.remedy


def test_the_same_in_several_members(tmp_path: Path) -> None:
    members = b"".join(gzip.compress(SOUND[at : at + 100], mtime=0) for at in range(0, len(SOUND), 100))
    expected = read(PACKED, tmp_path)
    for data in (members, members + gzip.compress(b""), PACKED + bytes(512)):  # zeros fill a tape's block
        assert np.array_equal(read(data, tmp_path).values, expected.values)


def test_a_plain_file_ends_where_its_voxels_end(tmp_path: Path) -> None:
    assert np.array_equal(read(SOUND, tmp_path, "t2.nii").values, read(PACKED, tmp_path).values)
    with refused(StudyError, "t2.nii", "more than 120", 120, "3 x 4 x 5"):
        read(SOUND + b"\0", tmp_path, "t2.nii")
    shorter = bytearray(SOUND)
    shorter[46:48] = (4).to_bytes(2, "little")  # 3 x 4 x 4 of them
    with refused(StudyError, "t2.nii", "more than 96", "3 x 4 x 4"):
        read(bytes(shorter), tmp_path, "t2.nii")
