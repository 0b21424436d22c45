"""Channel and spatial attention in Triton: x is read for its channel means, for its maps, and to be gated."""

import triton
import triton.language as tl


@triton.jit
def position_statistics_kernel(
    x,  # [N, C, positions]
    gate,  # [N, C]
    maps,  # [N, 2, positions]: mean and maximum over the gated channels
    channels,
    length,
    runs,  # of `block` positions
    block: tl.constexpr,
    block_channels: tl.constexpr,
):
    sample = (tl.program_id(0) // runs).to(tl.int64)
    at = (tl.program_id(0) % runs) * block + tl.arange(0, block)
    lane = tl.arange(0, block_channels)
    sums = tl.full([block_channels, block], 0.0, tl.float32)
    highest = tl.full([block_channels, block], float("-inf"), tl.float32)
    for start in range(0, channels, block_channels):
        row = sample * channels + start + lane
        inside = (start + lane < channels)[:, None] & (at < length)[None, :]
        value = tl.load(x + row[:, None] * length + at[None, :], mask=inside, other=0.0).to(tl.float32)
        value *= tl.load(gate + row, mask=start + lane < channels, other=0.0)[:, None]
        sums += value
        highest = tl.where(inside & (value > highest), value, highest)
    place = maps + sample * 2 * length + at
    tl.store(place, tl.sum(sums, axis=0) / channels, mask=at < length)
    tl.store(place + length, tl.max(highest, axis=0), mask=at < length)


@triton.jit
def position_gate_kernel(
    maps,  # [N, 2, D, H, W]
    spatial,  # [2, 7, 7, 7]
    gate,  # [N, D, H, W]
    depth,
    height,
    width,
    runs,  # of `block` positions
    block: tl.constexpr,
):
    """Sigmoid of the 7x7x7 convolution; the taps along the width lie side by side in a program."""
    sample = (tl.program_id(0) // runs).to(tl.int64)
    length = depth * height * width
    at = (tl.program_id(0) % runs) * block + tl.arange(0, block)[:, None]
    z = at // width // height
    y = at // width % height
    tap = tl.arange(0, 8)[None, :]  # seven and one to spare
    in_line = (at < length) & (tap < 7) & (at % width + tap - 3 >= 0) & (at % width + tap - 3 < width)
    total = tl.full([block, 8], 0.0, tl.float32)
    means = maps + sample * 2 * length
    for i in range(7):
        in_depth = in_line & (z + i - 3 >= 0) & (z + i - 3 < depth)
        for j in range(7):
            inside = in_depth & (y + j - 3 >= 0) & (y + j - 3 < height)
            place = means + at + ((i - 3) * height + j - 3) * width + tap - 3
            weights = spatial + (i * 7 + j) * 7 + tap
            total += tl.load(place, mask=inside, other=0.0) * tl.load(weights, mask=tap < 7, other=0.0)
            total += tl.load(place + length, mask=inside, other=0.0) * tl.load(weights + 343, mask=tap < 7, other=0.0)
    at = (tl.program_id(0) % runs) * block + tl.arange(0, block)
    decided = 1.0 / (1.0 + tl.exp(-tl.sum(total, axis=1)))
    tl.store(gate + sample * length + at, decided, mask=at < length)


@triton.jit
def apply_gates_kernel(
    x,  # [N, C, positions]
    channel_gate,  # [N, C]
    position_gate,  # [N, positions]
    out,  # as x
    channels,
    length,
    runs,  # of `block` positions
    block: tl.constexpr,
):
    row = (tl.program_id(0) // runs).to(tl.int64)
    at = (tl.program_id(0) % runs) * block + tl.arange(0, block)
    value = tl.load(x + row * length + at, mask=at < length, other=0.0).to(tl.float32)
    value *= tl.load(channel_gate + row)
    value *= tl.load(position_gate + row // channels * length + at, mask=at < length, other=0.0)
    tl.store(out + row * length + at, value.to(out.dtype.element_ty), mask=at < length)
