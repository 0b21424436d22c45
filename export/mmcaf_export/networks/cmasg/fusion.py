"""How image and text tokens enhance each other before the LSTM reads them."""

import torch
from torch import Tensor, nn

from ..bert import MASKED
from .config import CmasgConfig


class CrossAttention(nn.Module):
    """Each modality takes from the other what is like it, adds it to itself, and is normed.

    image [N, R, d], text [N, L, d], real [N, L] bool, false at padding -> both, of the same shapes; and `mean_weights`
    [N, L] and [N, R]. Scores are scaled dot products, computed once for both directions unless there are learned
    projections.
    """

    def __init__(self, config: CmasgConfig) -> None:
        super().__init__()
        features = config.features
        self.image_norm = nn.LayerNorm(features)
        self.text_norm = nn.LayerNorm(features)
        self.projected = config.attention_projections
        if self.projected:
            self.query_projection = nn.Linear(features, features)
            self.key_projection = nn.Linear(features, features)
            self.value_projection = nn.Linear(features, features)

    def forward(self, image: Tensor, text: Tensor, real: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        scale = image.shape[-1] ** -0.5
        if self.projected:
            to_text = self.query_projection(image) @ self.key_projection(text).transpose(1, 2) * scale
            to_image = self.query_projection(text) @ self.key_projection(image).transpose(1, 2) * scale
            image_values, text_values = self.value_projection(image), self.value_projection(text)
        else:
            to_text = image @ text.transpose(1, 2) * scale
            to_image = to_text.transpose(1, 2)
            image_values, text_values = image, text
        of_text = torch.where(real[:, None, :], to_text, MASKED).softmax(dim=-1)
        new_image = self.image_norm(image + of_text @ text_values)
        of_image = to_image.softmax(dim=-1)
        new_text = self.text_norm(text + of_image @ image_values)
        return new_image, new_text, *mean_weights(of_text, of_image, real)


def mean_weights(of_text: Tensor, of_image: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """From [N, R, L] and [N, L, R], what regions take of each word piece, and word pieces of each region, on average.

    [N, L] and [N, R]; both add up to one. Every region counts alike, and every word piece, markers too; padding takes
    part on neither side. There is one head.
    """
    kept = real.to(of_image.dtype)
    return of_text.mean(dim=1), (kept[:, None, :] @ of_image).squeeze(1) / kept.sum(dim=1, keepdim=True)


class ModalitySoftmax(nn.Module):
    """Weighs image and text against each other, by one score for the mean token of each."""

    def __init__(self, config: CmasgConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, config.features).normal_(std=config.features**-0.5))

    def forward(self, image: Tensor, text: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        kept = real[:, :, None].to(text.dtype)
        means = torch.stack([image.mean(dim=1), (text * kept).sum(dim=1) / kept.sum(dim=1)], dim=1)  # [N, 2, d]
        shares = (means * self.weight).sum(dim=-1, keepdim=True).softmax(dim=1)
        return image * shares[:, :1], text * shares[:, 1:]
