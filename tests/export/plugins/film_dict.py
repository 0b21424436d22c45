"""CT volume and record, the record scaling and shifting the features (FiLM); a dict goes in and a dict comes out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcaf_engine.manifest import (
    AttentionSpec,
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
class FilmConfig:
    """slices, size: of the window, D and H = W; width: channels of the first stage; columns: of the record."""

    slices: int = 6
    size: int = 24
    width: int = 4
    columns: int = 3


class Film(nn.Module):
    """A scale and a shift per channel from the record's embedding; the scale begins at one."""

    def __init__(self, embedding: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.to_scale = nn.Linear(embedding, channels)
        self.to_shift = nn.Linear(embedding, channels)
        self.register_buffer("strength", torch.tensor(0.5))

    def forward(self, features: Tensor, embedding: Tensor) -> Tensor:
        assert features.ndim == 5, f"expected [N, C, D, H, W], got {tuple(features.shape)}"
        assert features.shape[1] == self.channels, f"expected {self.channels} channels, got {features.shape[1]}"
        scale = self.to_scale(embedding)[:, :, None, None, None]
        shift = self.to_shift(embedding)[:, :, None, None, None]
        modulated = features.clone()
        modulated.mul_(1 + self.strength * torch.tanh(scale))
        modulated.add_(shift)
        return modulated


class FilmBlock(nn.Module):
    """Two convolutions with GroupNorm, the second of them modulated, and a shortcut."""

    def __init__(self, inputs: int, outputs: int, embedding: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(2, outputs)
        self.conv2 = nn.Conv3d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(2, outputs)
        self.film = Film(embedding, outputs)
        self.act = nn.SiLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Conv3d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, features: Tensor, embedding: Tensor) -> Tensor:
        kept = self.shortcut(features)
        features = self.act(self.norm1(self.conv1(features)))
        features = self.film(self.norm2(self.conv2(features)), embedding)
        features += kept
        return self.act(features)


class RecordEncoder(nn.Module):
    """The record's columns, standardised by what the training set had, as one vector."""

    def __init__(self, columns: int, embedding: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.full((columns,), 0.5))
        self.register_buffer("spread", torch.full((columns,), 0.29))
        self.first = nn.Linear(columns, embedding)
        self.second = nn.Linear(embedding, embedding)

    def forward(self, table: Tensor) -> Tensor:
        assert table.ndim == 2 and table.shape[1] == self.centre.shape[0]
        scaled = (table - self.centre).div_(self.spread)
        hidden = F.relu_(self.first(scaled))
        return self.second(hidden)


class SpatialAttention(nn.Module):
    """One weight for each place of the last map, drawn at 3 x 3 in the plane."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv3d(channels, 1, 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        count, channels, depth, rows, columns = features.shape
        logits = self.query(features)
        weights = logits.flatten(1).softmax(dim=1).view(count, 1, depth, rows, columns)
        pooled = (features * weights).sum(dim=(2, 3, 4))
        assert pooled.shape[1] == channels
        return pooled, weights[:, 0].sum(dim=1).flatten(1)


class FilmNet(nn.Module):
    """{"image": [N, 1, D, H, W], "table": [N, F]} -> {"logit": [N, 1], "places": [N, 9]}."""

    def __init__(self, config: FilmConfig) -> None:
        super().__init__()
        width, embedding = config.width, 8
        self.record = RecordEncoder(config.columns, embedding)
        self.film_stem = nn.Conv3d(1, width, 3, stride=(1, 2, 2), padding=1)
        self.stages = nn.ModuleList(
            [
                FilmBlock(width, width, embedding, 1),
                FilmBlock(width, 2 * width, embedding, 2),
                FilmBlock(2 * width, 2 * width, embedding, 1),
            ]
        )
        self.lateral = nn.Conv3d(width, 2 * width, 1)
        self.attention = SpatialAttention(2 * width)
        self.head = nn.Linear(2 * width + embedding, 1)
        self.register_buffer("prior", torch.tensor([0.1]))

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        image, table = batch["image"], batch["table"]
        assert image.shape[0] == table.shape[0], "one record per volume is expected"
        assert image.shape[1] == 1, f"expected one channel, got {image.shape[1]}"
        embedding = self.record(table)
        features = F.relu_(self.film_stem(image))
        fine = self.stages[0](features, embedding)
        coarse = self.stages[2](self.stages[1](fine, embedding), embedding)
        enlarged = F.interpolate(coarse, size=fine.shape[2:], mode="trilinear", align_corners=False)
        enlarged += self.lateral(fine)
        reduced = F.adaptive_avg_pool3d(enlarged, (3, 3, 3))
        pooled, places = self.attention(reduced)
        joined = torch.cat([pooled, embedding], dim=1)
        logit = self.head(joined)
        logit += self.prior
        return {"places": places, "logit": logit}


class FilmEntry(NetworkEntry[FilmConfig]):
    """What the exporter needs to know."""

    name = "film-net"
    title = "FiLM network"
    signature = ("film_stem.weight", "record.centre")

    def configure(self, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> FilmConfig:
        width, columns = len(state["film_stem.weight"]), len(state["record.centre"])
        return FilmConfig(width=width, columns=columns)

    def build(self, config: FilmConfig) -> FilmNet:
        return FilmNet(config).eval()

    def tensors(self, config: FilmConfig) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        shape = ("N", 1, config.slices, config.size, config.size)
        return (
            TensorSpec(name="image", kind="volume", shape=shape),
            TensorSpec(name="table", kind="table", shape=("N", config.columns)),
        ), (
            TensorSpec(name="logit", kind="score", shape=("N", 1)),
            TensorSpec(name="places", kind="attention", shape=("N", 9)),
        )

    def example_inputs(self, config: FilmConfig, batch: int, seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        shape = (batch, 1, config.slices, config.size, config.size)
        return {
            "image": torch.rand(shape, generator=generator),
            "table": torch.rand(batch, config.columns, generator=generator),
        }

    def manifest(self, config: FilmConfig) -> dict[str, Any]:
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
            NumberField(name=f"marker_{at}", description="A marker", unit="1", minimum=0, maximum=10, lower=0, upper=10)
            for at in range(config.columns)
        )
        return {
            "name": "FiLM network",
            "description": "Whether a marker is high.",
            "preprocessing": preprocessing.model_dump(mode="json"),
            "table": TableSpec(fields=fields).model_dump(mode="json"),
            "labels": ["low", "high"],
            "attention": [AttentionSpec(output="places", title="places", grid=(3, 3)).model_dump(mode="json")],
            "aggregation": {"method": "mean"},
            "threshold": 0.5,
            "licence": "not stated",
            "intended_use": "A test.",
            "demonstration": True,
        }
