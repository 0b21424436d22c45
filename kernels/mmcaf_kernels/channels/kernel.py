"""Statistics of channels and gates computed from them, in Triton."""

import triton
import triton.language as tl


@triton.jit
def channel_statistics_kernel(
    x,  # [rows, length]
    mean,  # [rows, splits]
    second,  # [rows, splits] or None: sum of squared differences from the part's mean
    peak,  # [rows, splits] or None
    length,
    part,  # length of a part; the last may be shorter, none is empty
    splits,
    rows_per_pivot,  # values are taken relative to the first value of so many rows; None: as they are
    block: tl.constexpr,
):
    """Per part of a row: mean, spread, maximum. Two passes over a run held in registers, Chan's merge between runs."""
    program = tl.program_id(0)
    row = (program // splits).to(tl.int64)
    start = (program % splits) * part
    stop = tl.minimum(start + part, length)
    pivot = 0.0
    if rows_per_pivot is not None:
        pivot = tl.load(x + row // rows_per_pivot * rows_per_pivot * length).to(tl.float32)
    total = 0.0
    merged = 0.0
    spread = 0.0
    highest = float("-inf")
    for position in range(start, stop, block):
        at = position + tl.arange(0, block)
        inside = at < stop
        count = 1.0 * tl.minimum(block, stop - position)
        value = tl.load(x + row * length + at, mask=inside, other=0.0).to(tl.float32) - pivot
        own = tl.sum(tl.where(inside, value, 0.0), axis=0) / count
        share = count / (total + count)
        if second is not None:
            apart = own - merged
            value_apart = tl.where(inside, value - own, 0.0)
            spread += tl.sum(value_apart * value_apart, axis=0) + apart * apart * total * share
            merged += apart * share
        else:  # an infinite mean stays so, which the difference of two means would not
            merged = merged * (1.0 - share) + own * share
        if peak is not None:
            highest = tl.maximum(highest, tl.max(tl.where(inside, value, float("-inf")), axis=0))
        total += count
    tl.store(mean + program, merged)
    if second is not None:
        tl.store(second + program, spread)
    if peak is not None:
        tl.store(peak + program, highest)


@triton.jit
def channel_gate_kernel(
    first,  # [N, C]
    other,  # [N, C] or None
    narrow,  # [hidden, C]
    narrow_bias,  # [hidden] or None
    widen,  # [C, hidden]
    widen_bias,  # [C] or None
    gate,  # [N, C]
    channels,
    hidden,
    slope,
    tiles,  # of `block` channels
    block: tl.constexpr,
    block_hidden: tl.constexpr,
):
    """sigmoid(widen act(narrow first) [+ widen act(narrow other)]); each program makes `block` gates of a sample."""
    sample = (tl.program_id(0) // tiles).to(tl.int64)
    c = (tl.program_id(0) % tiles) * block + tl.arange(0, block)
    total = tl.full([block], 0.0, tl.float32)
    for start in range(0, hidden, block_hidden):
        h = start + tl.arange(0, block_hidden)
        sum_first = tl.full([block_hidden], 0.0, tl.float32)
        sum_other = tl.full([block_hidden], 0.0, tl.float32)
        for base in range(0, channels, block):
            k = base + tl.arange(0, block)
            inside = (h < hidden)[:, None] & (k < channels)[None, :]
            weight = tl.load(narrow + h[:, None] * channels + k[None, :], mask=inside, other=0.0)
            pooled = tl.load(first + sample * channels + k, mask=k < channels, other=0.0)
            sum_first += tl.sum(weight * pooled[None, :], axis=1)
            if other is not None:
                pooled = tl.load(other + sample * channels + k, mask=k < channels, other=0.0)
                sum_other += tl.sum(weight * pooled[None, :], axis=1)
        if narrow_bias is not None:
            shift = tl.load(narrow_bias + h, mask=h < hidden, other=0.0)
            sum_first += shift
            sum_other += shift
        active = _activated(sum_first, slope)
        if other is not None:
            active += _activated(sum_other, slope)
        active = tl.where(h < hidden, active, 0.0)  # not zero by itself where a pooled value is not finite
        inside = (c < channels)[:, None] & (h < hidden)[None, :]
        weight = tl.load(widen + c[:, None] * hidden + h[None, :], mask=inside, other=0.0)
        total += tl.sum(weight * active[None, :], axis=1)
    if widen_bias is not None:
        total += tl.load(widen_bias + c, mask=c < channels, other=0.0)
    tl.store(gate + sample * channels + c, 1.0 / (1.0 + tl.exp(-total)), mask=c < channels)


@triton.jit
def _activated(value, slope):
    """Leaky ReLU; with a slope of zero ReLU, which makes zero of -inf too."""
    return tl.where(value < 0, tl.where(slope == 0.0, 0.0, value * slope), value)
