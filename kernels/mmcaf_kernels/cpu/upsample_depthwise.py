"""A map doubled along each axis, a depthwise 3x3x3 convolution and a ReLU, in one pass."""

from collections.abc import Sequence

from .kernel import FLOAT32, Floats, Kernel, Stored, floats


class UpsampleDepthwise(Kernel):
    """y = ReLU(depthwise 3x3x3 convolution of x doubled along each axis, zero padded, + bias).

    Doubled by linear interpolation that keeps the corner samples in place.
    """

    function = "mmcaf_upsample_depthwise"

    def __init__(
        self, shape: Sequence[int], taps: Floats, bias: Floats, *, x: Stored = FLOAT32, y: Stored = FLOAT32
    ) -> None:
        """Made for maps of one shape.

        Args:
            shape: of x, [N, D, H, W, C].
            taps: [C, 27].
            bias: [C].

        Raises:
            KernelsMissingError: no library of processor kernels runs here.
            ValueError: an array has another type or shape, or the shapes are not computed.
        """
        channels = shape[-1]
        given = [floats("taps", taps, (channels, 27)), floats("bias", bias, (channels,))]
        doubled = (2 * length for length in shape[1:-1])
        super().__init__(shape, (shape[0], *doubled, channels), x, y, given)
