"""MSDC in Triton: each program makes a stack of slices of a run of positions of one channel.

In-plane shifts come one after the other; for each, the values of all slices are loaded once and serve
both larger branches and all the program's outputs, whose sums stay in registers. Rows of shifts are a
loop rather than unrolled, which keeps the code within an instruction cache.
"""

# mypy: disable-error-code="assignment, var-annotated"
# (tuples grow while the compiler unrolls the loops around them)
import triton
import triton.language as tl


@triton.jit
def msdc_kernel(
    x,  # [N, C, D, H, W]
    taps,  # [C, 153]
    bias,  # [C, 3]
    order,  # [C] or None
    out,  # [N, C, D, H, W]
    channels,
    depth,
    height,
    width,
    runs,  # runs of `block` positions in a slice
    stacks,  # stacks of `slices` slices in the volume
    slices: tl.constexpr,
    halo: tl.constexpr,  # slices read on either side of the stack: 2, or 0 when the stack is the volume
    block: tl.constexpr,
):
    program = tl.program_id(0)
    z = (program // runs) % stacks * slices
    row = (program // runs // stacks).to(tl.int64)  # of the output: sample and channel
    target = row % channels
    source = target
    if order is not None:
        source = tl.load(order + target).to(tl.int64)
    known = (source >= 0) & (source < channels)
    source = tl.where(known, source, 0)
    area = height * width
    plane = x + ((row - target + source) * depth + z) * area
    weights = taps + source * 153

    at = (program % runs) * block + tl.arange(0, block)
    h = at // width
    w = at % width
    three = ()  # sums of two branches, per slice
    five = ()
    for _ in tl.static_range(slices):
        three = three + (tl.full([block], 0.0, tl.float32),)
        five = five + (tl.full([block], 0.0, tl.float32),)
    for i in range(5):
        in_row = (at < area) & (h + i - 2 >= 0) & (h + i - 2 < height)
        line = plane + at + (i - 2) * width
        inner = weights + 1 + (i - 1) * 3
        for j in tl.static_range(5):
            inside = in_row & (w + (j - 2) >= 0) & (w + (j - 2) < width)
            column = ()  # values of the stack with its halo
            for s in tl.static_range(-halo, slices + halo):
                mask = inside
                if halo > 0:  # the slice may lie outside the volume
                    mask = inside & (at < tl.where((z + s >= 0) & (z + s < depth), area, 0))
                column = column + (tl.load(line + (j - 2) + s * area, mask=mask, other=0.0).to(tl.float32),)
            five = _add(five, column, weights + 28 + i * 5 + j, 25, 2, halo, slices)
            if j >= 1 and j <= 3:  # noqa: SIM102 (the compiler decides this, the program what follows)
                if (i >= 1) & (i <= 3):  # the 3 x 3 x 3 branch has no first and no last row
                    three = _add(three, column, inner + (j - 1), 9, 1, halo, slices)

    only = tl.load(weights)
    first = tl.load(bias + source * 3)
    second = tl.load(bias + source * 3 + 1)
    third = tl.load(bias + source * 3 + 2)
    place = out + (row * depth + z) * area + at
    for k in tl.static_range(slices):
        inside = at < tl.where(z + k < depth, area, 0)
        value = tl.load(plane + at + k * area, mask=inside, other=0.0).to(tl.float32)
        total = _relu6(only * value + first) + _relu6(three[k] + second) + _relu6(five[k] + third)
        total = tl.where(known, total, float("nan"))
        tl.store(place + k * area, total.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _add(sums, column, weights, step: tl.constexpr, reach: tl.constexpr, halo: tl.constexpr, slices: tl.constexpr):
    """Add what one in-plane tap contributes, along depth, to every slice's sum."""
    along = ()
    for t in tl.static_range(2 * reach + 1):
        along = along + (tl.load(weights + t * step),)
    new = ()
    for k in tl.static_range(slices):
        total = sums[k]
        for t in tl.static_range(2 * reach + 1):
            if k + t - reach + halo >= 0 and k + t - reach < slices + halo:
                total += along[t] * column[k + t - reach + halo]
        new = new + (total,)
    return new


@triton.jit
def _relu6(value):
    # Comparisons rather than minimum and maximum: a NaN stays one.
    value = tl.where(value < 0, 0.0, value)
    return tl.where(value > 6, 6.0, value)
