"""The largest value of each window of a map."""

import ctypes
from collections.abc import Sequence

from .kernel import FLOAT32, Kernel, Stored


class MaxPool(Kernel):
    """y = the largest value of each window of x, in the type of x; NaN where a window has one."""

    function = "mmcaf_max_pool"

    def __init__(
        self,
        shape: Sequence[int],
        kernel: Sequence[int],
        strides: Sequence[int],
        pads: Sequence[int] = (0, 0, 0, 0, 0, 0),
        *,
        x: Stored = FLOAT32,
    ) -> None:
        """Made for maps of one shape.

        Args:
            shape: of x, [N, D, H, W, C].
            kernel, strides: along depth, height and width.
            pads: before each of the three axes, then after each; less than the kernel.

        Raises:
            KernelsMissingError: no library of processor kernels runs here.
            ValueError: the shapes are not computed.
        """
        if (len(kernel), len(strides), len(pads)) != (3, 3, 6):
            raise ValueError(
                f"kernel {list(kernel)}, strides {list(strides)}, pads {list(pads)}; 3, 3 and 6 are expected"
            )
        before, after = pads[:3], pads[3:]
        size = [
            (length + low + high - window) // max(step, 1) + 1
            for length, low, high, window, step in zip(shape[1:-1], before, after, kernel, strides, strict=False)
        ]
        options = (ctypes.c_int64 * 12)(*kernel, *strides, *pads)
        super().__init__(shape, (shape[0], *size, shape[-1]), x, x, [options])
