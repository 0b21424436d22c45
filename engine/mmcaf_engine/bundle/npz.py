"""A .npz file of unknown origin, read array by array: nothing is unpacked before its size is known."""

import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from math import prod
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

MAX_ARRAYS = 1000
MAX_ARRAY_BYTES = 256 * 2**20
MAX_HEADER_CHARACTERS = 1000
MAX_AXES = 8
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    NotImplementedError,  # a compression that zipfile does not know
    RuntimeError,  # encrypted
    OverflowError,
    RecursionError,
    MemoryError,
)
"""What reading a damaged or forged file may raise."""


@dataclass(frozen=True)
class Header:
    """What an array says of itself, as the .npy format has it (NumPy enhancement proposal 1)."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    by_column: bool

    @property
    def size(self) -> int:
        """Bytes of its values."""
        return prod(self.shape) * self.dtype.itemsize


class Npz(Mapping[str, NDArray[Any]]):
    """The arrays of a .npz file by name, each read when it is asked for. What it raises is of `FAULTS`."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._archive = zipfile.ZipFile(stream)
        members = self._archive.infolist()
        if len(members) > MAX_ARRAYS:
            raise ValueError(f"{len(members)} arrays; at most {MAX_ARRAYS} are read")
        if strange := [info.filename for info in members if info.compress_type not in _COMPRESSIONS]:
            raise ValueError(f"{strange[0]} is compressed in another way than numpy does")
        self._members = {info.filename.removesuffix(".npy"): info for info in members}
        if len(self._members) != len(members):
            raise ValueError("two arrays of one name")

    def __getitem__(self, name: str) -> NDArray[Any]:
        with self._archive.open(self._members[name]) as stream:
            header, begun = self._read_header(name, stream)
            data = begun + stream.read(max(header.size - len(begun), 0))
            if len(data) != header.size or stream.read(1):  # reading to the end also checks the CRC
                raise ValueError(f"{name} does not hold the {header.size} bytes that it says")
        values = np.frombuffer(data, header.dtype)
        return values.reshape(header.shape, order="F" if header.by_column else "C").copy()

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def header(self, name: str) -> Header:
        """Shape and type of an array, whose values are left alone."""
        with self._archive.open(self._members[name]) as stream:
            return self._read_header(name, stream)[0]

    def _read_header(self, name: str, source: IO[bytes]) -> tuple[Header, bytes]:
        """And what was read of the values. A header says how long it is, which numpy would read before it looks."""
        stream = BytesIO(source.read(MAX_HEADER_CHARACTERS))
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"{name} is of .npy version {version}; 1.0 and 2.0 are read")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        try:
            shape, by_column, dtype = read(stream, max_header_size=MAX_HEADER_CHARACTERS)
        except Exception as failure:  # It is parsed as Python is, by several parsers with errors of their own.
            raise ValueError(f"{name} has no .npy header ({type(failure).__name__})") from None
        header = Header(shape, dtype, by_column)
        if dtype.kind not in "biuf" or dtype.fields is not None:
            raise ValueError(f"{name} holds {dtype}; numbers are expected")
        if len(shape) > MAX_AXES or any(isinstance(length, bool) or length < 0 for length in shape):
            raise ValueError(f"{name} has the shape {shape}")
        if header.size > MAX_ARRAY_BYTES:
            raise ValueError(f"{name} takes {header.size} bytes; at most {MAX_ARRAY_BYTES} are read")
        return header, stream.read()
