"""Bidirectional cross-attention: which kernels compute a call, and with what."""

from typing import Any

import torch
from torch import Tensor

from ..launch import Launch, ceil_div, new, power_of_two

FEW_TOKENS = 32
"""Up to so many tokens one side stays in registers, if its keys fit FEW_BYTES."""
FEW_BYTES = 4096
WHOLE_HEAD = 128
"""Width up to which a program holds whole queries and keys."""
WIDE_BLOCK, WIDE_KEYS, WIDE_SLICE = 16, 32, 64
"""Of wider heads: queries and keys of a tile, and how much of the width a program gathers."""
Six = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
"""Queries, keys and values of the image, then of the table."""
Masks = tuple[Tensor | None, Tensor | None]
NAMES = ("image_query", "image_key", "image_value", "table_query", "table_key", "table_value")


def launches(
    six: Six, scale: float, image_mask: Tensor | None, table_mask: Tensor | None, outs: tuple[Tensor, Tensor]
) -> list[Launch]:
    """What computes `outs`; the tensors may be on the meta device."""
    n, d = six[0].shape[2:]
    few = power_of_two(min(n, six[3].shape[2]), 16)
    masks = image_mask, table_mask
    if d > WHOLE_HEAD:
        return _wide(six, scale, masks, outs)
    if few <= FEW_TOKENS and few * power_of_two(d, 16) * six[0].element_size() <= FEW_BYTES:
        return [_paired(six, scale, masks, outs, few)]
    return [_tiled(six, scale, masks, outs)]


def _paired(six: Six, scale: float, masks: Masks, outs: tuple[Tensor, Tensor], few: int) -> Launch:
    from .kernel import paired_kernel

    batch, heads, n, d = six[0].shape
    m = six[3].shape[2]
    names = ("long_query", "long_key", "long_value", "short_query", "short_key", "short_value")
    long_mask, short_mask, long_out, short_out = *masks, *outs
    if n < m:
        six = (*six[3:], *six[:3])
        long_mask, short_mask, long_out, short_out, n, m = short_mask, long_mask, short_out, long_out, m, n
    arguments = {
        **dict(zip(names, six, strict=True)),
        "long_mask": long_mask,
        "short_mask": short_mask,
        "long_out": long_out,
        "short_out": short_out,
        "heads": heads,
        "n": n,
        "m": m,
        "d": d,
        "scale": scale,
    }
    block_d = power_of_two(d, 16)
    blocks = {"block_n": power_of_two(n, 16, few), "block_m": few, "block_d": block_d, "widen": _widened(six[0])}
    return Launch(paired_kernel, (batch * heads,), arguments, blocks, _warps(block_d))


def _tiled(six: Six, scale: float, masks: Masks, outs: tuple[Tensor, Tensor]) -> Launch:
    from .kernel import tiled_kernel

    batch, heads, _, d = six[0].shape
    block_d = power_of_two(d, 16)
    block = 32 if block_d * six[0].element_size() <= 256 else 16
    sizes = _sizes(six, block)
    arguments = {**dict(zip(NAMES, six, strict=True)), **_ends(masks, outs), "heads": heads, **sizes, "scale": scale}
    grid = (batch * heads * (sizes["tiles_n"] + sizes["tiles_m"]),)
    constants = {"block": block, "block_d": block_d, "widen": _widened(six[0])}
    return Launch(tiled_kernel, grid, arguments, constants, _warps(block_d))


def _wide(six: Six, scale: float, masks: Masks, outs: tuple[Tensor, Tensor]) -> list[Launch]:
    """Scores of both directions, or of one if queries are keys on both sides, then what is gathered."""
    from .wide import gather_kernel, scores_kernel

    image_query, image_key, image_value, table_query, table_key, table_value = six
    batch, heads, n, d = image_query.shape
    m = table_query.shape[2]
    sizes = _sizes(six, WIDE_BLOCK)
    constants = {"block": WIDE_BLOCK, "block_d": WIDE_SLICE, "widen": _widened(image_query)}
    shared = image_query is image_key and table_query is table_key
    pairs = [(image_query, table_key)] if shared else [(image_query, table_key), (image_key, table_query)]
    made, scores = [], []
    for image, table in pairs:
        scores.append(new(image, (batch, heads, n, m), torch.float32))
        arguments = {"image": image, "table": table, "scores": scores[-1], **sizes, "scale": scale}
        grid = (batch * heads * sizes["tiles_n"] * sizes["tiles_m"],)
        made.append(Launch(scores_kernel, grid, arguments, constants))
    slices = ceil_div(d, WIDE_SLICE)
    arguments = {
        "to_table": scores[0],
        "to_image": scores[-1],
        "image_value": image_value,
        "table_value": table_value,
        **_ends(masks, outs),
        "heads": heads,
        **sizes,
        "slices": slices,
    }
    grid = (batch * heads * (sizes["tiles_n"] + sizes["tiles_m"]) * slices,)
    made.append(Launch(gather_kernel, grid, arguments, {**constants, "block_keys": WIDE_KEYS}))
    return [launch for launch in made if launch.grid[0]]


def _sizes(six: Six, block: int) -> dict[str, int]:
    """Lengths of both sides, width, and tiles of so many tokens."""
    n, d = six[0].shape[2:]
    m = six[3].shape[2]
    return {"n": n, "m": m, "d": d, "tiles_n": ceil_div(n, block), "tiles_m": ceil_div(m, block)}


def _ends(masks: Masks, outs: tuple[Tensor, Tensor]) -> dict[str, Any]:
    return {"image_mask": masks[0], "table_mask": masks[1], "image_out": outs[0], "table_out": outs[1]}


def _widened(x: Tensor) -> bool:
    """Whether to multiply in float32: Triton's interpreter would multiply the bit patterns of bfloat16."""
    return x.dtype == torch.bfloat16 and x.device.type == "cpu"


def _warps(block_d: int) -> int:
    return 4 if block_d <= 32 else 8
