"""Upsampling by two and depthwise convolution in Triton, without the upsampled volume in between.

Along an axis, upsampled sample 2k + 1 lies between inputs k and k + 1, and sample 2k between k - 1 and k; the first
and the last are inputs. So the three neighbours of an output lie among three inputs, and each is made from exactly
the two inputs that PyTorch makes it from, even where the weight of one is zero: what is not finite spreads as there.

Each program walks along the depth. The in-plane neighbours of its positions are interpolated once per input slice;
two input slices give an upsampled one, which at once serves the three outputs that it is a neighbour of.
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
    slices,
    block: tl.constexpr,
):
    program = tl.program_id(0)
    row = (program // runs // stacks).to(tl.int64)
    channel = row % channels
    first = (program // runs) % stacks * slices
    last = tl.minimum(first + slices, 2 * depth)  # the stack's outputs are first to last - 1
    area = 4 * height * width
    at = (program % runs) * block + tl.arange(0, block)
    h = tl.minimum(at // (2 * width), 2 * height - 1)
    w = at % (2 * width)
    across = _axis(w, width)
    down = _axis(h, height)
    weights = ()
    for tap in tl.static_range(27):
        weights = weights + (tl.load(taps + channel * 27 + tap),)
    shift = tl.load(bias + channel)

    start = tl.maximum(first - 1, 0)  # upsampled slices start to stop are neighbours of the stack's outputs
    stop = tl.minimum(last, 2 * depth - 1)
    low = tl.maximum(start - 1, 0) // 2  # upsampled slices 2k + 1 and 2k + 2 lie between inputs k and k + 1
    source = x + (row * depth + low) * height * width
    place = out + (row * 2 * depth + start - 1) * area
    before = tl.full([block], 0.0, tl.float32)  # sums of the outputs one slice back and here
    here = tl.full([block], 0.0, tl.float32)
    near = _in_plane(source, width, down, across)
    for k in range(low, tl.maximum(stop - 1, 0) // 2 + 1):
        source += tl.where(k < depth - 1, height * width, 0)
        far = _in_plane(source, width, down, across)
        for z in range(tl.where(k == 0, start, tl.maximum(2 * k + 1, start)), tl.minimum(2 * k + 2, stop) + 1):
            share = _share(z, depth)
            done = before
            before = here
            here = tl.full([block], 0.0, tl.float32)
            for i in tl.static_range(9):  # in-plane taps
                value = near[i] * (1.0 - share) + far[i] * share
                here += weights[i] * value
                before += weights[9 + i] * value
                done += weights[18 + i] * value
            _put(place + at, done + shift, at < tl.where(z > first, area, 0))
            place += area
        near = far
    _put(place + at, before + shift, at < tl.where(last == 2 * depth, area, 0))


@triton.jit
def _in_plane(source, width, down, across):
    """The 3 x 3 neighbours, within one input slice, of every position: a tuple by rows."""
    rows = ()
    for i in tl.static_range(3):
        line = source + down[i] * width
        behind = tl.load(line + across[0]).to(tl.float32)
        middle = tl.load(line + across[1]).to(tl.float32)
        ahead = tl.load(line + across[2]).to(tl.float32)
        rows = rows + (_between(behind, middle, ahead, across),)
    columns = ()
    for j in tl.static_range(3):
        columns = columns + (_between(rows[0][j], rows[1][j], rows[2][j], down),)
    found = ()
    for i in tl.static_range(3):
        for j in tl.static_range(3):
            found = found + (columns[j][i],)
    return found


@triton.jit
def _axis(position, size):
    """The inputs behind, at and ahead of an upsampled position, and how its three neighbours are made from them.

    Position 1 has position 0 as its neighbour, which is input 0 and, with weight zero, input 1: so that is `behind`.
    """
    middle = position // 2
    behind = tl.where(position < 2, tl.minimum(1, size - 1), middle - 1)
    ahead = tl.minimum(middle + 1, size - 1)
    forward = (position % 2 == 1) | (position == 0)  # the position itself lies between `middle` and `ahead`
    own = _share(position, size)
    return (
        behind,
        middle,
        ahead,
        tl.where(position == 1, 1.0, _share(position - 1, size)),
        tl.where(forward, own, 1.0 - own),
        _share(position + 1, size),
        forward,
        position > 0,
        position < 2 * size - 1,
    )


@triton.jit
def _between(behind, middle, ahead, axis):
    """The three neighbouring upsampled samples; zero in the padding."""
    first = behind * (1.0 - axis[3]) + middle * axis[3]
    second = tl.where(axis[6], ahead, behind) * axis[4] + middle * (1.0 - axis[4])
    third = middle * (1.0 - axis[5]) + ahead * axis[5]
    return tl.where(axis[7], first, 0.0), second, tl.where(axis[8], third, 0.0)


@triton.jit
def _share(position, size):
    """The weight, in an upsampled sample, of the second of the two inputs that it lies between; none in the first."""
    half = position // 2
    steps = tl.where(position % 2 == 1, size, 2 * size) - 1 - half
    return tl.where(position == 0, 0.0, steps.to(tl.float32) * (1.0 / (2 * size - 1)))


@triton.jit
def _put(place, total, mask):
    total = tl.where(total < 0, 0.0, total)
    tl.store(place, total.to(place.dtype.element_ty), mask=mask)
