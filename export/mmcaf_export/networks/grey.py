"""Radiographs in networks that were pretrained on colour photographs: one grey plane becomes three channels."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Normalisation:
    """What training subtracted from each channel, and then divided it by; of values from 0 to 1."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def grey_mean(self) -> float:
        """What is subtracted from the one plane that an exported network takes: the middle of the channels' means."""
        return round(sum(self.mean) / 3, 4)

    @property
    def grey_std(self) -> float:
        """What that plane is divided by."""
        return round(sum(self.std) / 3, 4)


NORMALISATIONS: Mapping[str, Normalisation] = MappingProxyType(
    {
        "imagenet": Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        "half": Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    }
)
"""Name -> channels' means and deviations; imagenet: as torchvision's pretrained networks were trained."""


class GreyChannels(nn.Module):
    """One grey plane [N, 1, H, W], less `grey_mean` and divided by `grey_std`, as three normalised channels.

    What has three channels already, as training feeds it, is passed on.
    """

    def __init__(self, normalisation: Normalisation) -> None:
        super().__init__()
        mean, std = normalisation.grey_mean, normalisation.grey_std
        channels = list(zip(normalisation.mean, normalisation.std, strict=True))
        self.scales = tuple(std / own_std for _, own_std in channels)
        self.shifts = tuple((mean - own_mean) / own_std for own_mean, own_std in channels)

    def forward(self, image: Tensor) -> Tensor:
        if image.shape[1] == len(self.scales):
            return image
        return torch.cat([image * a + b for a, b in zip(self.scales, self.shifts, strict=True)], dim=1)
