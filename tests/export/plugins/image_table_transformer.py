"""A radiograph's patches and a record's columns as tokens of one transformer, written in the manner of timm.

Its positions and the index of relative places are buffers that no checkpoint holds, and the rates of stochastic depth
are numbers read off a tensor.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcaf_engine.manifest import AttentionSpec, ImageSpec, NumberField, TableSpec, TensorSpec
from mmcaf_export.networks.entry import NetworkEntry


@dataclass(frozen=True)
class TransformerConfig:
    """size: rows and columns of the image; patch: of a patch; width, depth, heads: of the transformer."""

    size: int = 32
    patch: int = 8
    width: int = 16
    depth: int = 2
    heads: int = 2
    columns: int = 4
    labels: int = 3


class DropPath(nn.Module):
    """Stochastic depth: in evaluation nothing is dropped."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, tokens: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return tokens
        kept = 1 - self.rate
        mask = tokens.new_empty(len(tokens), 1, 1).bernoulli_(kept)
        return tokens * mask.div_(kept)


def sine_positions(count: int, width: int) -> Tensor:
    """Sines and cosines of each place, [1, count, width]."""
    places = torch.arange(count).float()[:, None]
    rates = torch.exp(torch.arange(0, width, 2).float() * (-math.log(10000.0) / width))
    table = torch.zeros(count, width)
    table[:, 0::2] = torch.sin(places * rates)
    table[:, 1::2] = torch.cos(places * rates)
    return table[None]


class Attention(nn.Module):
    """Self-attention with a learned bias for each relative place of two patches."""

    def __init__(self, width: int, heads: int, grid: int, others: int) -> None:
        super().__init__()
        self.heads, self.grid, self.others = heads, grid, others
        self.scale = (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.bias_table = nn.Parameter(torch.zeros((2 * grid - 1) ** 2, heads))
        rows, columns = torch.meshgrid(torch.arange(grid), torch.arange(grid), indexing="ij")
        places = torch.stack([rows.flatten(), columns.flatten()])
        relative = (places[:, :, None] - places[:, None, :]).permute(1, 2, 0).contiguous()
        relative[:, :, 0] += grid - 1
        relative[:, :, 1] += grid - 1
        relative[:, :, 0] *= 2 * grid - 1
        self.register_buffer("relative_index", relative.sum(-1), persistent=False)

    def bias(self) -> Tensor:
        patches = self.grid**2
        bias = self.bias_table[self.relative_index.view(-1)].view(patches, patches, self.heads)
        return F.pad(bias.permute(2, 0, 1), (self.others, 0, self.others, 0))[None]

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        count, length, width = tokens.shape
        assert length == self.others + self.grid**2, f"{length} tokens came"
        qkv = self.qkv(tokens).reshape(count, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        scores = (query * self.scale) @ key.transpose(-2, -1)
        scores += self.bias()
        weights = scores.softmax(dim=-1)
        mixed = (weights @ value).transpose(1, 2).reshape(count, length, width)
        return self.proj(mixed), weights


class Block(nn.Module):
    """Attention and an MLP, each behind a LayerNorm and with a learned scale."""

    def __init__(self, width: int, heads: int, grid: int, others: int, rate: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads, grid, others)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.gamma = nn.Parameter(torch.full((width,), 0.1))
        self.drop_path = DropPath(rate) if rate > 0 else nn.Identity()

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        mixed, weights = self.attn(self.norm1(tokens))
        tokens = tokens + self.drop_path(mixed)
        tokens += self.drop_path(self.gamma * self.mlp(self.norm2(tokens)))
        return tokens, weights


class ImageTableTransformer(nn.Module):
    """image [N, 3, H, W], table [N, F] -> [logits [N, K], attention of the class token to the patches [N, P]]."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.grid = config.size // config.patch
        patches, others = self.grid**2, 1 + config.columns
        self.itt_patch = nn.Conv2d(3, config.width, config.patch, stride=config.patch)
        self.column_weight = nn.Parameter(torch.randn(config.columns, config.width) * 0.02)
        self.column_bias = nn.Parameter(torch.zeros(config.columns, config.width))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.register_buffer("positions", sine_positions(patches, config.width), persistent=False)
        rates = [rate.item() for rate in torch.linspace(0, 0.1, config.depth)]
        self.blocks = nn.ModuleList([Block(config.width, config.heads, self.grid, others, rate) for rate in rates])
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self.head = nn.Linear(config.width, config.labels)

    def forward(self, image: Tensor, table: Tensor) -> list[Tensor]:
        assert image.shape[2] == image.shape[3], "a square image is expected"
        assert table.shape[1] == self.column_weight.shape[0]
        patches = self.itt_patch(image).flatten(2).transpose(1, 2)
        patches = patches + self.positions
        columns = table[:, :, None] * self.column_weight
        columns += self.column_bias
        tokens = torch.cat([self.cls_token.expand(len(image), -1, -1), columns, patches], dim=1)
        weights = None
        for block in self.blocks:
            tokens, weights = block(tokens)
        assert weights is not None
        seen = weights.mean(dim=1)[:, 0, -(self.grid**2) :]
        return [self.head(self.norm(tokens)[:, 0]), seen / seen.sum(dim=1, keepdim=True)]


class TransformerEntry(NetworkEntry[TransformerConfig]):
    """What the exporter needs to know."""

    name = "image-table-transformer"
    title = "Image and table transformer"
    signature = ("itt_patch.weight", "column_weight")

    def configure(self, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> TransformerConfig:
        width, _, patch, _ = state["itt_patch.weight"].shape
        depth = sum(key.endswith(".gamma") for key in state)
        side = (math.isqrt(len(state["blocks.0.attn.bias_table"])) + 1) // 2
        return TransformerConfig(
            size=side * patch, patch=patch, width=width, depth=depth, heads=state["blocks.0.attn.bias_table"].shape[1],
            columns=len(state["column_weight"]), labels=len(state["head.weight"]),
        )  # fmt: skip

    def build(self, config: TransformerConfig) -> ImageTableTransformer:
        return ImageTableTransformer(config).eval()

    def tensors(self, config: TransformerConfig) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        return (
            TensorSpec(name="image", kind="image", shape=("N", 3, config.size, config.size)),
            TensorSpec(name="table", kind="table", shape=("N", config.columns)),
        ), (
            TensorSpec(name="logits", kind="score", shape=("N", config.labels)),
            TensorSpec(name="patches", kind="attention", shape=("N", (config.size // config.patch) ** 2)),
        )

    def example_inputs(self, config: TransformerConfig, batch: int, seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        image = torch.rand(batch, 3, config.size, config.size, generator=generator)
        return {"image": image.sub_(0.5).div_(0.25), "table": torch.rand(batch, config.columns, generator=generator)}

    def manifest(self, config: TransformerConfig) -> dict[str, Any]:
        side = config.size // config.patch
        image = ImageSpec(size=(config.size, config.size), channels=3, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
        fields = tuple(
            NumberField(name=f"lab_{at}", description="A value", unit="1", minimum=0, maximum=10, lower=0, upper=10)
            for at in range(config.columns)
        )
        return {
            "name": "Image and table transformer",
            "description": "Which of three findings there is.",
            "image": image.model_dump(mode="json"),
            "table": TableSpec(fields=fields).model_dump(mode="json"),
            "labels": [f"finding {at}" for at in range(config.labels)],
            "activation": "softmax",
            "attention": [
                AttentionSpec(output="patches", title="patches", grid=(side, side), input="image").model_dump(
                    mode="json"
                )
            ],
            "aggregation": {"method": "mean"},
            "licence": "not stated",
            "intended_use": "A test.",
            "demonstration": True,
        }
