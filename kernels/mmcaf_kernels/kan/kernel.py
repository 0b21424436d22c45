"""Kolmogorov-Arnold layer in Triton, one launch.

Of the cubic B-splines at a point only four are not zero; they come from the six knots around it,
as stored. So a term takes four coefficients, whatever the number of knots.
"""

import triton
import triton.language as tl


@triton.jit
def kan_kernel(
    x,  # [N, inputs]
    knots,  # [inputs, K]
    base,  # [inputs, outputs]
    coefficients,  # [inputs, outputs, K - 4]
    out,  # [N, outputs]
    samples,
    inputs,
    outputs,
    count,  # K
    tiles,  # of `block_outputs` outputs
    block: tl.constexpr,
    block_outputs: tl.constexpr,
):
    n = (tl.program_id(0) // tiles).to(tl.int64) * block + tl.arange(0, block)[:, None]
    o = (tl.program_id(0) % tiles) * block_outputs + tl.arange(0, block_outputs)[None, :]
    total = tl.full([block, block_outputs], 0.0, tl.float32)
    for i in range(inputs):
        value = tl.load(x + n * inputs + i, mask=n < samples, other=0.0).to(tl.float32)  # [block, 1]
        weight = tl.load(base + i * outputs + o, mask=o < outputs, other=0.0)
        total += weight * (value / (1.0 + tl.exp(-value)))
        # The recursion of the splines multiplies distances from the knots by zero; an infinite one makes it NaN.
        total = tl.where(value == float("inf"), float("nan"), total)

        line = knots + i * count
        interval = tl.full([block, 1], -1, tl.int32)
        for k in range(count):
            interval += (value >= tl.load(line + k)).to(tl.int32)
        # Splines that reach beyond the knots do not exist; the knots made up for them keep denominators positive.
        a = _knot(line, interval - 2, count)
        b = _knot(line, interval - 1, count)
        c = _knot(line, interval, count)
        d = _knot(line, interval + 1, count)
        e = _knot(line, interval + 2, count)
        f = _knot(line, interval + 3, count)
        right1 = (value - c) / (d - c)
        left1 = (d - value) / (d - c)
        first = left1 * (d - value) / (d - b)
        third = right1 * (value - c) / (e - c)
        second = left1 * (value - b) / (d - b) + right1 * (e - value) / (e - c)
        first3 = first / (d - a)
        second3 = second / (e - b)
        third3 = third / (f - c)
        spline0 = first3 * (d - value)
        spline1 = first3 * (value - a) + second3 * (e - value)
        spline2 = second3 * (value - b) + third3 * (f - value)
        spline3 = third3 * (value - c)

        inside = (interval >= 0) & (interval < count - 1) & (o < outputs)
        j = interval - 3
        place = coefficients + (i * outputs + o) * (count - 4)
        total += _term(spline0, place, j, count, inside)
        total += _term(spline1, place, j + 1, count, inside)
        total += _term(spline2, place, j + 2, count, inside)
        total += _term(spline3, place, j + 3, count, inside)
    tl.store(out + n * outputs + o, total.to(out.dtype.element_ty), mask=(n < samples) & (o < outputs))


@triton.jit
def _knot(line, index, count):
    stored = tl.load(line + tl.minimum(tl.maximum(index, 0), count - 1))
    beyond = tl.minimum(index, 0) + tl.maximum(index - (count - 1), 0)
    return stored + beyond.to(tl.float32)


@triton.jit
def _term(spline, place, j, count, inside):
    known = inside & (j >= 0) & (j < count - 4)
    weight = tl.load(place + j, mask=known, other=0.0)
    return tl.where(known, spline * weight, 0.0)
