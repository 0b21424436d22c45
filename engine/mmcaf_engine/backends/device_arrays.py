"""Arrays that lie in GPU memory already, of whatever library made them, taken as they lie.

Two interfaces are read: `__cuda_array_interface__` versions 2 and 3 (Numba documentation, "CUDA Array Interface") of
PyCUDA, CuPy, Numba and torch, and DLPack (dmlc, "Python Specification for DLPack"), which is preferred where both are
there since it also says when the data is ready. Neither needs the library or CUDA here.
"""

import ctypes
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard

import numpy as np

from ..errors import UsageError

LEGACY_STREAM = 1
"""The handle of CUDA's default stream, which waits for all streams but those made non-blocking."""

_CUDA_DEVICES = (2, 13)  # kDLCUDA, kDLCUDAManaged
_DLPACK_KINDS = {0: "i", 1: "u", 2: "f", 5: "c"}


class SupportsCudaArrayInterface(Protocol):
    """An object with `__cuda_array_interface__`."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...


class SupportsDlpack(Protocol):
    """An object with `__dlpack__` and `__dlpack_device__`."""

    def __dlpack__(self, *, stream: int | None = None) -> Any: ...

    def __dlpack_device__(self) -> tuple[Any, int]: ...


@dataclass(frozen=True)
class DeviceArray:
    """An array in GPU memory, C-contiguous; only read from, so its owner may call it read-only.

    ready_on: the handle of the stream after whose work so far the values are there.
    owner: keeps the memory alive as long as this object is.
    """

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    ready_on: int
    owner: Any

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> "DeviceArray":
        """Some entries of the first axis, in place."""
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise IndexError("Only neighbouring entries can be taken.")
        row = self.nbytes // max(len(self), 1)
        shape = (max(stop - start, 0), *self.shape[1:])
        return DeviceArray(self.address + start * row, shape, self.dtype, self.ready_on, self.owner)


def lies_on_device(value: object) -> TypeGuard[SupportsCudaArrayInterface | SupportsDlpack]:
    """Whether a value is an array that lies in GPU memory, as far as it says."""
    if isinstance(value, np.ndarray):
        return False
    if hasattr(value, "__dlpack_device__"):
        return int(value.__dlpack_device__()[0]) in _CUDA_DEVICES
    return hasattr(value, "__cuda_array_interface__")


def device_array(value: SupportsCudaArrayInterface | SupportsDlpack, name: str) -> DeviceArray:
    """An array in GPU memory, without a copy.

    Raises:
        UsageError: it is not C-contiguous, masked, of an unknown type, or its owner does not give it; `name` says
            which input it is.
    """
    try:
        if hasattr(value, "__dlpack__"):
            return _from_dlpack(value, name)
        return _from_interface(value, name)
    except UsageError:
        raise
    except Exception as failure:  # Whatever the library that made it raises.
        first_line = (str(failure).strip().splitlines() or [type(failure).__name__])[0]
        raise UsageError(
            f"Input {name}, a {type(value).__module__}.{type(value).__qualname__}, does not give its memory: "
            f"{first_line[:200]}",
            "Of a torch tensor that requires a gradient, pass tensor.detach().",
        ) from failure


def _from_interface(value: Any, name: str) -> DeviceArray:
    facts = value.__cuda_array_interface__
    version = int(facts.get("version", 0))
    if version < 2:
        raise UsageError(f"Input {name} has __cuda_array_interface__ version {version}; 2 or 3 is expected.")
    if facts.get("mask") is not None:
        raise UsageError(f"Input {name} is masked; an array without a mask is expected.")
    shape = tuple(int(size) for size in facts["shape"])
    dtype = np.dtype(facts["typestr"])
    strides = facts.get("strides")
    _expect_contiguous(name, shape, dtype.itemsize, strides)
    stream = facts.get("stream")
    if stream is not None and int(stream) == 0:
        raise UsageError(f"Input {name} names stream 0, which its interface does not allow; 1 or 2 is expected.")
    # Without a stream nobody says when the data is ready; most libraries then work in the default one.
    return DeviceArray(
        int(facts["data"][0]), shape, dtype, LEGACY_STREAM if stream is None else int(stream), (value, facts)
    )


class _Tensor(ctypes.Structure):
    """DLTensor of dlpack.h."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("kind", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


def _from_dlpack(value: Any, name: str) -> DeviceArray:
    # The owner makes the default stream wait for its own work. The capsule keeps the memory, and gives it back when
    # it is dropped, since it was never marked as used.
    capsule = value.__dlpack__(stream=LEGACY_STREAM)
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    tensor = _Tensor.from_address(pointer(capsule, b"dltensor"))  # The first member of a DLManagedTensor.
    if tensor.kind not in _DLPACK_KINDS or tensor.lanes != 1 or tensor.bits % 8:
        raise UsageError(
            f"Input {name} is of DLPack type code {tensor.kind}, {tensor.bits} bits, {tensor.lanes} lanes; float32 is "
            "expected."
        )
    dtype = np.dtype(f"{_DLPACK_KINDS[tensor.kind]}{tensor.bits // 8}")
    shape = tuple(tensor.shape[axis] for axis in range(tensor.ndim))
    strides = [tensor.strides[axis] * dtype.itemsize for axis in range(tensor.ndim)] if tensor.strides else None
    _expect_contiguous(name, shape, dtype.itemsize, strides)
    return DeviceArray((tensor.data or 0) + tensor.byte_offset, shape, dtype, LEGACY_STREAM, (value, capsule))


def _expect_contiguous(name: str, shape: tuple[int, ...], itemsize: int, strides: Any) -> None:
    """Strides in bytes; None means C-contiguous, and an axis of one entry may have any."""
    if strides is None:
        return
    expected = itemsize
    for size, stride in zip(reversed(shape), reversed(tuple(strides)), strict=True):
        if size > 1 and stride != expected:
            raise UsageError(
                f"Input {name} of shape {list(shape)} has strides {list(strides)} in bytes; an array in C order "
                "without gaps is expected.",
                "Copy it so first: cupy.ascontiguousarray(array), or tensor.contiguous() in torch.",
            )
        expected *= size
