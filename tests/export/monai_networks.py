"""MONAI's own networks, each as a plug-in's author would use it: an image encoder beside a table, and an MLP."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from monai.networks.nets import DenseNet121, SwinUNETR, ViT
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

COLUMNS = 3
FEATURES = 8


@dataclass(frozen=True)
class EncoderConfig:
    """slices, size: of the window, D and H = W."""

    slices: int = 32
    size: int = 32


class _Fused(nn.Module):
    """Features [N, F] of an encoder, which a subclass makes, and a table [N, columns] -> logit [N, 1]."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(features + COLUMNS, 16), nn.GELU(), nn.Dropout(0.2), nn.Linear(16, 1))

    def features(self, image: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, image: Tensor, table: Tensor) -> Tensor:
        logit: Tensor = self.mlp(torch.cat([self.features(image), table], dim=1))
        return logit


class DenseNetAndTable(_Fused):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(FEATURES)
        self.dense = DenseNet121(spatial_dims=3, in_channels=1, out_channels=FEATURES, init_features=8, growth_rate=4)

    def features(self, image: Tensor) -> Tensor:
        found: Tensor = self.dense(image)
        return found


class ViTAndTable(_Fused):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(FEATURES)
        self.vit = ViT(
            in_channels=1,
            img_size=(config.slices, config.size, config.size),
            patch_size=(16, 16, 16),
            hidden_size=24,
            mlp_dim=48,
            num_layers=2,
            num_heads=4,
            classification=True,
            num_classes=FEATURES,
        )

    def features(self, image: Tensor) -> Tensor:
        found: Tensor = self.vit(image)[0]
        return found


class SwinAndTable(_Fused):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(16 * 12)
        network = SwinUNETR(in_channels=1, out_channels=2, feature_size=12, depths=(2, 1, 1, 1), spatial_dims=3)
        self.swin = network.swinViT

    def features(self, image: Tensor) -> Tensor:
        found: Tensor = self.swin(image)[-1].mean(dim=(2, 3, 4))
        return found


class _Entry(NetworkEntry[EncoderConfig]):
    """What the three have in common."""

    network: type[_Fused]
    dead = (r".*\.num_batches_tracked",)

    def configure(self, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> EncoderConfig:
        return EncoderConfig()

    def build(self, config: EncoderConfig) -> nn.Module:
        return self.network(config).eval()

    def tensors(self, config: EncoderConfig) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        image = TensorSpec(name="image", kind="volume", shape=("N", 1, config.slices, config.size, config.size))
        table = TensorSpec(name="table", kind="table", shape=("N", COLUMNS))
        return (image, table), (TensorSpec(name="logit", kind="score", shape=("N", 1)),)

    def example_inputs(self, config: EncoderConfig, batch: int, seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        shape = (batch, 1, config.slices, config.size, config.size)
        return {
            "image": torch.randint(0, 9, shape, generator=generator) / 8,
            "table": torch.rand((batch, COLUMNS), generator=generator),
        }

    def manifest(self, config: EncoderConfig) -> dict[str, Any]:
        preprocessing = PreprocessingSpec(
            modality="CT",
            intensity="hounsfield",
            windows=WindowSpec(slices=config.slices, stride=config.slices, pad_value=-1000),
            steps=(
                ResizeStep(rows=config.size, columns=config.size, rounding="none"),
                ClipScaleStep(lower=-1000, upper=400),
            ),
        )
        fields = [
            NumberField(name=f"marker_{at}", description="x", unit="1", minimum=0, maximum=9, lower=0, upper=1)
            for at in range(COLUMNS)
        ]
        return {
            "name": self.title,
            "description": "One of MONAI's networks beside a table.",
            "preprocessing": preprocessing.model_dump(mode="json"),
            "table": TableSpec(fields=tuple(fields)).model_dump(mode="json"),
            "labels": ["no", "yes"],
            "threshold": 0.5,
            "aggregation": {"method": "max"},
            "licence": "not stated",
            "intended_use": "An example with random weights.",
            "demonstration": True,
        }


class DenseNetEntry(_Entry):
    name = "monai-densenet121"
    title = "DenseNet121 and table"
    signature = ("dense.features.conv0.weight", "mlp.3.weight")
    network = DenseNetAndTable


class ViTEntry(_Entry):
    name = "monai-vit"
    title = "ViT and table"
    signature = ("vit.cls_token", "mlp.3.weight")
    network = ViTAndTable


class SwinEntry(_Entry):
    name = "monai-swin"
    title = "Swin encoder and table"
    signature = ("swin.patch_embed.proj.weight", "mlp.3.weight")
    network = SwinAndTable
