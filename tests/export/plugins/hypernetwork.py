"""The record makes convolution kernels for its own patient (a hypernetwork), in a loop over the batch."""

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
class HyperConfig:
    """slices, size: of the window, D and H = W; width: channels; columns: of the record."""

    slices: int = 4
    size: int = 24
    width: int = 4
    columns: int = 3


@dataclass
class HyperOutput:
    """What a training loop of its authors takes: score, and the penalty of the kernels in training."""

    logit: Tensor
    penalty: Tensor | None = None


class KernelMaker(nn.Module):
    """The record's columns -> kernel [O, I, 3, 3, 3] and bias [O] of one convolution."""

    def __init__(self, columns: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self.hidden = nn.Linear(columns, 8)
        self.kernel = nn.Linear(8, outputs * inputs * 27)
        self.bias = nn.Linear(8, outputs)
        self.register_buffer("gain", torch.tensor((inputs * 27) ** -0.5))
        self.register_buffer("taps", torch.hann_window(5, periodic=False)[1:-1], persistent=False)

    def window(self) -> Tensor:
        """[3, 3, 3]: a tap counts less the further it lies from the centre."""
        taps = self.taps
        return taps[:, None, None] * taps[None, :, None] * taps[None, None, :]

    def forward(self, row: Tensor) -> tuple[Tensor, Tensor]:
        assert row.ndim == 1, f"one patient's row is expected, got {tuple(row.shape)}"
        hidden = torch.tanh(self.hidden(row))
        kernel = self.kernel(hidden).view(self.outputs, self.inputs, 3, 3, 3)
        kernel = kernel * self.window()
        kernel *= self.gain
        return kernel, self.bias(hidden)


class HyperConv(nn.Module):
    """A convolution whose kernel is another for each patient."""

    def __init__(self, columns: int, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.maker = KernelMaker(columns, inputs, outputs)
        self.norm = nn.GroupNorm(2, outputs)
        self.stride = stride

    def forward(self, features: Tensor, table: Tensor) -> Tensor:
        assert len(features) == len(table), "one row per volume is expected"
        made = []
        for volume, row in zip(features, table, strict=True):
            kernel, bias = self.maker(row)
            made.append(F.conv3d(volume[None], kernel, bias, stride=self.stride, padding=1))
        return F.relu_(self.norm(torch.cat(made)))


class HyperNet(nn.Module):
    """image [N, 1, D, H, W], table [N, F] -> HyperOutput."""

    def __init__(self, config: HyperConfig) -> None:
        super().__init__()
        width = config.width
        self.stem = nn.Sequential(
            nn.Conv3d(1, width, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1), bias=False),
            nn.GroupNorm(2, width),
            nn.ReLU(inplace=True),
        )
        self.hyper1 = HyperConv(config.columns, width, 2 * width, stride=2)
        self.hyper2 = HyperConv(config.columns, 2 * width, 2 * width, stride=1)
        self.lateral = nn.Conv3d(width, 2 * width, 1)
        self.table_norm = nn.LayerNorm(config.columns)
        self.scale_maker = nn.Linear(config.columns, 2 * width)
        self.classifier_maker = nn.Linear(config.columns, 2 * width)
        self.head = nn.Linear(2 * width, 1)
        self.register_buffer("centre", torch.full((config.columns,), 0.5))

    def scaled(self, pooled: Tensor, table: Tensor) -> Tensor:
        """Each patient's features, weighed by their own scales, written row by row."""
        scaled = torch.zeros_like(pooled)
        for at, scale in enumerate(self.scale_maker(table)):
            scaled[at] = pooled[at] * torch.sigmoid(scale)
        return scaled

    def own_scores(self, pooled: Tensor, table: Tensor) -> Tensor:
        """[N, 1]: each patient's features times weights of their own."""
        scores = torch.zeros(len(pooled), 1)
        for at, weights in enumerate(self.classifier_maker(table)):
            scores[at] = (weights * pooled[at]).sum()
        return scores

    def forward(self, image: Tensor, table: Tensor) -> HyperOutput:
        assert image.ndim == 5 and image.shape[1] == 1, f"got {tuple(image.shape)}"
        assert table.ndim == 2, f"got {tuple(table.shape)}"
        table = self.table_norm(table - self.centre)
        fine = self.stem(image)
        coarse = self.hyper2(self.hyper1(fine, table), table)
        enlarged = F.interpolate(coarse, size=fine.shape[2:], mode="trilinear", align_corners=False)
        enlarged += self.lateral(fine)
        pooled = self.scaled(enlarged.mean(dim=(2, 3, 4)), table)
        logit = self.head(pooled)
        logit += self.own_scores(pooled, table)
        penalty = None
        if self.training:
            penalty = sum((maker.kernel.weight**2).mean() for maker in (self.hyper1.maker, self.hyper2.maker))
        return HyperOutput(logit, penalty)


class HyperEntry(NetworkEntry[HyperConfig]):
    """What the exporter needs to know; the loop over the patients fixes the batch."""

    name = "hypernetwork"
    title = "Hypernetwork"
    signature = ("hyper1.maker.kernel.weight", "scale_maker.weight")
    batch = 1

    def configure(self, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> HyperConfig:
        return HyperConfig(width=len(state["stem.0.weight"]), columns=len(state["centre"]))

    def build(self, config: HyperConfig) -> HyperNet:
        return HyperNet(config).eval()

    def tensors(self, config: HyperConfig) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        shape = ("N", 1, config.slices, config.size, config.size)
        image = TensorSpec(name="image", kind="volume", shape=shape)
        table = TensorSpec(name="table", kind="table", shape=("N", config.columns))
        return (image, table), (TensorSpec(name="logit", kind="score", shape=("N", 1)),)

    def example_inputs(self, config: HyperConfig, batch: int, seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        shape = (batch, 1, config.slices, config.size, config.size)
        image = torch.rand(shape, generator=generator)
        return {"image": image, "table": torch.rand(batch, config.columns, generator=generator)}

    def manifest(self, config: HyperConfig) -> dict[str, Any]:
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
            NumberField(name=f"gene_{at}", description="A gene", unit="1", minimum=0, maximum=10, lower=0, upper=10)
            for at in range(config.columns)
        )
        return {
            "name": "Hypernetwork",
            "description": "Whether a therapy helps.",
            "preprocessing": preprocessing.model_dump(mode="json"),
            "table": TableSpec(fields=fields).model_dump(mode="json"),
            "labels": ["resistant", "responding"],
            "aggregation": {"method": "max"},
            "threshold": 0.5,
            "licence": "not stated",
            "intended_use": "A test.",
            "demonstration": True,
        }
