"""Bidirectional cross-attention in Triton, with softmax over one tile or online over many.

`paired` keeps the side with few tokens in registers and walks once over the other: every projection
is read once, and both directions come out. `tiled` serves two long sides: a program per tile of
queries of either side, in one launch. Heads too wide for either are those of `wide`.
"""

import triton
import triton.language as tl


@triton.jit
def paired_kernel(
    long_query,  # [B * heads, N, d]
    long_key,
    long_value,
    short_query,  # [B * heads, M, d]
    short_key,
    short_value,
    long_mask,  # [B, N] or None
    short_mask,  # [B, M] or None
    long_out,  # [B * heads, N, d]
    short_out,  # [B * heads, M, d]
    heads,
    n,
    m,
    d,
    scale,
    block_n: tl.constexpr,
    block_m: tl.constexpr,
    block_d: tl.constexpr,
    widen: tl.constexpr,  # multiply in float32 whatever the type
):
    head = tl.program_id(0).to(tl.int64)
    batch = head // heads
    lane = tl.arange(0, block_d)[None, :]
    j = tl.arange(0, block_m)
    seen_short = visible(short_mask, batch * m, j, m)
    some_short = tl.max(seen_short.to(tl.int32), axis=0)
    some_long = 0
    own = head * m * d + j[:, None] * d + lane
    known = (j < m)[:, None] & (lane < d)
    known_short = seen_short[:, None] & (lane < d)
    query = read(short_query + own, known, widen)
    key = read(short_key + own, known_short, widen)
    value = read(short_value + own, known_short, widen)
    highest = tl.full([block_m], float("-inf"), tl.float32)
    weight = tl.full([block_m], 0.0, tl.float32)
    gathered = tl.full([block_m, block_d], 0.0, tl.float32)
    for start in range(0, n, block_n):
        i = start + tl.arange(0, block_n)
        seen = visible(long_mask, batch * n, i, n)
        some_long = tl.maximum(some_long, tl.max(seen.to(tl.int32), axis=0))
        there = head * n * d + i[:, None].to(tl.int64) * d + lane
        known_here = (i < n)[:, None] & (lane < d)
        known_long = seen[:, None] & (lane < d)

        far_query = read(long_query + there, known_here, widen)
        scores = tl.dot(far_query, tl.trans(key), input_precision="ieee") * scale
        scores = tl.where(seen_short[None, :], scores, float("-inf"))
        shares = tl.exp(scores - _finite(tl.max(scores, axis=1))[:, None])
        total = tl.sum(shares, axis=1)
        result = tl.dot(shares.to(value.dtype), value, input_precision="ieee") / divisor(total, some_short)[:, None]
        tl.store(long_out + there, result.to(long_out.dtype.element_ty), mask=known_here)

        far_key = read(long_key + there, known_long, widen)
        far_value = read(long_value + there, known_long, widen)
        gathered, highest, weight = _gather(query, far_key, far_value, seen, scale, gathered, highest, weight)
    gathered /= divisor(weight, some_long)[:, None]
    tl.store(short_out + own, gathered.to(short_out.dtype.element_ty), mask=known)


@triton.jit
def tiled_kernel(
    image_query,  # [B * heads, N, d]
    image_key,
    image_value,
    table_query,  # [B * heads, M, d]
    table_key,
    table_value,
    image_mask,  # [B, N] or None
    table_mask,  # [B, M] or None
    image_out,  # [B * heads, N, d]
    table_out,  # [B * heads, M, d]
    heads,
    n,
    m,
    d,
    scale,
    tiles_n,
    tiles_m,
    block: tl.constexpr,
    block_d: tl.constexpr,
    widen: tl.constexpr,  # multiply in float32 whatever the type
):
    head = (tl.program_id(0) // (tiles_n + tiles_m)).to(tl.int64)
    tile = tl.program_id(0) % (tiles_n + tiles_m)
    if tile < tiles_n:
        _attend(
            image_query, table_key, table_value, table_mask, image_out,
            head, heads, n, m, d, scale, tile, block, block_d, widen,
        )  # fmt: skip
    else:
        _attend(
            table_query, image_key, image_value, image_mask, table_out,
            head, heads, m, n, d, scale, tile - tiles_n, block, block_d, widen,
        )  # fmt: skip


@triton.jit
def _attend(
    query,
    key,
    value,
    mask,
    out,
    head,
    heads,
    queries,
    keys,
    d,
    scale,
    tile,
    block: tl.constexpr,
    block_d: tl.constexpr,
    widen: tl.constexpr,
):
    """One tile of queries over all keys of the other side."""
    lane = tl.arange(0, block_d)[None, :]
    i = tile * block + tl.arange(0, block)
    own = head * queries * d + i[:, None].to(tl.int64) * d + lane
    known = (i < queries)[:, None] & (lane < d)
    near = read(query + own, known, widen)
    highest = tl.full([block], float("-inf"), tl.float32)
    weight = tl.full([block], 0.0, tl.float32)
    gathered = tl.full([block, block_d], 0.0, tl.float32)
    some = 0
    for start in range(0, keys, block):
        j = start + tl.arange(0, block)
        seen = visible(mask, head // heads * keys, j, keys)
        some = tl.maximum(some, tl.max(seen.to(tl.int32), axis=0))
        there = head * keys * d + j[:, None].to(tl.int64) * d + lane
        known_there = seen[:, None] & (lane < d)
        far_key = read(key + there, known_there, widen)
        far_value = read(value + there, known_there, widen)
        gathered, highest, weight = _gather(near, far_key, far_value, seen, scale, gathered, highest, weight)
    gathered /= divisor(weight, some)[:, None]
    tl.store(out + own, gathered.to(out.dtype.element_ty), mask=known)


@triton.jit
def _gather(query, key, value, seen, scale, gathered, highest, weight):
    """One step of the online softmax, from projections."""
    scores = tl.dot(query, tl.trans(key), input_precision="ieee") * scale
    return softmax_step(scores, value, seen, gathered, highest, weight)


@triton.jit
def softmax_step(scores, value, seen, gathered, highest, weight):
    """One step of the online softmax: scores [queries, keys] and values [keys, d] of the next keys."""
    scores = tl.where(seen[None, :], scores, float("-inf"))
    now = tl.maximum(highest, tl.max(scores, axis=1))
    shares = tl.exp(scores - _finite(now)[:, None])
    keep = tl.exp(highest - _finite(now))
    gathered = gathered * keep[:, None] + tl.dot(shares.to(value.dtype), value, input_precision="ieee")
    return gathered, now, weight * keep + tl.sum(shares, axis=1)


@triton.jit
def read(place, mask, widen: tl.constexpr):
    value = tl.load(place, mask=mask, other=0.0)
    if widen:
        value = value.to(tl.float32)
    return value


@triton.jit
def visible(mask, base, index, length):
    seen = index < length
    if mask is not None:
        seen = seen & (tl.load(mask + base + index, mask=seen, other=0) != 0)
    return seen


@triton.jit
def _finite(highest):
    """A row without a visible key so far has no highest score; zero keeps its exponentials zero."""
    return tl.where(highest == float("-inf"), 0.0, highest)


@triton.jit
def divisor(weight, some):
    """The sum of a row's exponentials, or one where no key is visible, so that such a row gathers zero.

    Where keys are visible whose scores are all -inf, the sum is zero, and 0 / 0 is NaN, as in the reference: an
    overflow stays visible.
    """
    return tl.where(some > 0, weight, 1.0)
