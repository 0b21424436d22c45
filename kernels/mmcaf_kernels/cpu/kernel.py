"""A kernel of the library that was made for maps of one shape, with its weights packed."""

import ctypes
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .library import library, run
from .maps import NUMBERS, Map, expect

REASON_BYTES = 200
TYPES: dict[str, np.dtype[Any]] = {"f32": np.dtype(np.float32), "bf16": np.dtype(np.uint16), "i8": np.dtype(np.int8)}
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Stored:
    """How the values of a map are stored.

    type: "f32", "bf16" (as its bits, uint16) or "i8".
    step: what a whole number of "i8" stands for; of no use otherwise.
    """

    type: str = "f32"
    step: float = 1.0

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the arrays.

        Raises:
            ValueError: the type is none of the three.
        """
        if self.type not in TYPES:
            raise ValueError(f"a map of type {self.type!r}; {', '.join(TYPES)} are expected")
        return TYPES[self.type]


FLOAT32 = Stored()


class Kernel:
    """Computes y of x, each [N, D, H, W, C], without gaps; the bits do not depend on `threads`."""

    function: ClassVar[str]
    """What makes it in the library; with `_run` and `_free` what runs and frees it."""

    def __init__(
        self, shape: Sequence[int], out_shape: Sequence[int], x: Stored, y: Stored, given: Sequence[object]
    ) -> None:
        """`given` are the arguments of `function` after the shape, types and steps of the maps: arrays or integers.

        Raises:
            KernelsMissingError: no library of processor kernels runs here.
            ValueError: the library cannot compute this; the message says why.
        """
        if len(shape) != 5:
            raise ValueError(f"a map of shape {list(shape)}; [N, D, H, W, C] is expected")
        self.shape, self.out_shape, self.x, self.y = tuple(shape), tuple(out_shape), x, y
        numbers = [NUMBERS[stored.dtype.name] for stored in (x, y)]
        reason = ctypes.create_string_buffer(REASON_BYTES)
        make = getattr(library(), self.function)
        make.restype = ctypes.c_void_p
        self._own = make(
            (ctypes.c_int64 * 5)(*shape),
            (ctypes.c_int32 * 2)(*numbers),
            (ctypes.c_float * 2)(x.step, y.step),
            *(_argument(one) for one in given),
            reason,
        )
        if not self._own:
            raise ValueError(f"{type(self).__name__} of {list(shape)}: {reason.value.decode()}")
        free = getattr(library(), f"{self.function}_free")
        weakref.finalize(self, free, ctypes.c_void_p(self._own))

    def __call__(self, x: Map, threads: int = 1, out: Map | None = None) -> Map:
        """The kernel of x.

        Args:
            out: written to if given.

        Raises:
            ValueError: an array is of another type or shape, or not contiguous.
            MemoryError: there is too little for what a kernel works in.
        """
        made: Map = np.empty(self.out_shape, self.y.dtype) if out is None else out  # type: ignore[assignment]
        expect("x", x, self.shape, [self.x.dtype.name])
        expect("out", made, self.out_shape, [self.y.dtype.name])
        addresses = [ctypes.c_void_p(array.ctypes.data) for array in (x, made)]
        run(f"{self.function}_run", ctypes.c_void_p(self._own), *addresses, ctypes.c_int64(threads))
        return made


def floats(name: str, array: NDArray[np.generic], shape: Sequence[int]) -> Floats:
    """The array, which is float32 and of this shape.

    Raises:
        ValueError: it is not.
    """
    expect(name, array, shape, ("float32",))
    return array  # type: ignore[return-value]


def _argument(value: object) -> object:
    if isinstance(value, np.ndarray):
        return ctypes.c_void_p(value.ctypes.data)
    if isinstance(value, int):
        return ctypes.c_int64(value)
    return value
