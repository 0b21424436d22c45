"""What this processor does at best, measured: multiply-adds of each type in registers, and reads of memory."""

import ctypes
import time

import numpy as np

from .kernel import TYPES
from .library import library
from .maps import NUMBERS

ROUNDS, SECONDS = 200_000, 0.2


def operations(type_: str, threads: int, seconds: float = SECONDS) -> float:
    """Operations a second in "f32", "bf16" or "i8", a multiply-add counted twice; 0 without instructions of the type.

    Raises:
        KernelsMissingError: no library of processor kernels runs here.
        MemoryError: there is too little for the threads.
    """
    run = library().mmcaf_peak_multiply_add
    run.restype = ctypes.c_double
    number = NUMBERS[TYPES[type_].name]
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        done = run(ctypes.c_int32(number), ctypes.c_int64(ROUNDS), ctypes.c_int64(threads))
        _expect_memory(done)
        best = max(best, done / (time.perf_counter() - started))
        if not done:
            break
    return best


def reading(count: int, threads: int, seconds: float = SECONDS) -> float:
    """Bytes a second of `count` bytes that are read again and again: of the cache that holds them, or of memory.

    Raises:
        KernelsMissingError: no library of processor kernels runs here.
        MemoryError: there is too little for the threads.
    """
    values = np.ones(count // 4, np.float32)
    run = library().mmcaf_peak_read
    run.restype = ctypes.c_double
    rounds = max(1, (1 << 28) // count)
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        sizes = (ctypes.c_int64(number) for number in (len(values), rounds, threads))
        _expect_memory(run(ctypes.c_void_p(values.ctypes.data), *sizes))
        best = max(best, values.nbytes * rounds / (time.perf_counter() - started))
    return best


def _expect_memory(measured: float) -> None:
    if measured < 0:
        raise MemoryError("the processor's peaks: out of memory")
