"""Multi-scale cross-attention fusion of the image and table features of MMCAF-Net.

Parameter names are those of the published MMCAF-Net (models/model_utils/multiscale_fusion.py, BSF.py).
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Fusion = Literal["tokens", "mean"]
WIDTHS = (24, 12, 6)  # features at the three scales


class MultiscaleFusion(nn.Module):
    """image features [N, 24], table features [N, 24] -> [N, 2, 24] ("tokens") or [N, 24] ("mean").

    "tokens" keeps an image and a table row per scale, which is what the published 48-input head
    expects; "mean" averages the two, as the published forward is written.
    """

    def __init__(self, fusion: Fusion) -> None:
        super().__init__()
        wide, middle, narrow = WIDTHS
        self.fusion = fusion
        self.norm_img = nn.BatchNorm1d(wide)
        self.norm_tab = nn.BatchNorm1d(wide)
        self.down1 = nn.Sequential(nn.Linear(wide, middle), nn.ReLU())
        self.down2 = nn.Sequential(nn.Linear(wide, narrow), nn.ReLU())
        self.cross_attention1 = CrossAttention(wide)
        self.cross_attention2 = CrossAttention(middle)
        self.cross_attention3 = CrossAttention(narrow)
        self.sample_img1 = nn.Linear(wide, middle)
        self.sample_tab1 = nn.Linear(wide, middle)
        self.sample_img2 = nn.Linear(middle, narrow)
        self.sample_tab2 = nn.Linear(middle, narrow)
        self.SF1 = ScaleFusion(middle)
        self.SF2 = ScaleFusion(wide)

    def forward(self, image: Tensor, table: Tensor) -> Tensor:
        image = self.norm_img(image)
        table = self.norm_tab(table)
        image1, table1 = self._exchange(self.cross_attention1, image, table)
        image2, table2 = self._exchange(
            self.cross_attention2,
            self.down1(image) + self.sample_img1(image1),
            self.down1(table) + self.sample_tab1(table1),
        )
        image3, table3 = self._exchange(
            self.cross_attention3,
            self.down2(image) + self.sample_img2(image2),
            self.down2(table) + self.sample_tab2(table2),
        )
        coarse = self.SF1(self._join(image2, table2), self._join(image3, table3))
        return self.SF2(self._join(image1, table1), coarse)

    @staticmethod
    def _exchange(attention: nn.Module, image: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
        return attention(image, table), attention(table, image)

    def _join(self, image: Tensor, table: Tensor) -> Tensor:
        if self.fusion == "tokens":
            return torch.stack([image, table], dim=1)
        return (image + table) / 2


class CrossAttention(nn.Module):
    """Attention of a one-token query [N, C] over a one-token key and value [N, C] -> [N, C].

    The softmax over a single score is one whatever the score, so the published query and key
    projections cannot matter and are not built.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.v_proj = nn.Linear(width, width)

    def forward(self, query: Tensor, other: Tensor) -> Tensor:
        return query + self.v_proj(other)


class ScaleFusion(nn.Module):
    """BSF: fine [..., C], coarse [..., C/2] -> [..., C], each row weighted by its own softmax."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1x = nn.Linear(width, width)
        self.fc1y = nn.Linear(width // 2, width)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        fine = self.fc1x(fine)
        coarse = self.fc1y(coarse)
        return (fine + coarse) * (1 + F.softmax(fine * coarse, dim=-1))
