"""Arrays in GPU memory, by what they say of themselves: taken as they lie, or refused in words."""

import ctypes
import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends_here import ON_PROCESSOR
from mmcaf_engine import load_bundle, open_session
from mmcaf_engine.backends.device_arrays import DeviceArray, device_array, lies_on_device
from mmcaf_engine.errors import UsageError
from refusals import Fact, refused

SHAPE = (3, 1, 4, 5)


class WithInterface:
    """An object with `__cuda_array_interface__`."""

    def __init__(self, **facts: Any) -> None:
        shown = {"shape": SHAPE, "typestr": "<f4", "data": (4096, False), "version": 3, "strides": None, **facts}
        self.__cuda_array_interface__ = {name: value for name, value in shown.items() if value != "absent"}


class Tensor(ctypes.Structure):
    """DLManagedTensor of dlpack.h, written again and not taken from the module under test."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("type_code", ctypes.c_uint8),
        ("type_bits", ctypes.c_uint8),
        ("type_lanes", ctypes.c_uint16),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
        ("manager_context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    )


DESTRUCTOR = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)


class WithDlpack:
    """An object with `__dlpack__`, whose capsule notes when it is destroyed."""

    def __init__(
        self,
        *,
        device: tuple[int, int] = (2, 0),
        shape: tuple[int, ...] = SHAPE,
        strides: tuple[int, ...] | None = None,
        kind: tuple[int, int, int] = (2, 32, 1),
        offset: int = 0,
    ) -> None:
        self.device, self.asked, self.destroyed = device, [], 0  # type: tuple[int, int], list[Any], int
        self._shape = (ctypes.c_int64 * len(shape))(*shape)
        self._strides = None if strides is None else (ctypes.c_int64 * len(strides))(*strides)
        strides_at = 0 if self._strides is None else ctypes.addressof(self._strides)
        self._tensor = Tensor(4096, *device, len(shape), *kind, ctypes.addressof(self._shape), strides_at, offset)
        self._destructor = DESTRUCTOR(self._destroy)

    def _destroy(self, capsule: int) -> None:
        self.destroyed += 1

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device

    def __dlpack__(self, *, stream: int | None = None) -> Any:
        self.asked.append(stream)
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, DESTRUCTOR)
        return new(ctypes.addressof(self._tensor), b"dltensor", self._destructor)


CONTIGUOUS = (80, 80, 20, 4)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("strides", [None, "absent", CONTIGUOUS, (80, 12345, 20, 4)])
@pytest.mark.parametrize("read_only", [True, False])
def test_cuda_array_interface(version: int, strides: Any, read_only: bool) -> None:
    found = device_array(WithInterface(version=version, strides=strides, data=(4096, read_only)), "image")
    assert (found.address, found.shape, found.dtype, found.nbytes) == (4096, SHAPE, np.float32, 240)
    assert (len(found), found.ndim) == (3, 4)


@pytest.mark.parametrize(("stream", "waits_for"), [(None, 1), ("absent", 1), (1, 1), (2, 2), (123456, 123456)])
def test_the_stream_that_is_waited_for(stream: Any, waits_for: int) -> None:
    assert device_array(WithInterface(stream=stream), "image").ready_on == waits_for


@pytest.mark.parametrize(
    ("given", "facts"),
    [
        ({"strides": (80, 80, 40, 4)}, ("image", "[3, 1, 4, 5]", "[80, 80, 40, 4]")),
        ({"strides": (4, 12, 12, 48)}, ("[4, 12, 12, 48]", "C order")),
        ({"strides": (-80, 80, 20, 4)}, ("[-80, 80, 20, 4]", "C order")),
        ({"strides": (0, 80, 20, 4)}, ("[0, 80, 20, 4]", "C order")),
        ({"version": 1}, ("version", 1, 2, 3)),
        ({"mask": object()}, ("masked",)),
        ({"stream": 0}, ("stream 0",)),
        ({"typestr": "nonsense"}, ("memory",)),
        ({"data": "absent"}, ("memory",)),
    ],
    ids=["gaps", "fortran", "reversed", "broadcast", "version", "mask", "stream-0", "type", "no-data"],
)
def test_interfaces_that_are_refused(given: dict[str, Any], facts: tuple[Fact, ...]) -> None:
    with refused(UsageError, "image", *facts):
        device_array(WithInterface(**given), "image")


@pytest.mark.parametrize("device", [2, 13], ids=["device", "managed"])
@pytest.mark.parametrize("strides", [None, (20, 20, 5, 1), (20, 999, 5, 1)])
def test_dlpack(device: int, strides: tuple[int, ...] | None) -> None:
    given = WithDlpack(device=(device, 0), strides=strides, offset=512)
    assert lies_on_device(given)
    found = device_array(given, "image")
    assert (found.address, found.shape, found.dtype) == (4096 + 512, SHAPE, np.float32)
    # The owner was told to have its values ready in the default stream, which is what is waited for.
    assert given.asked == [1] and found.ready_on == 1


def test_dlpack_memory_is_kept_as_long_as_the_array_and_given_back_once() -> None:
    given = WithDlpack()
    found = device_array(given, "image")
    rows = found[1:2]
    del found
    gc.collect()
    assert given.destroyed == 0
    del rows
    gc.collect()
    assert given.destroyed == 1


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"strides": (1, 3, 3, 12)}, ("C order",)),
        ({"kind": (4, 16, 1)}, (4, "16 bits")),
        ({"kind": (2, 32, 4)}, ("4 lanes",)),
    ],
    ids=["fortran", "bfloat16", "vectors"],
)
def test_dlpack_that_is_refused(change: dict[str, Any], facts: tuple[Fact, ...]) -> None:
    with refused(UsageError, "image", *facts):
        device_array(WithDlpack(**change), "image")


def test_what_the_owner_raises_is_said() -> None:
    class Gradient(WithDlpack):
        def __dlpack__(self, *, stream: int | None = None) -> Any:
            raise BufferError("Can't export tensors that require gradient")

    with refused(UsageError, "Gradient", "memory", "Can't export tensors that require gradient") as caught:
        device_array(Gradient(), "image")
    assert "tensor.detach()" in caught.value.remedy


def test_other_types_are_taken_and_named_later() -> None:
    assert device_array(WithInterface(typestr="<f8"), "image").dtype == np.float64
    assert device_array(WithDlpack(kind=(2, 16, 1)), "image").dtype == np.float16


@pytest.mark.parametrize(
    ("value", "on_device"),
    [
        (np.zeros(3), False),
        ([1.0, 2.0], False),
        (3.0, False),
        (WithInterface(), True),
        (WithDlpack(device=(1, 0)), False),
        (WithDlpack(device=(3, 0)), False),
    ],
    ids=["numpy", "list", "number", "interface", "dlpack-host", "dlpack-pinned"],
)
def test_what_lies_on_a_gpu(value: Any, on_device: bool) -> None:
    assert lies_on_device(value) is on_device


def test_rows_lie_one_after_the_other() -> None:
    whole = DeviceArray(4096, (4, 7), np.dtype(np.float32), 1, None)
    assert [(row.address, row.shape) for row in (whole[0:1], whole[3:4])] == [(4096, (1, 7)), (4096 + 84, (1, 7))]
    assert whole[1:3].shape == (2, 7) and whole[4:9].shape == (0, 7)
    with pytest.raises(IndexError):
        whole[::2]


@pytest.mark.parametrize("backend", ON_PROCESSOR)
@pytest.mark.parametrize("given", [WithInterface(), WithDlpack()], ids=["interface", "dlpack"])
def test_a_backend_of_the_processor_refuses_them(tiny_bundle: Path, backend: str, given: Any) -> None:
    table = np.zeros((1, 2), np.float32)
    with (
        open_session(load_bundle(tiny_bundle), backend=backend) as session,
        refused(UsageError, "image", "GPU", backend, "CPU") as caught,
    ):
        session.run({"image": given, "table": table})
    assert "array.get()" in caught.value.remedy


def test_torch_tensors_on_the_host_are_host_arrays(tiny_bundle: Path) -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.ones(2, 3)
    assert not lies_on_device(tensor)
