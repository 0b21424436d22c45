"""The sum of three depthwise convolutions of sizes 1, 3 and 5, each behind a ReLU6; and that sum resized."""

import ctypes
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .kernel import FLOAT32, Floats, Kernel, Stored, floats

TAPS = 1 + 27 + 125


class MultiScaleDepthwise(Kernel):
    """y = resize(sum over k in {1, 3, 5} of ReLU6(depthwise convolution of size k of x, zero padded, + bias_k))."""

    function = "mmcaf_multi_scale_depthwise"

    def __init__(
        self,
        shape: Sequence[int],
        taps: Floats,
        bias: Floats,
        scales: Floats | None = None,
        *,
        x: Stored = FLOAT32,
        y: Stored = FLOAT32,
        resized: Sequence[int] | None = None,
    ) -> None:
        """Made for maps of one shape.

        Args:
            shape: of x, [N, D, H, W, C].
            taps: [C, 153], the 1 + 27 + 125 weights of each channel; where x is int8, the last 152 are whole numbers
                from -127 to 127.
            bias: [3, C].
            scales: [3, C], what each sum is multiplied by before its bias is added, besides the step of x; 1 if not
                given.
            resized: depth, height and width that the sum is resized to by linear interpolation that keeps the corner
                samples in place; for maps of up to 6 planes.

        Raises:
            KernelsMissingError: no library of processor kernels runs here.
            ValueError: an array has another type or shape, or the shapes are not computed.
        """
        channels = shape[-1]
        scales = np.ones((3, channels), np.float32) if scales is None else scales
        size = tuple(shape[1:4]) if resized is None else tuple(resized)
        given: list[object] = [
            (ctypes.c_int64 * 3)(*size),
            floats("taps", taps, (channels, TAPS)),
            floats("scales", scales, (3, channels)),
            floats("bias", bias, (3, channels)),
        ]
        super().__init__(shape, (shape[0], *size, channels), x, y, given)


def lay_taps(one: NDArray[np.float32], three: NDArray[np.float32], five: NDArray[np.float32]) -> Floats:
    """Weights [C, 1, k, k, k] of the three convolutions as taps [C, 153]."""
    parts = [weights.reshape(len(weights), -1) for weights in (one, three, five)]
    return np.ascontiguousarray(np.concatenate(parts, axis=1), np.float32)
