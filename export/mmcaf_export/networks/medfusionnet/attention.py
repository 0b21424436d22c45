"""Joint self-attention over regions of the image, clinical values, word pieces and labels."""

import torch
from torch import Tensor, nn

from ..bert import MASKED


class SelfAttention(nn.Module):
    """One head: tokens [N, T, D] -> [N, T, D]; `real` [N, T] tells which are no padding, None that all are."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)

    def forward(self, tokens: Tensor, real: Tensor | None) -> Tensor:
        query = self.query(tokens) / tokens.shape[-1] ** 0.5
        return attend(query, self.key(tokens), self.value(tokens), real)


def attend(query: Tensor, key: Tensor, value: Tensor, real: Tensor | None) -> Tensor:
    """Each [N, T, D], the query already scaled -> [N, T, D]; no token takes from padding."""
    scores = query @ key.transpose(1, 2)
    if real is not None:
        scores = torch.where(real[:, None, :], scores, MASKED)
    return scores.softmax(dim=-1) @ value


def real_tokens(before: int, mask: Tensor, after: int) -> Tensor:
    """Text's mask [N, L] with as many ones around it as there are tokens before and after: [N, T] bool."""
    one = torch.ones_like(mask[:, :1], dtype=torch.bool)
    return torch.cat([one.expand(-1, before), mask.bool(), one.expand(-1, after)], dim=1)
