"""Values that were rounded to whole numbers: pairs of QuantizeLinear and DequantizeLinear, about zero."""

from typing import NamedTuple

import numpy as np

from ..graph import Array
from ..pattern import View

MOST = 127
"""Largest whole number of a weight."""
CLOSE = 1e-5
"""Largest difference from whole numbers that is one of floating point, in steps."""


class Rounded(NamedTuple):
    """value: whole numbers of int8. step: what one of them stands for."""

    value: str
    step: float


def unrounded(view: View, name: str) -> tuple[str, Rounded | None]:
    """The value as it was before it was rounded, and what it was rounded to."""
    back = view.node(name, "DequantizeLinear")
    to = view.node(back.inputs[0], "QuantizeLinear") if back is not None else None
    if back is None or to is None or back.attributes["step"] <= 0:
        return view.origin(name), None
    return view.origin(to.inputs[0]), Rounded(back.inputs[0], back.attributes["step"])


def whole_numbers(weight: Array) -> tuple[Array, Array] | None:
    """Weights [C, ...] as whole numbers from -127 to 127 and a step [C] for each channel; None if they are none.

    They are where one of a channel's is 127 steps, as in files whose weights were rounded by their largest.
    """
    flat = weight.reshape(len(weight), -1).astype(np.float64)
    steps = np.abs(flat).max(axis=1) / MOST
    steps[steps == 0] = 1
    whole = np.rint(flat / steps[:, None])
    if np.abs(flat / steps[:, None] - whole).max(initial=0) > CLOSE * MOST:
        return None
    return whole.reshape(weight.shape).astype(np.float32), steps.astype(np.float32)
