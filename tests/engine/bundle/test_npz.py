"""Reading .npz files: what NumPy writes comes back, and nothing that is forged costs memory or another error."""

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mmcaf_engine.bundle import npz
from mmcaf_engine.bundle.npz import FAULTS, Npz

SEVERAL = {
    "image": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "by_column": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
    "one": np.array(7, np.int64),
    "none": np.zeros((0, 3), np.uint8),
    "yes": np.array([True, False]),
}


def saved(**named: Any) -> io.BytesIO:
    file = io.BytesIO()
    np.savez_compressed(file, **named)
    return file


def forged(content: bytes, name: str = "a.npy", compression: int = zipfile.ZIP_DEFLATED) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr(name, content)
    return file


def npy(shape: str, descr: str = "<f4", data: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version == (1, 0) else "<I", len(header)) + header + data


def test_what_was_saved_is_read() -> None:
    found = Npz(saved(**SEVERAL))
    assert list(found) == list(SEVERAL) and len(found) == len(SEVERAL)
    for name, expected in SEVERAL.items():
        assert found.header(name).shape == expected.shape and found.header(name).dtype == expected.dtype
        assert found[name].dtype == expected.dtype and np.array_equal(found[name], expected)
        assert found[name].flags.writeable
    assert "other" not in found
    with pytest.raises(KeyError):
        found["other"]


@settings(max_examples=40, deadline=None)
@given(arrays.arrays(st.sampled_from(["<f4", ">f8", "<i8", "u1", "?", "<u2"]), arrays.array_shapes(max_dims=4)))
def test_any_array_of_numbers_comes_back(array: np.ndarray) -> None:
    assert Npz(saved(a=array))["a"].tobytes() == array.tobytes()


@pytest.mark.parametrize(
    "content",
    [
        b"\x93NUMPY\1\0\x20\0" + b"(" * 32,
        b'\x93NUMPY\2\0\x20\0\0\0"""' + b" " * 29,
        npy("(2,)", data=bytes(7)),
        npy("(2,)", data=bytes(9)),
        npy("(300,)", data=bytes(1199)),
        npy("(300,)", data=bytes(1201)),
        npy("(1000000000000,)"),
        npy("(99999999999999999999999999,)"),
        npy("(-1,)", data=bytes(4)),
        npy("(True,)", data=bytes(4)),
        npy("(" + "1," * 9 + ")", data=bytes(4)),
        npy("(1,)", "|O", bytes(8)),
        npy("(1,)", "<U4", bytes(16)),
        npy("(1,)", "|V4", bytes(4)),
        npy("(1,)", "nonsense", bytes(4)),
        npy("(" * 200 + ")" * 200),
        npy("(1,)", data=bytes(4), version=(3, 0)),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
        b"\x93NUM",
        b"",
        b"\x80\x04K\x01.",
    ],
    ids=range(21),
)
def test_what_is_no_array_of_numbers_is_refused(content: bytes) -> None:
    found = Npz(forged(content))
    with pytest.raises(FAULTS):
        found["a"]


def test_what_unpacks_to_more_than_the_limit_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz, "MAX_ARRAY_BYTES", 2**20)
    file = forged(npy(f"({2**24},)", data=bytes(2**26)))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=str(2**26)):
            Npz(file)["a"]
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()
    assert len(Npz(forged(npy(f"({2**18},)", data=bytes(2**20))))["a"]) == 2**18


def test_a_member_that_is_longer_than_its_array_is_not_unpacked() -> None:
    file = forged(npy("(1,)", data=bytes(2**26)))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="a does not hold the 4 bytes"):
            Npz(file)["a"]
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()


def test_the_number_of_arrays_is_bounded() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(npz.MAX_ARRAYS + 1):
            archive.writestr(f"{number}.npy", b"")
    with pytest.raises(ValueError, match="1001"):
        Npz(file)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_numpy_does_not_write_is_refused_before_it_is_unpacked(compression: int) -> None:
    """Other decompressors fail with errors of their own, or unpack more than is asked for."""
    with pytest.raises(ValueError, match=r"a\.npy is compressed"):
        Npz(forged(npy("(1,)", data=bytes(4)), compression=compression))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_arrays_of_one_name_are_refused() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for _ in range(2):
            archive.writestr("a.npy", npy("(1,)", data=bytes(4)))
    with pytest.raises(ValueError, match="one name"):
        Npz(file)


def encrypted(data: bytearray) -> None:
    for at in (6, data.index(b"PK\x01\x02") + 8):
        data[at] |= 1


def unknown_compression(data: bytearray) -> None:
    for at in (8, data.index(b"PK\x01\x02") + 10):
        data[at] = 97


def far_offset(data: bytearray) -> None:
    at = data.index(b"PK\x01\x02") + 42
    data[at : at + 4] = b"\xf0\xff\xff\x7f"


def cut(data: bytearray) -> None:
    del data[len(data) // 2 :]


@pytest.mark.parametrize("damage", [encrypted, unknown_compression, far_offset, cut], ids=lambda one: one.__name__)
def test_damaged_zips(damage: Callable[[bytearray], None]) -> None:
    data = bytearray(saved(a=np.zeros(9)).getvalue())
    damage(data)
    with pytest.raises(FAULTS):
        Npz(io.BytesIO(bytes(data)))["a"]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_changed_byte_gives_the_array_or_a_known_fault(data: st.DataObject) -> None:
    """What is stored in a header may change its type or shape, never its values unseen: the CRC tells."""
    content = bytearray(saved(a=np.arange(6, dtype=np.float32)).getvalue())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    try:
        found = Npz(io.BytesIO(bytes(content)))
        values = [found[name] for name in found]
    except FAULTS:
        return
    assert all(np.array_equal(one, np.arange(6, dtype=np.float32)) for one in values)
