"""Two heads as for survival: hazards of each interval, and a risk that is made of them; one answer takes one score.

`TwoHeadsEntry` declares an output that the network has not, and is refused; `RiskEntry` answers with the risk and says
that nothing is made of the hazards.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcaf_engine.manifest import (
    ClipScaleStep,
    NumberField,
    PreprocessingSpec,
    ResizeStep,
    TableSpec,
    TensorSpec,
    WindowSpec,
)
from mmcaf_export.networks.entry import NetworkEntry


@dataclass(frozen=True)
class SurvivalConfig:
    """slices, size: of the window, D and H = W; width: channels; columns: of the record; intervals: of time."""

    slices: int = 4
    size: int = 24
    width: int = 4
    columns: int = 3
    intervals: int = 5


class DepthwiseBlock(nn.Module):
    """A depthwise and a pointwise convolution with GroupNorm, and what came in added to it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv3d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.norm = nn.GroupNorm(1, channels)
        self.expand = nn.Conv3d(channels, 2 * channels, 1)
        self.reduce = nn.Conv3d(2 * channels, channels, 1)
        self.register_buffer("layer_scale", torch.full((1, channels, 1, 1, 1), 0.3))

    def forward(self, features: Tensor) -> Tensor:
        assert features.shape[1] == self.norm.num_channels, f"got {features.shape[1]} channels"
        changed = self.norm(self.depthwise(features))
        changed = self.reduce(F.gelu(self.expand(changed)))
        changed *= self.layer_scale
        changed += features
        return changed


class Pyramid(nn.Module):
    """Means over the volume at three scales, brought to one size and joined."""

    def __init__(self, channels: int, scales: tuple[int, ...] = (1, 2, 4)) -> None:
        super().__init__()
        self.scales = scales
        self.reduce = nn.ModuleList(nn.Conv3d(channels, channels // 2, 1) for _ in scales)
        self.norm = nn.GroupNorm(2, len(scales) * (channels // 2))

    def forward(self, features: Tensor) -> Tensor:
        size = features.shape[2:]
        levels = []
        for scale, reduce in zip(self.scales, self.reduce, strict=True):
            pooled = reduce(F.adaptive_avg_pool3d(features, (min(scale, 2), scale, scale)))
            levels.append(F.interpolate(pooled, size=size, mode="trilinear", align_corners=False))
        joined = torch.cat(levels, dim=1)
        assert joined.shape[1] == self.norm.num_channels
        return F.relu_(self.norm(joined))


class RecordEncoder(nn.Module):
    """The record, standardised by the training set's means and spreads."""

    def __init__(self, columns: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((columns,), 0.5))
        self.register_buffer("std", torch.full((columns,), 0.3))
        self.layers = nn.Sequential(nn.Linear(columns, width), nn.ELU(inplace=True), nn.Linear(width, width))

    def forward(self, table: Tensor) -> Tensor:
        assert table.shape[1] == len(self.mean), f"got {table.shape[1]} columns"
        return self.layers((table - self.mean).div_(self.std))


class HazardHead(nn.Module):
    """Features -> conditional hazard of each interval, [N, intervals]."""

    def __init__(self, inputs: int, intervals: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, 8)
        self.out = nn.Linear(8, intervals)

    def forward(self, features: Tensor) -> Tensor:
        return torch.sigmoid(self.out(F.relu_(self.hidden(features))))


class SurvivalNet(nn.Module):
    """{"image": [N, 1, D, H, W], "table": [N, F]} -> {"heads": {"hazards": [N, T], "risk": [N, 1]}}."""

    def __init__(self, config: SurvivalConfig) -> None:
        super().__init__()
        width = config.width
        self.surv_stem = nn.Conv3d(1, width, 3, stride=(1, 2, 2), padding=1)
        self.blocks = nn.Sequential(DepthwiseBlock(width), DepthwiseBlock(width))
        self.widen = nn.Conv3d(width, 2 * width, 2, stride=2)
        self.deep = nn.Sequential(DepthwiseBlock(2 * width), DepthwiseBlock(2 * width))
        self.pyramid = Pyramid(2 * width)
        self.record = RecordEncoder(config.columns, width)
        joined = 3 * width + width
        self.hazard_head = HazardHead(joined, config.intervals)
        self.risk_head = nn.Linear(joined + 1, 1)
        self.register_buffer("midpoints", torch.arange(config.intervals).float() + 0.5)

    def features(self, image: Tensor) -> Tensor:
        assert image.ndim == 5 and image.shape[1] == 1, f"got {tuple(image.shape)}"
        features = self.blocks(F.relu_(self.surv_stem(image)))
        features = self.deep(self.widen(features))
        return self.pyramid(features).mean(dim=(2, 3, 4))

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        image, table = batch["image"], batch["table"]
        assert len(image) == len(table), "one record per volume is expected"
        joined = torch.cat([self.features(image), self.record(table)], dim=1)
        hazards = self.hazard_head(joined)
        alive = torch.cumprod(1 - hazards, dim=1)
        expected = (alive * self.midpoints).sum(dim=1, keepdim=True)
        expected /= self.midpoints.sum()
        risk = self.risk_head(torch.cat([joined, expected], dim=1))
        return {"heads": {"hazards": hazards, "risk": risk}}


class TwoHeadsEntry(NetworkEntry[SurvivalConfig]):
    """It declares an output that the network does not give."""

    name = "survival"
    title = "Two heads"
    signature = ("surv_stem.weight", "hazard_head.out.weight")

    def configure(self, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> SurvivalConfig:
        columns, intervals = len(state["record.mean"]), len(state["hazard_head.out.bias"])
        return SurvivalConfig(width=len(state["surv_stem.weight"]), columns=columns, intervals=intervals)

    def build(self, config: SurvivalConfig) -> SurvivalNet:
        return SurvivalNet(config).eval()

    def tensors(self, config: SurvivalConfig) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        shape = ("N", 1, config.slices, config.size, config.size)
        image = TensorSpec(name="image", kind="volume", shape=shape)
        table = TensorSpec(name="table", kind="table", shape=("N", config.columns))
        return (image, table), (TensorSpec(name="event", kind="score", shape=("N", 1)),)

    def example_inputs(self, config: SurvivalConfig, batch: int, seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        shape = (batch, 1, config.slices, config.size, config.size)
        image = torch.rand(shape, generator=generator)
        return {"image": image, "table": torch.rand(batch, config.columns, generator=generator)}

    def manifest(self, config: SurvivalConfig) -> dict[str, Any]:
        preprocessing = PreprocessingSpec(
            modality="CT",
            intensity="hounsfield",
            windows=WindowSpec(slices=config.slices, stride=config.slices, pad_value=-1000),
            steps=(
                ResizeStep(rows=config.size, columns=config.size, rounding="none"),
                ClipScaleStep(lower=-1000, upper=400),
            ),
        )
        fields = tuple(
            NumberField(name=f"score_{at}", description="A score", unit="1", minimum=0, maximum=10, lower=0, upper=10)
            for at in range(config.columns)
        )
        return {
            "name": "Two heads",
            "description": "Whether the risk is high.",
            "preprocessing": preprocessing.model_dump(mode="json"),
            "table": TableSpec(fields=fields).model_dump(mode="json"),
            "labels": ["low risk", "high risk"],
            "aggregation": {"method": "max"},
            "threshold": 0.5,
            "licence": "not stated",
            "intended_use": "A test.",
            "demonstration": True,
        }


class RiskEntry(TwoHeadsEntry):
    """The score is the risk; the hazards are left out of the bundle."""

    unused_outputs = ("hazards",)

    def tensors(self, config: SurvivalConfig) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        inputs, _outputs = super().tensors(config)
        return inputs, (TensorSpec(name="risk", kind="score", shape=("N", 1)),)
