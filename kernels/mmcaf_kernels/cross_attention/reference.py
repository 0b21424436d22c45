"""Bidirectional cross-attention in plain PyTorch: the meaning of the kernels."""

import torch
from torch import Tensor

from ..launch import float32_unless_double


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
    """Image tokens attend to table tokens and the other way round, from the same projections.

    Args:
        image_query, image_key, image_value: [B, heads, N, d].
        table_query, table_key, table_value: [B, heads, M, d].
        image_mask, table_mask: bool [B, N] and [B, M]; False hides a token from the other side,
            whatever its key and value hold.
        scale: of the scores; 1 / sqrt(d) without.

    Returns:
        What the image tokens gather [B, heads, N, d], and what the table tokens gather
        [B, heads, M, d]; zero for a token to which the whole other side is hidden.
    """
    scale = image_query.shape[-1] ** -0.5 if scale is None else scale
    return (
        _attend(image_query, table_key, table_value, table_mask, scale),
        _attend(table_query, image_key, image_value, image_mask, scale),
    )


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    query, key, value = (float32_unless_double(part) for part in (query, key, value))
    seen = torch.ones(key.shape[0], key.shape[2], dtype=torch.bool, device=key.device) if mask is None else mask
    seen = seen[:, None, None, :]  # [B, 1, 1, keys]
    column = seen.transpose(2, 3)
    scores = (query @ key.where(column, 0).transpose(2, 3)) * scale
    if not key.shape[2]:
        return torch.zeros_like(query)
    highest = scores.masked_fill(~seen, -torch.inf).amax(dim=-1, keepdim=True)
    weights = torch.where(seen, (scores - highest).exp(), 0)
    total = weights.sum(dim=-1, keepdim=True)
    return torch.where(seen.any(dim=-1, keepdim=True), weights @ value.where(column, 0) / total, 0)
