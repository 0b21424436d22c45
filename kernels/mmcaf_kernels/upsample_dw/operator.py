"""Upsampling by two and depthwise convolution: checks, launch, and the operator mmcaf::upsample_dw."""

from torch import Tensor

from ..checks import check_positions, check_tensor, check_volume
from ..launch import Launch, ceil_div, new, path, power_of_two, run
from ..operators import operator
from . import reference


def upsample_dw(x: Tensor, taps: Tensor, bias: Tensor) -> Tensor:
    """ReLU(depthwise 3x3x3 of x upsampled by two, + bias); the upsampled volume is never written.

    Upsampling is trilinear with corner samples kept in place (align_corners=True); the convolution
    pads with zeros.

    Args:
        x: [N, C, D, H, W], float32, float16 or bfloat16, contiguous.
        taps: [C, 27] float32 (see `fold`).
        bias: [C] float32.

    Returns:
        [N, C, 2D, 2H, 2W] in the type of x.

    Raises:
        TypeError: a wrong type.
        ValueError: a wrong shape or device, or a tensor that is not contiguous.
    """
    _check(x, taps, bias)
    result: Tensor = _call(x, taps, bias)
    return result


def launches(x: Tensor, taps: Tensor, bias: Tensor, out: Tensor) -> list[Launch]:
    """What computes `out`; the tensors may be on the meta device."""
    from .kernel import upsample_dw_kernel

    samples, channels, depth, height, width = x.shape
    slices = min(2 * depth, 8)
    area = 4 * height * width
    block = power_of_two(area, 64, 256)
    runs, stacks = ceil_div(area, block), ceil_div(2 * depth, slices)
    arguments = {
        "x": x,
        "taps": taps,
        "bias": bias,
        "out": out,
        "channels": channels,
        "depth": depth,
        "height": height,
        "width": width,
        "runs": runs,
        "stacks": stacks,
        "slices": slices,
    }
    grid = (samples * channels * stacks * runs,)
    return [Launch(upsample_dw_kernel, grid, arguments, {"block": block}, block // 32)]


def _compute(x: Tensor, taps: Tensor, bias: Tensor) -> Tensor:
    _check(x, taps, bias)
    if x.numel() and not path(x).runs_kernel:
        return reference.upsample_dw(x, taps, bias)
    out = _doubled(x)
    if out.numel():
        run(launches(x, taps, bias, out), x)
    return out


def _fake(x: Tensor, taps: Tensor, bias: Tensor) -> Tensor:
    _check(x, taps, bias)
    return _doubled(x)


def _doubled(x: Tensor) -> Tensor:
    samples, channels, depth, height, width = x.shape
    return new(x, (samples, channels, 2 * depth, 2 * height, 2 * width))


def _check(x: Tensor, taps: Tensor, bias: Tensor) -> None:
    name = "upsample_dw"
    check_volume(name, x)
    channels, *sides = x.shape[1:]
    check_positions(name, 8 * sides[0] * sides[1] * sides[2])
    check_tensor(name, "taps", taps, (channels, 27), beside=x)
    check_tensor(name, "bias", bias, (channels,), beside=x)


_compute.__name__ = "upsample_dw"
_call = operator(_compute, _fake, autocast="activations", activations=("x",))
