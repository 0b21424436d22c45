"""Bidirectional cross-attention: checks, launches, and the operator mmcaf::cross_attention."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..checks import INPUTS, check_positions, check_tensor
from ..launch import Launch, ceil_div, new, path, power_of_two, run
from ..operators import operator
from . import reference

WIDEST_HEAD = 128
FEW_TOKENS = 32
"""Up to so many tokens one side stays in registers, if its keys fit FEW_BYTES."""
FEW_BYTES = 4096
Six = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def cross_attention(
    image_query: Tensor,
    image_key: Tensor,
    image_value: Tensor,
    table_query: Tensor,
    table_key: Tensor,
    table_value: Tensor,
    *,
    image_mask: Tensor | None = None,
    table_mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Image tokens attend to table tokens and the other way round, in one launch.

    When either side has at most 32 tokens (16 where a token's key takes more than 128 bytes),
    every projection is read once.

    Args:
        image_query, image_key, image_value: [B, heads, N, d], float32, float16 or bfloat16,
            contiguous, d up to 128.
        table_query, table_key, table_value: [B, heads, M, d], of the same type.
        image_mask, table_mask: bool [B, N] and [B, M]; False hides a token from the other side,
            whatever its key and value hold.
        scale: of the scores; 1 / sqrt(d) without.

    Returns:
        What the image tokens gather [B, heads, N, d], and what the table tokens gather
        [B, heads, M, d]; zero for a token to which the whole other side is hidden, or which has none.

    Raises:
        TypeError: a wrong type.
        ValueError: a wrong shape or device, or a tensor that is not contiguous.
    """
    six = (image_query, image_key, image_value, table_query, table_key, table_value)
    _check(*six, image_mask, table_mask)
    factor = image_query.shape[-1] ** -0.5 if scale is None else float(scale)
    result: tuple[Tensor, Tensor] = _call(*six, factor, image_mask, table_mask)
    return result


def launches(
    six: Six, scale: float, image_mask: Tensor | None, table_mask: Tensor | None, outs: tuple[Tensor, Tensor]
) -> list[Launch]:
    """What computes `outs`; the tensors may be on the meta device."""
    from .kernel import paired_kernel, tiled_kernel

    batch, heads, n, d = six[0].shape
    m = six[3].shape[2]
    block_d = power_of_two(d, 16)
    # Triton's interpreter would multiply the bit patterns of bfloat16.
    widen = six[0].dtype == torch.bfloat16 and six[0].device.type == "cpu"
    few = power_of_two(min(n, m), 16)
    if few <= FEW_TOKENS and few * block_d * six[0].element_size() <= FEW_BYTES:
        names = ("long_query", "long_key", "long_value", "short_query", "short_key", "short_value")
        long_mask, short_mask, long_out, short_out = image_mask, table_mask, *outs
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
        blocks = {"block_n": power_of_two(n, 16, few), "block_m": few, "block_d": block_d, "widen": widen}
        return [Launch(paired_kernel, (batch * heads,), arguments, blocks, 4 if block_d <= 32 else 8)]

    names = ("image_query", "image_key", "image_value", "table_query", "table_key", "table_value")
    block = 32 if block_d * six[0].element_size() <= 256 else 16
    tiles_n, tiles_m = ceil_div(n, block), ceil_div(m, block)
    arguments = {
        **dict(zip(names, six, strict=True)),
        "image_mask": image_mask,
        "table_mask": table_mask,
        "image_out": outs[0],
        "table_out": outs[1],
        "heads": heads,
        "n": n,
        "m": m,
        "d": d,
        "scale": scale,
        "tiles_n": tiles_n,
        "tiles_m": tiles_m,
    }
    grid = (batch * heads * (tiles_n + tiles_m),)
    return [
        Launch(
            tiled_kernel,
            grid,
            arguments,
            {"block": block, "block_d": block_d, "widen": widen},
            4 if block_d <= 32 else 8,
        )
    ]


def _compute(
    image_query: Tensor,
    image_key: Tensor,
    image_value: Tensor,
    table_query: Tensor,
    table_key: Tensor,
    table_value: Tensor,
    scale: float,
    image_mask: Tensor | None = None,
    table_mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    six = (image_query, image_key, image_value, table_query, table_key, table_value)
    _check(*six, image_mask, table_mask)
    if not path(image_query).runs_kernel:
        found = reference.cross_attention(*six, image_mask=image_mask, table_mask=table_mask, scale=scale)
        return found[0].to(image_query.dtype), found[1].to(image_query.dtype)
    outs = new(image_query, image_query.shape), new(table_query, table_query.shape)
    if image_query.shape[0] * image_query.shape[1] * max(image_query.shape[2], table_query.shape[2]):
        run(launches(six, scale, image_mask, table_mask, outs), image_query)
    return outs


def _fake(
    image_query: Tensor,
    image_key: Tensor,
    image_value: Tensor,
    table_query: Tensor,
    table_key: Tensor,
    table_value: Tensor,
    scale: float,
    image_mask: Tensor | None = None,
    table_mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    _check(image_query, image_key, image_value, table_query, table_key, table_value, image_mask, table_mask)
    return torch.empty_like(image_query), torch.empty_like(table_query)


def _check(
    image_query: Tensor,
    image_key: Tensor,
    image_value: Tensor,
    table_query: Tensor,
    table_key: Tensor,
    table_value: Tensor,
    image_mask: Tensor | None,
    table_mask: Tensor | None,
) -> None:
    name = "cross_attention"
    check_tensor(name, "image_query", image_query, ("B", "heads", "N", "d"), dtypes=INPUTS)
    batch, heads, n, d = image_query.shape
    if not 1 <= d <= WIDEST_HEAD:
        raise ValueError(
            f"{name}: image_query is {list(image_query.shape)}; expected a head size of 1 to {WIDEST_HEAD}"
        )

    def check_like_query(argument: str, tensor: Tensor, shape: Sequence[int | str]) -> None:
        check_tensor(name, argument, tensor, shape, dtypes=(image_query.dtype,), beside=image_query)

    check_like_query("image_key", image_key, image_query.shape)
    check_like_query("image_value", image_value, image_query.shape)
    check_like_query("table_query", table_query, (batch, heads, "M", d))
    check_like_query("table_key", table_key, table_query.shape)
    check_like_query("table_value", table_value, table_query.shape)
    for side, mask, tokens in (("image", image_mask, n), ("table", table_mask, table_query.shape[2])):
        check_positions(name, tokens)
        if mask is not None:
            check_tensor(name, f"{side}_mask", mask, (batch, tokens), dtypes=(torch.bool,), beside=image_query)


_compute.__name__ = "cross_attention"
_call = operator(
    _compute,
    _fake,
    autocast="activations",
    activations=("image_query", "image_key", "image_value", "table_query", "table_key", "table_value"),
)
