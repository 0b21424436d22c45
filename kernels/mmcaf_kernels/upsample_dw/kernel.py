"""Upsampling by two and depthwise convolution in Triton, without the upsampled volume in between.

Three neighbouring upsampled samples lie among three neighbouring input samples, so every output reads
27 inputs. Each program visits input slices one by one: nine values per position are interpolated to
the nine in-plane neighbours, which then serve all the program's output slices, each with its own
weights along depth.
"""

# mypy: disable-error-code="assignment, var-annotated"
# (tuples grow while the compiler unrolls the loops around them)
import triton
import triton.language as tl


@triton.jit
def upsample_dw_kernel(
    x,  # [N, C, D, H, W]
    taps,  # [C, 27]
    bias,  # [C]
    out,  # [N, C, 2D, 2H, 2W]
    channels,
    depth,
    height,
    width,
    runs,  # runs of `block` positions in an output slice
    stacks,  # stacks of `slices` slices in the output
    slices: tl.constexpr,
    block: tl.constexpr,
):
    program = tl.program_id(0)
    row = (program // runs // stacks).to(tl.int64)
    channel = row % channels
    z_first = (program // runs) % stacks * slices
    z = z_first + tl.arange(0, slices)[:, None]
    at = (program % runs) * block + tl.arange(0, block)[None, :]
    area = 4 * height * width
    h = at // (2 * width)
    w = at % (2 * width)
    low_h = tl.maximum(h - 1, 0) * (height - 1) // (2 * height - 1)
    low_w = tl.maximum(w - 1, 0) * (width - 1) // (2 * width - 1)
    across = ()  # [tap][input column], along the width
    down = ()  # [tap][input row], along the height
    for tap in tl.static_range(3):
        for near in tl.static_range(3):
            across = across + (_share(w + (tap - 1), low_w + near, width),)
            down = down + (_share(h + (tap - 1), low_h + near, height),)

    total = tl.full([slices, block], 0.0, tl.float32)
    first = tl.maximum(z_first - 1, 0) * (depth - 1) // (2 * depth - 1)
    last = tl.minimum(tl.minimum(z_first + slices, 2 * depth - 1) * (depth - 1) // (2 * depth - 1) + 2, depth)
    for slice_in in range(first, last):
        source = x + (row * depth + slice_in) * height * width
        mixed = ()  # [input row][tap along the width]
        for i in tl.static_range(3):
            line = source + (low_h + i) * width + low_w
            known = (at < area) & (low_h + i < height)
            left = tl.load(line, mask=known, other=0.0).to(tl.float32)
            middle = tl.load(line + 1, mask=known & (low_w + 1 < width), other=0.0).to(tl.float32)
            right = tl.load(line + 2, mask=known & (low_w + 2 < width), other=0.0).to(tl.float32)
            for tap in tl.static_range(3):
                mixed = mixed + (across[3 * tap] * left + across[3 * tap + 1] * middle + across[3 * tap + 2] * right,)
        before = _share(z - 1, slice_in, depth)  # [slices, 1]
        here = _share(z, slice_in, depth)
        after = _share(z + 1, slice_in, depth)
        for i in tl.static_range(3):
            for j in tl.static_range(3):
                value = down[3 * i] * mixed[j] + down[3 * i + 1] * mixed[3 + j] + down[3 * i + 2] * mixed[6 + j]
                weights = taps + channel * 27 + (i * 3 + j)
                weight = tl.load(weights) * before + tl.load(weights + 9) * here + tl.load(weights + 18) * after
                total += weight * value

    total += tl.load(bias + channel)
    total = tl.where(total < 0, 0.0, total)
    place = out + (row * 2 * depth + z) * area + at
    tl.store(place, total.to(out.dtype.element_ty), mask=(z < 2 * depth) & (at < area))


@triton.jit
def _share(position, index, size):
    """What input `index` contributes to upsampled sample `position`: the hat function; zero in the padding."""
    steps = 2 * size - 1
    distance = tl.abs(position * (size - 1) - index * steps)
    inside = (position >= 0) & (position <= steps) & (distance < steps)
    return tl.where(inside, (steps - distance).to(tl.float32) / steps, 0.0)
