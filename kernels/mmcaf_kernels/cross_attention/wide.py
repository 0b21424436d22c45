"""Bidirectional cross-attention of heads too wide for one program, in Triton: scores first, then what is gathered.

Scores lie as [B * heads, N, M] in float32 and are summed up over slices of the width. Every program then gathers one
slice of the width for one tile of queries of either side; where both directions have the same scores, the table's
side reads the image's by columns, and they are computed once.
"""

import triton
import triton.language as tl

from .kernel import divisor, read, softmax_step, visible


@triton.jit
def scores_kernel(
    image,  # [B * heads, N, d]: queries or keys
    table,  # [B * heads, M, d]: keys or queries
    scores,  # [B * heads, N, M]
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
    tile = tl.program_id(0)
    head = (tile // (tiles_n * tiles_m)).to(tl.int64)
    i = tile // tiles_m % tiles_n * block + tl.arange(0, block)
    j = tile % tiles_m * block + tl.arange(0, block)
    row = (head * n + i)[:, None] * d
    column = (head * m + j)[:, None] * d
    products = tl.full([block, block], 0.0, tl.float32)
    for start in range(0, d, block_d):
        lane = start + tl.arange(0, block_d)[None, :]
        near = read(image + row + lane, (i < n)[:, None] & (lane < d), widen)
        far = read(table + column + lane, (j < m)[:, None] & (lane < d), widen)
        products += tl.dot(near, tl.trans(far), input_precision="ieee")
    there = (head * n + i)[:, None] * m + j[None, :]
    tl.store(scores + there, products * scale, mask=(i < n)[:, None] & (j < m)[None, :])


@triton.jit
def gather_kernel(
    to_table,  # [B * heads, N, M]: scores of image queries
    to_image,  # [B * heads, N, M]: scores of table queries
    image_value,  # [B * heads, N, d]
    table_value,  # [B * heads, M, d]
    image_mask,  # [B, N] or None
    table_mask,  # [B, M] or None
    image_out,  # [B * heads, N, d]
    table_out,  # [B * heads, M, d]
    heads,
    n,
    m,
    d,
    tiles_n,
    tiles_m,
    slices,
    block: tl.constexpr,
    block_keys: tl.constexpr,
    block_d: tl.constexpr,
    widen: tl.constexpr,  # multiply in float32 whatever the type
):
    head = (tl.program_id(0) // ((tiles_n + tiles_m) * slices)).to(tl.int64)
    tile = tl.program_id(0) // slices % (tiles_n + tiles_m)
    lane = tl.program_id(0) % slices * block_d + tl.arange(0, block_d)[None, :]
    here = head * n * m
    if tile < tiles_n:
        _take(
            to_table + here, m, 1, table_value, table_mask, image_out,
            head, heads, n, m, d, lane, tile, block, block_keys, block_d, widen,
        )  # fmt: skip
    else:
        _take(
            to_image + here, 1, m, image_value, image_mask, table_out,
            head, heads, m, n, d, lane, tile - tiles_n, block, block_keys, block_d, widen,
        )  # fmt: skip


@triton.jit
def _take(
    scores,
    query_step,
    key_step,
    value,
    mask,
    out,
    head,
    heads,
    queries,
    keys,
    d,
    lane,
    tile,
    block: tl.constexpr,
    block_keys: tl.constexpr,
    block_d: tl.constexpr,
    widen: tl.constexpr,
):
    """One slice of the width for one tile of queries, over all keys of the other side."""
    i = tile * block + tl.arange(0, block)
    row = i[:, None].to(tl.int64) * query_step
    highest = tl.full([block], float("-inf"), tl.float32)
    weight = tl.full([block], 0.0, tl.float32)
    gathered = tl.full([block, block_d], 0.0, tl.float32)
    some = 0
    for start in range(0, keys, block_keys):
        j = start + tl.arange(0, block_keys)
        seen = visible(mask, head // heads * keys, j, keys)
        some = tl.maximum(some, tl.max(seen.to(tl.int32), axis=0))
        known = (i < queries)[:, None] & seen[None, :]
        found = tl.load(scores + row + j[None, :].to(tl.int64) * key_step, mask=known, other=0.0)
        far = read(value + (head * keys + j)[:, None] * d + lane, seen[:, None] & (lane < d), widen)
        gathered, highest, weight = softmax_step(found, far, seen, gathered, highest, weight)
    gathered /= divisor(weight, some)[:, None]
    own = (head * queries + i)[:, None] * d + lane
    tl.store(out + own, gathered.to(out.dtype.element_ty), mask=(i < queries)[:, None] & (lane < d))
