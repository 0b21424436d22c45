"""All steps of a gated LSTM, both directions at once."""

import ctypes
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .library import run

Floats = NDArray[np.float32]

BLOCK = 64
"""Columns of the recurrent weights that lie together."""


def packed(recurrent: Floats) -> Floats:
    """Recurrent weights in the order in which `gated_lstm` reads them.

    Args:
        recurrent: [2, H, 4 H], columns in parts i, f, o, c.

    Returns:
        [2, B, H, 64], B blocks of 64 columns, the last one filled up with zeros.
    """
    hidden = recurrent.shape[1]
    blocks = _blocks(hidden)
    filled = np.zeros((2, hidden, blocks * BLOCK), np.float32)
    filled[..., : 4 * hidden] = recurrent
    return np.ascontiguousarray(filled.reshape(2, hidden, blocks, BLOCK).transpose(0, 2, 1, 3))


def gated_lstm(
    inputs: Floats,
    gates: Floats,
    output: Floats,
    cell: Floats,
    weights: Floats,
    threads: int = 1,
    out: Floats | None = None,
) -> Floats:
    """A bidirectional LSTM whose input, forget and output gates are each multiplied by a gate of the step's input.

    With t = tanh(inputs + output @ recurrent), in parts i, f, o, c, a step gives cell = gate ((1 + t_f) cell +
    (1 + t_i) t_c) and output = gate (1 + t_o) tanh(cell): the gated cell with every sigmoid written as
    (1 + tanh(half)) / 2, and the halves of the sigmoids in `gates`.

    Args:
        inputs: [n, 2, N, 4 H], what each step's input adds, halved but for c; the second direction's steps in its own
            order, so that step 0 is the first of both.
        gates: [n, 2, N, H], half of the gates.
        output, cell: [2, N, H], before the first step.
        weights: `packed` of the recurrent ones, halved but for c.
        threads: from 2 on each direction has its own thread. The answer is the same, bit for bit.
        out: written to if given, [n, 2, N, H].

    Returns:
        The outputs [n, 2, N, H], in the order of `inputs`; float32, and within 1e-6 of exact arithmetic.

    Raises:
        KernelsMissingError: no library of processor kernels runs here.
        ValueError: an array is not float32, not contiguous, or of another shape.
        MemoryError: there is too little for what the kernel works in.
    """
    out = np.empty(gates.shape, np.float32) if out is None else out
    given = {"inputs": inputs, "gates": gates, "output": output, "cell": cell, "weights": weights}
    _run("mmcaf_gated_lstm", given, {"out": out}, threads)
    return out


def gated_lstm_states(
    inputs: Floats,
    gates: Floats,
    output: Floats,
    cell: Floats,
    weights: Floats,
    threads: int = 1,
    out: tuple[Floats, Floats] | None = None,
) -> tuple[Floats, Floats]:
    """What a step of `gated_lstm` makes on the way to its output, from which its gradient is made.

    Args:
        as `gated_lstm`; out: written to if given, [n, 2, N, H] and [n, 2, N, 4 H].

    Returns:
        The cells [n, 2, N, H], and t [n, 2, N, 4 H], in the order of `inputs`.

    Raises:
        KernelsMissingError, ValueError, MemoryError: as `gated_lstm`.
    """
    cells, curves = (np.empty(like.shape, np.float32) for like in (gates, inputs)) if out is None else out
    given = {"inputs": inputs, "gates": gates, "output": output, "cell": cell, "weights": weights}
    _run("mmcaf_gated_lstm_states", given, {"cells": cells, "curves": curves}, threads)
    return cells, curves


def _run(function: str, given: Mapping[str, Floats], out: Mapping[str, Floats], threads: int) -> None:
    """Call a function of the library with its arrays in order, each checked first.

    Raises:
        ValueError: one is not float32, not contiguous, or of another shape.
    """
    steps, _, cases, hidden = given["gates"].shape
    wide, own = (steps, 2, cases, 4 * hidden), (steps, 2, cases, hidden)
    shapes = {
        "inputs": wide,
        "curves": wide,
        "output": own[1:],
        "cell": own[1:],
        "weights": (2, _blocks(hidden), hidden, BLOCK),
    }
    for name, array in (arrays := {**given, **out}).items():
        shape = shapes.get(name, own)
        if array.shape != shape or array.dtype != np.float32 or not array.flags.c_contiguous:
            raise ValueError(
                f"{name} is {array.dtype} {list(array.shape)}; contiguous float32 {list(shape)} is expected"
            )
    addresses = (array.ctypes.data_as(ctypes.c_void_p) for array in arrays.values())
    sizes = (ctypes.c_int64(number) for number in (steps, cases, hidden, threads))
    run(function, *addresses, *sizes)


def _blocks(hidden: int) -> int:
    return -(-4 * hidden // BLOCK)
