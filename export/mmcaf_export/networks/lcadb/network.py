"""LCA-DB: the class of a focal liver lesion from eight MR phases.

A reimplementation of what the published LCA-DB computes at inference, under its published parameter
names (model/crossatten.py). Both branches give one feature vector per part of the image plane; attention
weighs and adds these; one linear layer scores the sum.
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..recorded import LATER
from .resnet import BLOCKS, WIDTHS, block_of, relu, residual_layers

PHASES = ("t2", "dwi", "in_phase", "out_phase", "c_pre", "c_a", "c_delay", "c_v")
"""The eight inputs, in the order in which the published data feeder passes them."""

OUTPUTS = ("logits", "alpha_image", "alpha_patch")
BRANCH_OUTPUTS = ("out_R", "out_P")
"""Scores of the image branch and of the patch branch alone, under the published code's names."""

INTERMEDIATES = {
    "image_stem": ("layer1_compose", "in"),
    "image_layer1": ("layer1_compose", "out"),
    "image_layer2": ("layer2_compose", "out"),
    "image_layer3": ("layer3_compose", "out"),
    "image_layer4": ("layer4_compose", "out"),
    "image_instances": ("linear1", "in"),
    "image_scores": ("linear1", "out"),
    "image_feature": ("image_attention", "out"),
    "patch_stem": ("layer1_patch_com", "in"),
    "patch_layer1": ("layer1_patch_com", "out"),
    "patch_layer4": ("layer4_patch_com", "out"),
    "patch_instances": ("linear2", "in"),
    "patch_scores": ("linear2", "out"),
    "patch_feature": ("patch_attention", "out"),
}
"""Name -> the module whose first argument or first result it is."""

CELL = 32  # rows and columns that one instance of either branch stands for
GRID_STRIDE = 4  # of conv5, on all three axes


@dataclass(frozen=True)
class LcadbConfig:
    """What distinguishes one LCA-DB from another.

    depth: of both residual branches, a key of BLOCKS; slices: S, size: H and W of the inputs; width: multiplier of all
    channels (the published network is 1.0); classes: number of lesion classes; branch_scores: whether there are also
    BRANCH_OUTPUTS. Raises ValueError for a depth that there is none of, a size that is not made of whole cells, or a
    width that gives no whole number of channels.
    """

    depth: int = 10
    slices: int = 16
    size: int = 128
    width: float = 1.0
    classes: int = 7
    branch_scores: bool = field(default=False, metadata=LATER)

    def __post_init__(self) -> None:
        if self.depth not in BLOCKS:
            raise ValueError(f"LCA-DB config: depth is {self.depth}; expected one of {', '.join(map(str, BLOCKS))}")
        if self.size < CELL or self.size % CELL:
            raise ValueError(f"LCA-DB config: size is {self.size}; expected a multiple of {CELL}")
        if self.slices < 1:
            raise ValueError(f"LCA-DB config: slices is {self.slices}; expected at least 1")
        if self.classes < 2:
            raise ValueError(f"LCA-DB config: classes is {self.classes}; expected at least 2")
        stem = WIDTHS[0] * self.width
        if stem < 1 or stem != int(stem):
            raise ValueError(
                f"LCA-DB config: width {self.width} gives {stem} channels in the patch branch's stem; "
                f"choose a positive multiple of 1/{WIDTHS[0]}"
            )

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names, in the order of the network's results."""
        return OUTPUTS + BRANCH_OUTPUTS * self.branch_scores

    @property
    def widths(self) -> tuple[int, int, int, int]:
        """Channels of the four layers, before the bottlenecks' expansion."""
        first, second, third, fourth = (int(width * self.width) for width in WIDTHS)
        return first, second, third, fourth

    @property
    def features(self) -> int:
        """Length of an image instance: 512 in the published network."""
        return self.widths[-1]

    @property
    def grid(self) -> int:
        """Rows and columns of instances in both branches."""
        return self.size // CELL

    @property
    def positions(self) -> int:
        """Voxels of the image branch's last map, before conv5: 512 in the published network."""
        return -(-self.slices // 8) * (self.size // 8) ** 2


class LcadbNet(nn.Module):
    """Eight volumes [N, 1, H, W, S], in the order of PHASES -> logits, alpha_image, alpha_patch, or two more.

    logits [N, classes]: their softmax is the probability of each class. alpha_image [N, n], alpha_patch [N, n]: how
    much each part of the plane counts, in rows of the grid; they add up to one. With `branch_scores` also out_R, out_P
    [N, classes]: what the image branch and the patch branch score alone. Every volume is z-scored.
    """

    def __init__(self, config: LcadbConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or LcadbConfig()
        kind, widths, features = block_of(config.depth), config.widths, config.features
        last = kind.expansion * features
        self.conv1_patch_com = nn.Conv3d(len(PHASES), widths[0], 3, padding=1, bias=False)
        self.bn1_patch_com = nn.BatchNorm3d(widths[0])
        patch = residual_layers(config.depth, widths[0], widths)
        self.layer1_patch_com, self.layer2_patch_com, self.layer3_patch_com, self.layer4_patch_com = patch
        # The published stem is as wide as the other branch ends: its channel counter was not reset in between.
        self.conv1_compose = nn.Conv3d(len(PHASES), last, 3, padding=1, bias=False)
        self.bn1_compose = nn.BatchNorm3d(last)
        compose = residual_layers(config.depth, last, widths)
        self.layer1_compose, self.layer2_compose, self.layer3_compose, self.layer4_compose = compose
        if last != features:
            self.conv4 = nn.Conv3d(last, features, 1, bias=False)
            self.bn4 = nn.BatchNorm3d(features)
        self.conv5 = nn.Conv3d(features, features, (1, GRID_STRIDE, GRID_STRIDE), stride=GRID_STRIDE, bias=False)
        self.bn5 = nn.BatchNorm3d(features)
        self.conv6 = nn.Conv3d(features, features, 1, bias=False)
        self.bn6 = nn.BatchNorm3d(features)
        self.bag_classifier = nn.Linear(features, config.classes)
        self.linear1 = nn.Linear(features, config.classes)
        self.linear2 = nn.Linear(features, config.classes)
        self.image_attention = Attention()
        self.patch_attention = Attention()

    def forward(
        self,
        t2: Tensor,
        dwi: Tensor,
        in_phase: Tensor,
        out_phase: Tensor,
        c_pre: Tensor,
        c_a: Tensor,
        c_delay: Tensor,
        c_v: Tensor,
    ) -> tuple[Tensor, ...]:
        volumes = (t2, dwi, in_phase, out_phase, c_pre, c_a, c_delay, c_v)
        self._check(volumes)
        x = torch.cat(volumes, dim=1).permute(0, 1, 4, 2, 3)  # [N, 8, S, H, W]
        image, alpha_image = self._image_branch(x)
        patch, alpha_patch = self._patch_branch(x)
        answer = self.bag_classifier(image + patch), alpha_image, alpha_patch
        return (*answer, self.linear1(image), self.linear2(patch)) if self.config.branch_scores else answer

    def _image_branch(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[N, 8, S, H, W] as a whole -> feature [N, features], weights [N, n]."""
        x = self.layer1_compose(relu(self.bn1_compose(self.conv1_compose(x))))
        x = self.layer4_compose(self.layer3_compose(self.layer2_compose(x)))
        x = relu(self.bn5(self.conv5(self._narrowed(x))))
        x = relu(self.bn6(self.conv6(x)))
        instances = x.flatten(2).transpose(1, 2)  # [N, n, features]
        return self.image_attention(instances, self.linear1(instances), self.config.positions)

    def _patch_branch(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[N, 8, S, H, W], cut into cells of which each is an instance -> feature [N, features], weights [N, n]."""
        grid, slices = self.config.grid, x.shape[2]
        x = x.reshape(-1, x.shape[1] * slices, grid, CELL, grid, CELL).permute(0, 2, 4, 1, 3, 5)
        x = x.reshape(-1, len(PHASES), slices, CELL, CELL)  # [N * n, 8, S, CELL, CELL]
        x = F.max_pool3d(relu(self.bn1_patch_com(self.conv1_patch_com(x))), 3, stride=2, padding=1)
        x = self.layer2_patch_com(self.layer1_patch_com(x))
        x = self._narrowed(self.layer4_patch_com(self.layer3_patch_com(x)))
        instances = x.mean(dim=(2, 3, 4)).reshape(-1, grid * grid, self.config.features)
        return self.patch_attention(instances, self.linear2(instances), grid * grid)

    def trace(self, *volumes: Tensor) -> dict[str, Tensor]:
        """Run forward; its outputs and what lies on the way to them (see INTERMEDIATES), by name."""
        found: dict[str, Tensor] = {}
        hooks = []
        for name, (path, part) in INTERMEDIATES.items():
            module = self.get_submodule(path)
            if part == "in":
                hooks.append(module.register_forward_pre_hook(lambda _m, given, name=name: _keep(found, name, given)))
            else:
                hooks.append(module.register_forward_hook(lambda _m, _i, made, name=name: _keep(found, name, made)))
        try:
            outputs = self(*volumes)
        finally:
            for hook in hooks:
                hook.remove()
        return found | dict(zip(self.config.outputs, outputs, strict=True))

    def _narrowed(self, x: Tensor) -> Tensor:
        """What bottlenecks end with, in as many channels as basic blocks end with."""
        return relu(self.bn4(self.conv4(x))) if hasattr(self, "conv4") else x

    def _check(self, volumes: tuple[Tensor, ...]) -> None:
        size, slices = self.config.size, self.config.slices
        for name, volume in zip(PHASES, volumes, strict=True):
            if volume.ndim != 5 or tuple(volume.shape[1:]) != (1, size, size, slices):
                raise ValueError(
                    f"LCA-DB: {name} is {list(volume.shape)}; expected [N, 1, {size}, {size}, {slices}], slices last"
                )


class Attention(nn.Module):
    """Weighs instances by the length of their scores and adds them up; it has no weights of its own."""

    def forward(self, instances: Tensor, scores: Tensor, positions: int) -> tuple[Tensor, Tensor]:
        """instances [N, n, C], scores [N, n, classes] -> sum [N, C], weights [N, n].

        A share below a tenth of 1 / positions counts as nothing.
        """
        lengths = torch.linalg.vector_norm(scores, dim=-1)
        shares = lengths / lengths.sum(dim=1, keepdim=True)
        kept = F.relu(shares - 0.1 / positions)
        weights = kept / kept.sum(dim=1, keepdim=True)
        return (weights[:, None, :] @ instances)[:, 0], weights


def _keep(found: dict[str, Tensor], name: str, values: Tensor | tuple[Tensor, ...]) -> None:
    found[name] = values[0] if isinstance(values, tuple) else values
