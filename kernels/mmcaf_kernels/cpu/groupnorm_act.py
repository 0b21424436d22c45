"""Group norm with squeeze-and-excite gate, residual, leaky ReLU and rounding, in one pass over channels-last maps."""

import ctypes
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .library import run
from .maps import NONE, NUMBERS, Map, expect

Floats = NDArray[np.float32]
_FLOATING, _ROUNDED = ("float32", "uint16"), ("int8", "uint8")


def groupnorm_act(
    x: Map,
    groups: int,
    weight: Floats,
    bias: Floats,
    *,
    out: Map | None = None,
    rounded: Map | None = None,
    step: float = 1.0,
    zero_point: int = 0,
    eps: float = 1e-5,
    slope: float = 1.0,
    gate: Sequence[Floats] | None = None,
    residual: Map | None = None,
    threads: int = 1,
) -> None:
    """Write leaky(group_norm(x) gate + residual), and the same in whole steps.

    Statistics are formed in float32 around a mean and joined in float64: they are exact to about 3e-7 however far the
    values lie from zero. The bits do not depend on `threads`.

    Args:
        x: [N, ..., C], float32 or bfloat16.
        groups: of the channels, each a run of C / groups.
        weight, bias: [C].
        out: written to, [N, ..., C], float32 or bfloat16.
        rounded: written to, [N, ..., C], int8 or uint8: y / step rounded to the nearest, to even between two, plus the
            zero point, within the limits of the type. At least one of the two is needed.
        slope: of negative values, 0 to 1; 1 leaves out the activation.
        gate: weights and biases of the two layers, [hidden, C], [hidden], [C, hidden], [C]: of the means of the
            normalised channels, leaky of slope 0.01 between, sigmoid after.
        residual: [N, ..., C], float32 or bfloat16.

    Raises:
        KernelsMissingError: no library of processor kernels runs here.
        ValueError: an array is of another type or shape, or not contiguous; the groups do not divide the channels, a
            slope is not from 0 to 1, or a step not above 0.
        MemoryError: there is too little for what the kernel works in.
    """
    channels = x.shape[-1] if x.ndim > 1 else 0
    if groups < 1 or channels % groups or not channels:
        raise ValueError(f"{channels} channels make no {groups} groups")
    if not 0 <= slope <= 1 or not step > 0 or (out is None and rounded is None):
        raise ValueError(f"slope {slope} of 0 to 1, step {step} above 0 and an output are expected")
    for name, map_ in (("x", x), ("residual", residual), ("out", out)):
        if map_ is not None:
            expect(name, map_, x.shape, _FLOATING)
    if rounded is not None:
        expect("rounded", rounded, x.shape, _ROUNDED)
    hidden = gate[0].shape[0] if gate is not None else 0
    shapes = ((channels,), (channels,), (hidden, channels), (hidden,), (channels, hidden), (channels,))
    names = ("weight", "bias", "gate[0]", "gate[1]", "gate[2]", "gate[3]")
    parameters = [weight, bias, *(gate or ())]
    for name, array, shape in zip(names, parameters, shapes, strict=False):
        expect(name, array, shape, ("float32",))
    arrays: list[Map | Floats | None] = [
        x,
        weight,
        bias,
        residual,
        *(gate or ()),
        *([None] * (0 if gate else 4)),
        out,
        rounded,
    ]
    sizes = (x.shape[0], int(np.prod(x.shape[1:-1])), channels, groups, hidden)
    types = [NONE if map_ is None else NUMBERS[map_.dtype.name] for map_ in (x, residual, out, rounded)]
    run(
        "mmcaf_groupnorm_act",
        (ctypes.c_int64 * 5)(*sizes),
        (ctypes.c_int32 * 4)(*types),
        (ctypes.c_void_p * 10)(*(None if array is None else array.ctypes.data for array in arrays)),
        ctypes.c_double(eps),
        ctypes.c_float(slope),
        ctypes.c_float(step),
        ctypes.c_int32(zero_point),
        ctypes.c_int64(threads),
    )
