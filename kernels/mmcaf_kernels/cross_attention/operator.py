"""Bidirectional cross-attention: checks, launches, and the operator mmcaf::cross_attention."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..checks import INPUTS, check_positions, check_tensor
from ..launch import new, path, run
from ..operators import operator
from . import reference
from .plan import launches

WIDEST_HEAD = 512


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
    """Image tokens attend to table tokens and the other way round, in one launch for heads up to 128 wide.

    When either side has at most 32 tokens (16 where a token's key takes more than 128 bytes),
    every projection is read once. Wider heads take two launches if on either side queries and keys are one and the
    same tensor, whose scores serve both directions, otherwise three.

    Args:
        image_query, image_key, image_value: [B, heads, N, d], float32, float16 or bfloat16,
            contiguous, d up to 512.
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
