"""A 3D encoder and decoder with GroupNorm, a table beside it, and maps enlarged by interpolation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcaf_engine.manifest import (
    CategoryField,
    ClipScaleStep,
    NumberField,
    PreprocessingSpec,
    ResizeStep,
    SubtractStep,
    TableSpec,
    TensorSpec,
    WindowSpec,
)
from mmcaf_export.networks.entry import NetworkEntry
from mmcaf_export.networks.feature_map import FeatureMap


@dataclass(frozen=True)
class VolumeConfig:
    """slices, size: of the window, D and H = W; width: channels of the first stage; groups: of every GroupNorm."""

    slices: int = 8
    size: int = 32
    width: int = 4
    groups: int = 2


def _norm(channels: int, groups: int) -> nn.GroupNorm:
    assert channels % groups == 0, f"{channels} channels do not make {groups} groups"
    return nn.GroupNorm(groups, channels, eps=1e-5)


class ConvNormAct(nn.Sequential):
    """A convolution without bias, GroupNorm and LeakyReLU."""

    def __init__(self, inputs: int, outputs: int, groups: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            _norm(outputs, groups),
            nn.LeakyReLU(0.01, inplace=True),
        )


class Residual(nn.Module):
    """Two convolutions and the input added in place."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.body = ConvNormAct(channels, channels, groups)
        self.conv = nn.Conv3d(channels, channels, 3, padding=1, bias=False)
        self.norm = _norm(channels, groups)
        self.register_buffer("residual_scale", torch.tensor(0.7))

    def forward(self, features: Tensor) -> Tensor:
        changed = self.norm(self.conv(self.body(features)))
        changed *= self.residual_scale
        changed += features
        return F.leaky_relu_(changed, 0.01)


class Squeeze(nn.Module):
    """Channels weighed by their own means, at least a tenth of each kept."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = nn.Linear(channels, max(channels // 2, 1))
        self.up = nn.Linear(max(channels // 2, 1), channels)

    def forward(self, features: Tensor) -> Tensor:
        means = features.mean(dim=(2, 3, 4))
        gate = torch.sigmoid(self.up(F.relu_(self.down(means))))
        gate.clamp_(min=0.1)
        return features * gate[:, :, None, None, None]


class Decoder(nn.Module):
    """Coarse maps enlarged to the finest one's size and added up."""

    def __init__(self, widths: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv3d(width, channels, 1) for width in widths)
        self.weights = nn.Parameter(torch.ones(len(widths)))

    def forward(self, maps: list[Tensor]) -> Tensor:
        assert len(maps) == len(self.laterals), f"{len(maps)} maps, {len(self.laterals)} lateral convolutions"
        finest = maps[0].shape[2:]
        shares = self.weights.softmax(dim=0)
        total = self.laterals[0](maps[0])
        total *= shares[0]
        for at in range(1, len(maps)):
            lateral = self.laterals[at](maps[at])
            if lateral.shape[2:] != finest:
                lateral = F.interpolate(lateral, size=finest, mode="trilinear", align_corners=True)
            total += lateral * shares[at]
        return total


class VolumeNet(nn.Module):
    """image [N, 1, D, H, W], table [N, 3] -> logit [N, 1]."""

    def __init__(self, config: VolumeConfig) -> None:
        super().__init__()
        width, groups = config.width, config.groups
        widths = (width, 2 * width, 4 * width)
        self.vgn_stem = ConvNormAct(1, width, groups, stride=2)
        self.down = nn.ModuleList(
            [ConvNormAct(widths[at], widths[at + 1], groups, stride=2) for at in range(len(widths) - 1)]
        )
        self.blocks = nn.ModuleList([Residual(each, groups) for each in widths])
        self.squeeze = Squeeze(widths[-1])
        self.decoder = Decoder(widths, 2 * width)
        self.table = nn.Sequential(nn.Linear(3, width), nn.LayerNorm(width), nn.ReLU(inplace=True))
        self.last = _norm(2 * width, groups)
        self.head = nn.Linear(4 * width + width, 1)
        self.register_buffer("table_mask", torch.tensor([1.0, 1.0, 0.5]))

    def features(self, image: Tensor) -> Tensor:
        maps = []
        features = self.vgn_stem(image)
        for at, block in enumerate(self.blocks):
            features = block(features)
            if at == len(self.blocks) - 1:
                features = self.squeeze(features)
            maps.append(features)
            if at < len(self.down):
                features = self.down[at](features)
        return self.last(self.decoder(maps))

    def forward(self, image: Tensor, table: Tensor) -> Tensor:
        assert image.ndim == 5 and image.shape[1] == 1, f"got {tuple(image.shape)}"
        assert table.shape[1:] == (3,), f"got {tuple(table.shape)}"
        features = F.relu_(self.features(image))
        pooled = features.mean(dim=(2, 3, 4))
        peaks = features.amax(dim=(2, 3, 4))
        values = table * self.table_mask
        values[:, 1:] -= 0.1
        values[:, 0] = values[:, 0].clamp(min=0.0)
        told = self.table(values)
        joined = torch.cat([pooled, peaks, told], dim=1)
        return self.head(joined)


class VolumeEntry(NetworkEntry[VolumeConfig]):
    """What the exporter needs to know."""

    name = "volume-group-norm"
    title = "3D GroupNorm network"
    signature = ("vgn_stem.0.weight", "decoder.weights")

    def configure(self, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> VolumeConfig:
        return VolumeConfig(width=len(state["vgn_stem.0.weight"]))

    def build(self, config: VolumeConfig) -> VolumeNet:
        return VolumeNet(config).eval()

    def tensors(self, config: VolumeConfig) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        shape = ("N", 1, config.slices, config.size, config.size)
        image = TensorSpec(name="image", kind="volume", shape=shape)
        table = TensorSpec(name="table", kind="table", shape=("N", 3))
        return (image, table), (TensorSpec(name="logit", kind="score", shape=("N", 1)),)

    def example_inputs(self, config: VolumeConfig, batch: int, seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        shape = (batch, 1, config.slices, config.size, config.size)
        image = torch.rand(shape, generator=generator).sub_(0.4)
        return {"image": image, "table": torch.rand(batch, 3, generator=generator)}

    def explained(self, config: VolumeConfig) -> tuple[FeatureMap, ...]:
        return (FeatureMap("gradcam", "Grad-CAM", "last", "image"),)

    def manifest(self, config: VolumeConfig) -> dict[str, Any]:
        preprocessing = PreprocessingSpec(
            modality="CT",
            intensity="hounsfield",
            windows=WindowSpec(slices=config.slices, stride=config.slices // 2, pad_value=-1000),
            steps=(
                ResizeStep(rows=config.size, columns=config.size, rounding="none"),
                ClipScaleStep(lower=-1000, upper=600),
                SubtractStep(value=0.4),
            ),
        )
        table = TableSpec(
            fields=(
                CategoryField(name="sex", description="Sex", categories={"F": 0, "M": 1}, dicom="PatientSex"),
                NumberField(
                    name="age", description="Age", unit="years", minimum=0, maximum=120, lower=0, upper=120,
                    dicom="PatientAge",
                ),
                NumberField(name="smoking", description="Smoked", unit="1", minimum=0, maximum=200, lower=0, upper=80),
            )
        )  # fmt: skip
        return {
            "name": "3D GroupNorm network",
            "description": "Whether a nodule grows.",
            "preprocessing": preprocessing.model_dump(mode="json"),
            "table": table.model_dump(mode="json"),
            "labels": ["stable", "growing"],
            "aggregation": {"method": "max"},
            "threshold": 0.5,
            "licence": "not stated",
            "intended_use": "A test.",
            "demonstration": True,
        }
