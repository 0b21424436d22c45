"""Launches of the shared channel kernels."""

from torch import Tensor

from ..checks import check_index
from ..launch import Launch, ceil_div, power_of_two

LONGEST_RUN = 4096
"""Values of a channel that a program of `channel_statistics` holds in registers at a time."""

GATES, MOST_HIDDEN = 64, 16
"""Channels and hidden values that a program of `channel_gate` holds at a time."""


def channel_statistics(
    x: Tensor,
    mean: Tensor,
    *,
    second: Tensor | None = None,
    peak: Tensor | None = None,
    part: int,
    rows_per_pivot: int | None = None,
) -> Launch:
    """Mean and spread or maximum of each part of each channel of x [N, C, D, H, W], into [N * C, parts]."""
    from .kernel import channel_statistics_kernel

    rows, splits = mean.shape
    length = x.shape[2] * x.shape[3] * x.shape[4]
    arguments = {
        "x": x,
        "mean": mean,
        "second": second,
        "peak": peak,
        "length": length,
        "part": part,
        "splits": splits,
        "rows_per_pivot": rows_per_pivot,
    }
    block = power_of_two(min(part, length), 128, LONGEST_RUN)
    return Launch(channel_statistics_kernel, (rows * splits,), arguments, {"block": block})


def channel_gate(
    first: Tensor,
    other: Tensor | None,
    narrow: tuple[Tensor, Tensor | None],
    widen: tuple[Tensor, Tensor | None],
    slope: float,
    gate: Tensor,
) -> Launch:
    """The gate [N, C] of pooled channels [N, C]; layers are (weight, bias), `slope` is the leaky ReLU's.

    `check_gate` says which layers it can take.
    """
    from .kernel import channel_gate_kernel

    samples, channels = gate.shape
    hidden = narrow[0].shape[0]
    block, block_hidden = GATES, power_of_two(hidden, 1, MOST_HIDDEN)
    tiles = ceil_div(channels, block)
    arguments = {
        "first": first,
        "other": other,
        "narrow": narrow[0],
        "narrow_bias": narrow[1],
        "widen": widen[0],
        "widen_bias": widen[1],
        "gate": gate,
        "channels": channels,
        "hidden": hidden,
        "slope": float(slope),
        "tiles": tiles,
    }
    return Launch(channel_gate_kernel, (samples * tiles,), arguments, {"block": block, "block_hidden": block_hidden})


def check_gate(kernel: str, narrow: Tensor) -> None:
    """Refuse a first layer [hidden, C], and with it its like [C, hidden], that is too large for 32-bit indexes."""
    hidden, channels = narrow.shape
    check_index(kernel, "the gate's first layer", narrow, (hidden + MOST_HIDDEN) * (channels + GATES))
