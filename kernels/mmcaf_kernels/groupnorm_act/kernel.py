"""Group norm with activation in Triton: one pass over small groups, otherwise statistics, coefficients, application.

All values are taken relative to the first one of their group, so that a mean far from zero costs no digits.
"""

import triton
import triton.language as tl


@triton.jit
def whole_group_kernel(
    x,  # [N, C, positions]
    weight,  # [C]
    bias,  # [C]
    residual,  # as x, or None
    out,  # as x
    groups,
    size,  # values in a group
    length,  # values in a channel
    eps,
    slope,
    block: tl.constexpr,
):
    """A group held in registers: one read, one write."""
    program = tl.program_id(0)
    base = program.to(tl.int64) * size
    at = tl.arange(0, block)
    inside = at < size
    pivot = tl.load(x + base).to(tl.float32)
    value = tl.load(x + base + at, mask=inside, other=0.0).to(tl.float32) - pivot
    mean = tl.sum(tl.where(inside, value, 0.0), axis=0) / size
    value = tl.where(inside, value - mean, 0.0)
    scale = 1.0 / tl.sqrt(tl.sum(value * value, axis=0) / size + eps)
    channel = (program % groups) * (size // length) + at // length
    y = value * (scale * tl.load(weight + channel, mask=inside, other=0.0))
    y += tl.load(bias + channel, mask=inside, other=0.0)
    if residual is not None:
        y += tl.load(residual + base + at, mask=inside, other=0.0).to(tl.float32)
    y = tl.where(y < 0, y * slope, y)
    tl.store(out + base + at, y.to(out.dtype.element_ty), mask=inside)


@triton.jit
def coefficients_kernel(
    mean,  # [N * C, splits], relative to the group's first value
    second,  # [N * C, splits]
    weight,  # [C]
    bias,  # [C]
    centre,  # [N, groups]: the group's mean, relative to its first value
    scale,  # [N, groups]: one over its standard deviation
    squeeze,  # [N, C] or None: mean of the normalised channel
    groups,
    channels,  # of a group
    length,
    part,
    splits,
    eps,
    block: tl.constexpr,
    block_splits: tl.constexpr,
):
    """Chan's merge of the parts of a group's channels."""
    program = tl.program_id(0)
    first = program.to(tl.int64) * channels
    s = tl.arange(0, block_splits)[None, :]
    lane = tl.arange(0, block)[:, None]
    count = tl.where(s < splits, tl.minimum(part, length - s * part), 0).to(tl.float32)
    total = 1.0 * channels * length
    sums = tl.full([block, block_splits], 0.0, tl.float32)
    for start in range(0, channels, block):
        inside = (start + lane < channels) & (s < splits)
        sums += count * tl.load(mean + (first + start + lane) * splits + s, mask=inside, other=0.0)
    merged = tl.sum(tl.sum(sums, axis=1), axis=0) / total
    sums = tl.full([block, block_splits], 0.0, tl.float32)
    for start in range(0, channels, block):
        inside = (start + lane < channels) & (s < splits)
        at = (first + start + lane) * splits + s
        apart = tl.where(inside, tl.load(mean + at, mask=inside, other=0.0) - merged, 0.0)
        sums += tl.load(second + at, mask=inside, other=0.0) + count * apart * apart
    inverse = 1.0 / tl.sqrt(tl.sum(tl.sum(sums, axis=1), axis=0) / total + eps)
    tl.store(centre + program, merged)
    tl.store(scale + program, inverse)
    if squeeze is not None:
        for start in range(0, channels, block):
            inside = (start + lane < channels) & (s < splits)
            parts = tl.load(mean + (first + start + lane) * splits + s, mask=inside, other=0.0)
            own = tl.sum(parts * count, axis=1) / length
            row = start + tl.arange(0, block)
            channel = (program % groups) * channels + row
            y = (own - merged) * inverse * tl.load(weight + channel, mask=row < channels, other=0.0)
            y += tl.load(bias + channel, mask=row < channels, other=0.0)
            tl.store(squeeze + first + row, y, mask=row < channels)


@triton.jit
def apply_kernel(
    x,  # [N, C, positions]
    weight,  # [C]
    bias,  # [C]
    centre,  # [N, groups]
    scale,  # [N, groups]
    gate,  # [N, C] or None
    residual,  # as x, or None
    out,  # as x
    all_channels,
    channels,  # of a group
    length,
    runs,  # of `block` positions in a channel
    slope,
    block: tl.constexpr,
):
    row = (tl.program_id(0) // runs).to(tl.int64)
    at = (tl.program_id(0) % runs) * block + tl.arange(0, block)
    inside = at < length
    group = row // channels
    channel = row % all_channels
    pivot = tl.load(x + group * channels * length).to(tl.float32)
    value = tl.load(x + row * length + at, mask=inside, other=0.0).to(tl.float32)
    y = (value - pivot) - tl.load(centre + group)
    y = y * (tl.load(scale + group) * tl.load(weight + channel)) + tl.load(bias + channel)
    if gate is not None:
        y *= tl.load(gate + row)
    if residual is not None:
        y += tl.load(residual + row * length + at, mask=inside, other=0.0).to(tl.float32)
    y = tl.where(y < 0, y * slope, y)
    tl.store(out + row * length + at, y.to(out.dtype.element_ty), mask=inside)
