"""Clinical values on their way into MedFusionNet: selected, filled, standardised, compared, made into tokens."""

import torch
from torch import Tensor, nn

from .config import MedFusionConfig


class MetadataSelection(nn.Module):
    """All columns as recorded [N, columns], NaN where missing -> table [N, 2F].

    First the standardised values of the F selected columns, then for each whether its threshold is crossed, 1 or 0.
    Everything is fixed when the network is trained; see `selection.fit`.
    """

    feature_index: Tensor
    fill_value: Tensor
    mean: Tensor
    std: Tensor
    threshold: Tensor
    direction: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("feature_index", torch.arange(features))
        for name, value in (("fill_value", 0), ("mean", 0), ("std", 1), ("threshold", 0), ("direction", 1)):
            self.register_buffer(name, torch.full((features,), float(value)))

    def forward(self, metadata: Tensor) -> Tensor:
        x = metadata[:, self.feature_index]
        x = torch.where(torch.isnan(x), self.fill_value, x)
        crossed = self.direction * (x - self.threshold) >= 0
        return torch.cat([(x - self.mean) / self.std, crossed.to(x.dtype)], dim=1)


class MetadataTokenizer(nn.Module):
    """Table [N, 2F] -> one token for each selected column [N, F, D]."""

    def __init__(self, config: MedFusionConfig) -> None:
        super().__init__()
        shape = config.features, config.width
        self.value_weight = nn.Parameter(torch.randn(shape) * 0.02)
        self.threshold_weight = nn.Parameter(torch.randn(shape) * 0.02)
        self.bias = nn.Parameter(torch.zeros(shape))

    def forward(self, table: Tensor) -> Tensor:
        value, crossed = table[:, :, None].chunk(2, dim=1)
        return value * self.value_weight + crossed * self.threshold_weight + self.bias


class MetadataAttention(nn.Module):
    """The attention of the profile release: all F values as one token [N, F] -> [N, attention].

    The softmax over a single token is 1, so that query and key do nothing and the value's Linear is all that is left.
    """

    def __init__(self, config: MedFusionConfig) -> None:
        super().__init__()
        self.query = nn.Linear(config.features, config.attention)
        self.key = nn.Linear(config.features, config.attention)
        self.value = nn.Linear(config.features, config.attention)

    def forward(self, table: Tensor) -> Tensor:
        token = table[:, None]
        query, key = self.query(token), self.key(token)
        weights = (query @ key.transpose(1, 2) / query.shape[-1] ** 0.5).softmax(dim=-1)
        return (weights @ self.value(token)).mean(dim=1)
