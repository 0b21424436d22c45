"""A 3x3x3 convolution in groups of 4, 8 or 16 channels, clipped."""

import ctypes
import math
from collections.abc import Sequence

import numpy as np

from .kernel import FLOAT32, Floats, Kernel, Stored, floats

GROUPS, STRIDES = (4, 8, 16), (1, 2)


class GroupedConvolution(Kernel):
    """y = clip(convolution of x, zero padded by one, + bias), as many channels in a group of y as of x."""

    function = "mmcaf_grouped_convolution"

    def __init__(
        self,
        shape: Sequence[int],
        taps: Floats,
        bias: Floats | None = None,
        scales: Floats | None = None,
        *,
        stride: int = 1,
        limits: tuple[float, float] = (-math.inf, math.inf),
        x: Stored = FLOAT32,
        y: Stored = FLOAT32,
    ) -> None:
        """Made for maps of one shape.

        Args:
            shape: of x, [N, D, H, W, C].
            taps: [C, group, 3, 3, 3]; where x is int8, whole numbers from -127 to 127.
            bias: [C]; 0 if not given.
            scales: [C], what each sum is multiplied by before its bias is added, besides the step of x; 1 if not given.
            stride: along each axis, 1 or 2.
            limits: what y is clipped to.

        Raises:
            KernelsMissingError: no library of processor kernels runs here.
            ValueError: an array has another type or shape, or the shapes are not computed.
        """
        channels, group = shape[-1], taps.shape[1] if taps.ndim > 1 else 0
        bias = np.zeros(channels, np.float32) if bias is None else bias
        scales = np.ones(channels, np.float32) if scales is None else scales
        given: list[object] = [
            (ctypes.c_int64 * 2)(group, stride),
            (ctypes.c_float * 2)(*limits),
            floats("taps", taps, (channels, group, 3, 3, 3)),
            floats("scales", scales, (channels,)),
            floats("bias", bias, (channels,)),
        ]
        size = ((length - 1) // max(stride, 1) + 1 for length in shape[1:-1])
        super().__init__(shape, (shape[0], *size, channels), x, y, given)
