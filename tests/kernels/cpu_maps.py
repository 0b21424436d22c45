"""What the tests of the processor's kernels share: maps of each type, and every level of instructions."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mmcaf_kernels.cpu.kernel import Stored
from mmcaf_kernels.cpu.library import LEVELS, at_most
from mmcaf_kernels.cpu.maps import Map, bfloat16, float32

Floats = NDArray[np.float32]
F32, BF16, I8 = Stored("f32"), Stored("bf16"), Stored("i8", 0.05)
UNITS = {"bf16": 2.0**-8, "i8": 0.05 / 2}
"""Half of what lies between two values: of bf16 in proportion to the value, of i8 as it is."""


def each_level() -> Iterator[str]:
    """Each level of instructions that this processor has, on which the kernels made meanwhile compute."""
    for name in LEVELS:
        with at_most(name) as found:
            if found == name:
                yield name


def as_stored(values: Floats, stored: Stored) -> Map:
    """Values as a map of a type."""
    if stored.type == "f32":
        return values
    if stored.type == "bf16":
        return bfloat16(values)
    return np.clip(np.rint(values / stored.step), -128, 127).astype(np.int8)


def read(array: Map, stored: Stored) -> NDArray[np.float64]:
    """What a map stands for."""
    if stored.type == "bf16":
        return float32(array.view(np.uint16)).astype(np.float64)
    return array.astype(np.float64) * (stored.step if stored.type == "i8" else 1)


def largest(differences: NDArray[np.float64]) -> float:
    """Magnitude."""
    return float(np.abs(differences).max())


def spread(shape: Sequence[int], stored: Stored) -> Map:
    """A map to be written, of values that no kernel gives."""
    array: Map = np.full(shape, {"f32": np.nan, "bf16": 0x7FC0, "i8": -128}[stored.type], stored.dtype)  # type: ignore
    return array
