"""LCA-DB as the exporter sees it: recognition, test inputs, and its default manifest."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from mmcaf_engine.manifest import (
    AttentionSpec,
    BranchSpec,
    PreprocessingSpec,
    ResizeVolumeStep,
    StandardiseStep,
    TensorSpec,
)

from ..entry import NetworkEntry, whole_number
from ..feature_map import FeatureMap
from ..repair import Repair
from .network import BRANCH_OUTPUTS, GRID_STRIDE, OUTPUTS, PHASES, LcadbConfig, LcadbNet
from .resnet import BLOCKS, WIDTHS, Bottleneck, block_of
from .rewrites import REWRITES
from .series import phases

_STEM = "conv1_patch_com.weight"
_HEAD = "bag_classifier.bias"
_BOTTLENECK = "layer1_patch_com.0.conv3.weight"
_BLOCK = re.compile(r"layer([1-4])_patch_com\.(\d+)\.conv1\.weight")


class LcadbEntry(NetworkEntry[LcadbConfig]):
    """LCA-DB: eight MR phases of the liver -> one logit per lesion class, and two attention maps."""

    name = "lcadb"
    title = "LCA-DB"
    signature = (_STEM, "conv1_compose.weight", "conv5.weight")
    dead = (r".*\.num_batches_tracked",)
    rewrites = REWRITES
    module_titles = (
        (r"(?:conv1|bn1)_patch_com", "patch stem"),
        (r"layer(\d)_patch_com", r"patch stage \1"),
        (r"(?:conv1|bn1)_compose", "image stem"),
        (r"layer(\d)_compose", r"image stage \1"),
        (r"image_attention", "image attention"),
        (r"patch_attention", "patch attention"),
    )
    assumptions: ClassVar[Mapping[str, str]] = {
        "labels": "the lesion classes have no names, because the published data give none; name them in the order of "
        "the training labels with --set 'labels=[\"...\", ...]'",
        "preprocessing.axes": "the volumes lay as axial NIfTI files usually do, first axis to the left, second to "
        "the front, slices last; training on other files needs, for example, --set preprocessing.axes=RAS",
    }

    repairs = (
        Repair(
            "patch_conv4",
            "at depth 50 and deeper the published code raises: its patch branch ends with four times as many channels "
            "as its linear2 reads, and conv4, which narrows them, is the image branch's alone",
            "the last map of the patch branch goes through conv4 and bn4 too, which the published network applies to "
            "the image branch alone",
        ),
    )

    def needed_repairs(self, state: Mapping[str, Tensor]) -> tuple[str, ...]:
        return ("patch_conv4",) if "conv4.weight" in state or _BOTTLENECK in state else ()

    def configure(self, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> LcadbConfig:
        channels, phases = state[_STEM].shape[:2]
        if phases != len(PHASES):
            raise ValueError(f"{_STEM} reads {phases} phases; {len(PHASES)} are expected")
        return LcadbConfig(
            depth=_depth(state),
            slices=whole_number("slices", metadata.get("slices", "16")),
            size=whole_number("size", metadata.get("size", "128")),
            width=channels / WIDTHS[0],
            classes=len(state[_HEAD]) if _HEAD in state else LcadbConfig.classes,
        )

    def build(self, config: LcadbConfig) -> LcadbNet:
        return LcadbNet(config).eval()

    def tensors(self, config: LcadbConfig) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        volume = ("N", 1, config.size, config.size, config.slices)
        instances = ("N", config.grid * config.grid)
        logits, *weights = OUTPUTS
        branches = BRANCH_OUTPUTS * config.branch_scores
        return (
            tuple(TensorSpec(name=name, kind="volume", shape=volume) for name in PHASES),
            (
                TensorSpec(name=logits, kind="score", shape=("N", config.classes)),
                *(TensorSpec(name=name, kind="attention", shape=instances) for name in weights),
                *(
                    TensorSpec(name=name, kind="branch_score", shape=("N", config.classes), optional=True)
                    for name in branches
                ),
            ),
        )

    def explained(self, config: LcadbConfig) -> tuple[FeatureMap, ...]:
        """The last map of each branch, over the first phase: all phases share one grid, and are mixed from the stem on.

        Of the image branch's map only the slices that conv5 reads; each sees more than the whole depth.
        """

        def image(features: Tensor) -> Tensor:
            read: Tensor = features[:, :, ::GRID_STRIDE]
            return read.permute(0, 1, 3, 4, 2)

        def patch(features: Tensor) -> Tensor:
            """[n, C, S, R, C], the cells in rows of the grid -> [1, C, rows, columns, S]."""
            cells = features.unflatten(0, (config.grid, config.grid)).permute(2, 0, 4, 1, 5, 3)
            return cells.flatten(3, 4).flatten(1, 2)[None]

        return (
            FeatureMap("gradcam_image", "whole image", "layer4_compose", PHASES[0], image),
            FeatureMap("gradcam_patch", "patches", "layer4_patch_com", PHASES[0], patch),
        )

    def example_inputs(self, config: LcadbConfig, batch: int, seed: int) -> dict[str, Tensor]:
        """Blocks of tissue under coarse noise, of a few levels so that they store small, one brighter spot in each."""
        generator = np.random.default_rng(seed)
        size, slices = config.size, config.slices
        shape = (len(PHASES), batch, 1, size // 4, size // 4, -(-slices // 2))
        blocks = generator.integers(-2, 3, (len(PHASES), batch, 1, size // 16, size // 16, 1))
        coarse = blocks.repeat(4, axis=3).repeat(4, axis=4) + generator.integers(-1, 2, shape)
        row, column = generator.integers(0, size // 4 - 2, 2)
        coarse[:, :, :, row : row + 3, column : column + 3] += 4
        fine = coarse.repeat(4, axis=3).repeat(4, axis=4).repeat(2, axis=5)[..., :slices] / 2
        return {name: torch.from_numpy(np.ascontiguousarray(fine[at], np.float32)) for at, name in enumerate(PHASES)}

    def manifest(self, config: LcadbConfig) -> dict[str, Any]:
        preprocessing = PreprocessingSpec(
            modality="MR",
            intensity="rescaled",
            steps=(ResizeVolumeStep(size=(config.size, config.size, config.slices)), StandardiseStep()),
            axes="LAS",
        )
        grid = (config.grid, config.grid)
        attention = (
            AttentionSpec(output="alpha_image", title="whole image", grid=grid),
            AttentionSpec(output="alpha_patch", title="patches", grid=grid),
        )
        titles = ("image branch", "patch branch")
        branches = [
            BranchSpec(output=output, title=title) for output, title in zip(BRANCH_OUTPUTS, titles, strict=True)
        ]
        return {
            "name": "LCA-DB",
            "description": "Class of a focal liver lesion from eight MR phases.",
            "preprocessing": preprocessing.model_dump(mode="json"),
            "series": [spec.model_dump(mode="json") for spec in phases()],
            "labels": [f"lesion class {number}" for number in range(config.classes)],
            "activation": "softmax",
            "aggregation": {"method": "mean"},
            "attention": [spec.model_dump(mode="json") for spec in attention],
            "branch_scores": [spec.model_dump(mode="json") for spec in branches if config.branch_scores],
            "licence": "not stated; that of the checkpoint applies",
            "intended_use": "Research only: no decision about a patient may rest on it.",
            "demonstration": False,
        }


def _depth(state: Mapping[str, Tensor]) -> int:
    """The depth whose layers have as many blocks, of the same kind, as the patch branch of a checkpoint."""
    counts = [0, 0, 0, 0]
    for key in state:
        if found := _BLOCK.fullmatch(key):
            counts[int(found.group(1)) - 1] += 1
    bottlenecks = _BOTTLENECK in state
    for depth, blocks in BLOCKS.items():
        if tuple(counts) == blocks and (block_of(depth) is Bottleneck) == bottlenecks:
            return depth
    kind = "bottlenecks" if bottlenecks else "basic blocks"
    raise ValueError(
        f"its patch branch has layers of {', '.join(map(str, counts))} {kind}; "
        f"no depth of {', '.join(map(str, BLOCKS))} has"
    )
