"""Joint self-attention over regions of the image, clinical values, word pieces and labels."""

import torch
from torch import Tensor, nn

from ..bert import MASKED


class SelfAttention(nn.Module):
    """One head: tokens [N, T, D] -> what each takes [N, T, D], and `mean_shares` [N, T].

    `real` [N, T] tells which are no padding, None that all are.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)

    def forward(self, tokens: Tensor, real: Tensor | None) -> tuple[Tensor, Tensor]:
        query = self.query(tokens) / tokens.shape[-1] ** 0.5
        key = self.key(tokens)
        return attend(query, key, self.value(tokens), real), mean_shares(query, key, real)


def attend(query: Tensor, key: Tensor, value: Tensor, real: Tensor | None) -> Tensor:
    """Each [N, T, D], the query already scaled -> [N, T, D]; no token takes from padding."""
    scores = query @ key.transpose(1, 2)
    if real is not None:
        scores = torch.where(real[:, None, :], scores, MASKED)
    return scores.softmax(dim=-1) @ value


def mean_shares(query: Tensor, key: Tensor, real: Tensor | None) -> Tensor:
    """The share of each token in what a token takes, on average over all that are no padding: [N, T].

    They add up to one. Every token counts alike, of whatever modality, markers and labels too. There is one head.
    The scores are computed once more, and turned, so that a runtime still finds the attention itself as one block.
    """
    scores = key @ query.transpose(1, 2)
    if real is None:
        return scores.softmax(dim=1).mean(dim=2)
    kept = real.to(scores.dtype)
    shares = torch.where(real[:, :, None], scores, MASKED).softmax(dim=1)
    return (shares * kept[:, None, :]).sum(dim=2) / kept.sum(dim=1, keepdim=True)


def real_tokens(before: int, mask: Tensor, after: int) -> Tensor:
    """Text's mask [N, L] with as many ones around it as there are tokens before and after: [N, T] bool."""
    one = torch.ones_like(mask[:, :1], dtype=torch.bool)
    return torch.cat([one.expand(-1, before), mask.bool(), one.expand(-1, after)], dim=1)
