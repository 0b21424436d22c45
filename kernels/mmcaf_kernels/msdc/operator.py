"""MSDC: checks, launch, and the operator mmcaf::msdc."""

import torch
from torch import Tensor

from ..launch import Launch, ceil_div, new, path, run
from ..operators import operator
from . import cuda, reference
from .checks import check

WHOLE_DEPTH = 8
"""Up to so many slices one program makes all of a position's outputs."""


def msdc(x: Tensor, taps: Tensor, bias: Tensor, order: Tensor | None = None) -> Tensor:
    """Sum over k in {1, 3, 5} of ReLU6(depthwise convolution of size k + bias_k), zero padded, in one pass.

    Args:
        x: [N, C, D, H, W], float32, float16 or bfloat16, contiguous.
        taps: [C, 153] float32, the 1 + 27 + 125 weights of each channel (see `fold`).
        bias: [C, 3] float32.
        order: [C] int32 or int64; output channel i is channel order[i] of the sum. An entry
            outside 0 to C - 1 raises on the CPU and gives a channel of NaN on a GPU.

    Returns:
        [N, C, D, H, W] in the type of x.

    Raises:
        TypeError: a wrong type.
        ValueError: a wrong shape or device, or a tensor that is not contiguous.
    """
    check(x, taps, bias, order)
    result: Tensor = _call(x, taps, bias, order)
    return result


def launches(x: Tensor, taps: Tensor, bias: Tensor, order: Tensor | None, out: Tensor) -> list[Launch]:
    """What computes `out`; the tensors may be on the meta device."""
    from .kernel import msdc_kernel

    samples, channels, depth, height, width = x.shape
    slices = depth if depth <= WHOLE_DEPTH else 4
    area = height * width
    # The longest run that wastes at most an eighth of its lanes.
    block = max((size for size in (64, 128, 256, 512) if ceil_div(area, size) * size <= 1.125 * area), default=64)
    runs, stacks = ceil_div(area, block), ceil_div(depth, slices)
    arguments = {
        "x": x,
        "taps": taps,
        "bias": bias,
        "order": order,
        "out": out,
        "channels": channels,
        "depth": depth,
        "height": height,
        "width": width,
        "runs": runs,
        "stacks": stacks,
    }
    constants = {"slices": slices, "halo": 0 if slices == depth else 2, "block": block}
    return [Launch(msdc_kernel, (samples * channels * stacks * runs,), arguments, constants, max(1, block // 64))]


def _compute(x: Tensor, taps: Tensor, bias: Tensor, order: Tensor | None = None) -> Tensor:
    check(x, taps, bias, order)
    if order is not None and x.device.type == "cpu" and ((order < 0) | (order >= x.shape[1])).any():
        raise ValueError(f"msdc: order has entries outside 0 to {x.shape[1] - 1}")
    way = path(x)
    if not way.runs_kernel:
        return reference.msdc(x, taps, bias, order)
    out = new(x, x.shape)
    if not out.numel():
        return out
    twin = cuda.twin(x.device.index).kernel if way.name == "triton" else None
    if twin is not None and (order is None or order.dtype == torch.int32):
        twin.launch(x, taps, bias, order, out)
    else:
        run(launches(x, taps, bias, order, out), x)
    return out


def _fake(x: Tensor, taps: Tensor, bias: Tensor, order: Tensor | None = None) -> Tensor:
    check(x, taps, bias, order)
    return torch.empty_like(x)


_compute.__name__ = "msdc"
_call = operator(_compute, _fake, autocast="activations", activations=("x",))
