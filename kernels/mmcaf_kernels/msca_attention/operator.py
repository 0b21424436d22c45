"""Channel and spatial attention: checks, launches, and the operator mmcaf::msca_attention."""

import torch
from torch import Tensor

from ..channels.launches import channel_gate, channel_statistics, check_gate
from ..checks import check_tensor, check_volume
from ..launch import Launch, ceil_div, new, path, power_of_two, run
from ..operators import operator
from . import reference


def msca_attention(x: Tensor, narrow: Tensor, widen: Tensor, spatial: Tensor) -> Tensor:
    """Channel attention, then spatial attention, of the E3D-MSCA blocks.

    Args:
        x: [N, C, D, H, W], float32, float16 or bfloat16, contiguous, no axis but N empty.
        narrow: [hidden, C] float32 and widen: [C, hidden] float32; a channel's gate is the sigmoid
            of widen relu(narrow mean) + widen relu(narrow maximum).
        spatial: [2, 7, 7, 7] float32; a position's gate is the sigmoid of its convolution with the
            mean and the maximum over the gated channels, zero padded.

    Returns:
        [N, C, D, H, W] in the type of x.

    Raises:
        TypeError: a wrong type.
        ValueError: a wrong shape or device, or a tensor that is not contiguous.
    """
    _check(x, narrow, widen, spatial)
    result: Tensor = _call(x, narrow, widen, spatial)
    return result


def launches(x: Tensor, narrow: Tensor, widen: Tensor, spatial: Tensor, out: Tensor) -> list[Launch]:
    """What computes `out`; the tensors may be on the meta device."""
    from .kernel import apply_gates_kernel, position_gate_kernel, position_statistics_kernel

    samples, channels, depth, height, width = x.shape
    length = depth * height * width
    mean, peak = (new(x, (samples * channels, 1), torch.float32) for _ in range(2))
    gate = new(x, (samples, channels), torch.float32)
    maps = new(x, (samples, 2, length), torch.float32)
    position_gate = new(x, (samples, length), torch.float32)

    tile = 32 if length <= 4096 else 64
    runs = ceil_div(length, tile)
    pool = {"x": x, "gate": gate, "maps": maps, "channels": channels, "length": length, "runs": runs}
    pool_tile = {"block": tile, "block_channels": power_of_two(channels, 1, 2048 // tile)}

    decide_runs = ceil_div(length, 32)
    sides = {"depth": depth, "height": height, "width": width}
    decide = {"maps": maps, "spatial": spatial, "gate": position_gate, **sides, "runs": decide_runs}

    block = power_of_two(length, 128, 1024)
    rows_runs = ceil_div(length, block)
    ends = {"x": x, "channel_gate": gate, "position_gate": position_gate, "out": out}
    apply = {**ends, "channels": channels, "length": length, "runs": rows_runs}
    return [
        channel_statistics(x, mean, peak=peak, part=length),
        channel_gate(mean, peak, (narrow, None), (widen, None), 0.0, gate),
        Launch(position_statistics_kernel, (samples * runs,), pool, pool_tile),
        Launch(position_gate_kernel, (samples * decide_runs,), decide, {"block": 32}),
        Launch(apply_gates_kernel, (samples * channels * rows_runs,), apply, {"block": block}),
    ]


def _compute(x: Tensor, narrow: Tensor, widen: Tensor, spatial: Tensor) -> Tensor:
    _check(x, narrow, widen, spatial)
    if x.numel() and not path(x).runs_kernel:
        return reference.msca_attention(x, narrow, widen, spatial)
    out = new(x, x.shape)
    if out.numel():
        run(launches(x, narrow, widen, spatial, out), x)
    return out


def _fake(x: Tensor, narrow: Tensor, widen: Tensor, spatial: Tensor) -> Tensor:
    _check(x, narrow, widen, spatial)
    return torch.empty_like(x)


def _check(x: Tensor, narrow: Tensor, widen: Tensor, spatial: Tensor) -> None:
    name = "msca_attention"
    check_volume(name, x)
    channels, *sides = x.shape[1:]
    if min(channels, *sides) == 0:
        raise ValueError(f"{name}: x is {list(x.shape)}; expected no axis but the first to be empty")
    check_tensor(name, "narrow", narrow, ("hidden", channels), beside=x)
    check_tensor(name, "widen", widen, (channels, narrow.shape[0]), beside=x)
    check_gate(name, narrow)
    side = 2 * reference.REACH + 1
    check_tensor(name, "spatial", spatial, (2, side, side, side), beside=x)


_compute.__name__ = "msca_attention"
_call = operator(_compute, _fake, autocast="activations", activations=("x",))
