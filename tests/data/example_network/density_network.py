"""A network of another package: is the chest on this CT dense or airy?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmcaf_engine.manifest import ClipScaleStep, PreprocessingSpec, ResizeStep, TensorSpec, WindowSpec
from mmcaf_export.networks.entry import NetworkEntry
from mmcaf_export.networks.feature_map import FeatureMap
from mmcaf_export.rewrites.batch_norm import REWRITE as BATCH_NORM


@dataclass(frozen=True)
class DensityConfig:
    """slices, size: of the window, D and H = W; width: channels of the first convolution."""

    slices: int = 8
    size: int = 32
    width: int = 4


class DensityNet(nn.Module):
    """image [N, 1, D, H, W] -> logit [N, 1]."""

    def __init__(self, config: DensityConfig) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, config.width, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm3d(config.width)
        self.head = nn.Linear(config.width, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(torch.relu(self.norm(self.conv(image))).mean(dim=(2, 3, 4)))


class DensityEntry(NetworkEntry[DensityConfig]):
    """What the exporter needs to know."""

    name = "density"
    title = "Density"
    signature = ("conv.weight", "norm.running_mean", "head.weight")
    dead = (r"norm\.num_batches_tracked",)
    rewrites = (BATCH_NORM,)

    def configure(self, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> DensityConfig:
        if state["conv.weight"].shape[1] != 1:
            raise ValueError(f"conv.weight reads {state['conv.weight'].shape[1]} channels; 1 is expected")
        return DensityConfig(width=len(state["conv.weight"]))

    def build(self, config: DensityConfig) -> DensityNet:
        return DensityNet(config).eval()

    def tensors(self, config: DensityConfig) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        shape = ("N", 1, config.slices, config.size, config.size)
        image = TensorSpec(name="image", kind="volume", shape=shape)
        return (image,), (TensorSpec(name="logit", kind="score", shape=("N", 1)),)

    def example_inputs(self, config: DensityConfig, batch: int, seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        shape = (batch, 1, config.slices, config.size, config.size)
        return {"image": torch.rand(shape, generator=generator)}

    def explained(self, config: DensityConfig) -> tuple[FeatureMap, ...]:
        return (FeatureMap("gradcam", "features", "norm", "image"),)

    def manifest(self, config: DensityConfig) -> dict[str, Any]:
        preprocessing = PreprocessingSpec(
            modality="CT",
            intensity="hounsfield",
            windows=WindowSpec(slices=config.slices, stride=config.slices, pad_value=-1000),
            steps=(
                ResizeStep(rows=config.size, columns=config.size, rounding="none"),
                ClipScaleStep(lower=-1000, upper=400),
            ),
        )
        return {
            "name": "Density",
            "description": "Whether the chest is dense or airy.",
            "preprocessing": preprocessing.model_dump(mode="json"),
            "labels": ["airy", "dense"],
            "aggregation": {"method": "mean"},
            "threshold": 0.5,
            "licence": "not stated",
            "intended_use": "An example.",
            "demonstration": True,
        }
