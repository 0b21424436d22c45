"""Training of the demo's image branch: lesion crops first, whole windows last, with helper targets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cohort import SIZE, SLICES, CachedStudy
from mmcaf_engine.demo.patient import Nodule
from mmcaf_export.networks.mmcaf.image_encoder import ImageEncoder

TRAITS = 8
LOSSES = ("class", "traits", "cells", "inner")


@dataclass(frozen=True)
class Phase:
    """A stretch of training on crops of `size` x `size` pixels; 192 is the whole window.

    elsewhere: share of crops taken anywhere, most of which miss the nodule.
    """

    size: int
    steps: int
    batch: int
    rate: float
    elsewhere: float


class Helper(nn.Module):
    """Targets that only exist in training: class, presence and traits from f and from pooled maps."""

    def __init__(self, encoder: ImageEncoder) -> None:
        super().__init__()
        coarse, features = encoder.fc[0].in_features, encoder.fc[0].out_features
        widths = {"f": features, "d1": coarse // 4, "d2": coarse // 2, "d3": coarse}
        self.heads = nn.ModuleDict(
            {n: nn.Sequential(nn.BatchNorm1d(w), nn.Linear(w, 2 + TRAITS)) for n, w in widths.items()}
        )
        self.per_cell = nn.Conv3d(coarse, 2, 1)


@contextmanager
def grey_stem(encoder: ImageEncoder) -> Iterator[None]:
    """Inside, the stem reads the grey volume once instead of three times: the same sum, a third of the work."""
    conv = encoder.encoder.in_conv[0]

    def forward(x: Tensor) -> Tensor:
        return F.conv3d(x[:, :1], conv.weight.sum(1, keepdim=True), None, conv.stride, conv.padding)

    conv.forward = forward
    try:
        yield
    finally:
        del conv.forward


def freeze_batch_norm(module: nn.Module) -> None:
    """Keep the running statistics: whole windows only fit in batches too small to estimate new ones."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm3d):
            part.eval()


def train_encoder(
    encoder: ImageEncoder,
    helper: Helper,
    studies: list[CachedStudy],
    phases: dict[int, Phase],
    seed: int,
    report: Callable[[str], None],
    after_phase: Callable[[int], None],
) -> None:
    """Train `encoder` and its `helper` in place through all phases.

    Each phase has its own random numbers, so that training may be taken up again between two phases.
    """
    maps: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda _m, _i, out, name=name: maps.update({name: out}))
        for name, module in (
            ("d1", encoder.dcfb1),
            ("d2", encoder.dcfb2),
            ("d3", encoder.dcfb3),
            ("bf2", encoder.bfpu2),
        )
    ]
    full_skip = encoder.skip_size
    parameters = [*encoder.parameters(), *helper.parameters()]
    encoder.to(memory_format=torch.channels_last_3d)
    for number, phase in phases.items():
        started = time.perf_counter()
        encoder.skip_size = (full_skip[0], phase.size // 8, phase.size // 8)
        rng = np.random.default_rng([seed, 11, number])
        optimizer = torch.optim.AdamW(parameters, lr=phase.rate, weight_decay=0.02)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, phase.rate, phase.steps, pct_start=0.2)
        for part in (encoder, helper):
            part.train()
            if phase.size == SIZE:
                freeze_batch_norm(part)
        running = np.zeros(4)
        order: list[int] = []
        for step in range(phase.steps):
            while len(order) < phase.batch:
                order += rng.permutation(len(studies)).tolist()
            picked, order = order[: phase.batch], order[phase.batch :]
            image, target = _batch([studies[i] for i in picked], phase, rng)
            features = encoder(image.to(memory_format=torch.channels_last_3d))
            parts = _losses(helper, features, maps, target)
            loss = parts[0] + parts[1] + 0.3 * parts[2] + parts[3]
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 2.0)
            optimizer.step()
            schedule.step()
            running += [float(p.detach()) for p in parts]
            if (step + 1) % 100 == 0 or step + 1 == phase.steps:
                seconds = time.perf_counter() - started
                n = (step % 100) + 1
                means = " ".join(f"{name} {value / n:.3f}" for name, value in zip(LOSSES, running, strict=True))
                report(f"size {phase.size} step {step + 1}/{phase.steps} {means} {seconds:.0f} s")
                running[:] = 0.0
        encoder.skip_size = full_skip
        after_phase(number)
    for hook in hooks:
        hook.remove()


def _batch(studies: list[CachedStudy], phase: Phase, rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """Random windows [N, 1, 12, size, size] and their targets; some without the nodule."""
    size = phase.size
    images, rows, cells = [], [], []
    for study in studies:
        window, center = _cut(study, phase, rng)
        present = all(0 <= c < n for c, n in zip(center, (SLICES, size, size), strict=True))
        if rng.random() < 0.5:
            window, center = window[:, :, ::-1], (center[0], center[1], size - 1 - center[2])
        if rng.random() < 0.5:
            window, center = window[::-1], (SLICES - 1 - center[0], center[1], center[2])
        images.append(np.ascontiguousarray(window))
        traits = _traits(study.patient.nodule)
        rows.append([float(present), float(study.label and present), *traits])
        cells.append(_cell_target(center, size) if present else np.zeros((2, size // 16, size // 16)))
    image = torch.from_numpy(np.stack(images))[:, None]
    image += torch.from_numpy(rng.normal(0.0, 0.006, image.shape).astype(np.float32))
    table = torch.tensor(rows)
    return image, {
        "present": table[:, 0],
        "label": table[:, 1],
        "traits": table[:, 2:],
        "cells": torch.from_numpy(np.stack(cells)).float(),
    }


def _traits(nodule: Nodule) -> list[float]:
    """What the helper heads learn to see, each about 0..1."""
    density = (nodule.solid_hu + 20.0) / 210.0
    shape = [nodule.spiculation, nodule.lobulation, nodule.patchiness, float(nodule.cavity > 0.0)]
    return [*shape, nodule.centrality, density, float(nodule.collapse), nodule.diameter_mm / 30.0]


def _cut(study: CachedStudy, phase: Phase, rng: np.random.Generator) -> tuple[np.ndarray, tuple[float, float, float]]:
    size, slices = phase.size, study.windows.slices
    depth = len(slices)
    z, y, x = study.nodule
    with_nodule = rng.random() >= phase.elsewhere
    low, high = max(round(z) - SLICES + 2, 0), min(round(z) - 1, depth - SLICES)
    start = int(rng.integers(0, depth - SLICES + 1)) if not with_nodule else int(rng.integers(low, max(high, low) + 1))
    start = min(max(start, 0), depth - SLICES)
    if size == SIZE:
        top, left = (int(v) for v in rng.integers(-6, 7, 2))
        window = np.roll(slices[start : start + SLICES], (-top, -left), (1, 2))
    else:
        jitter = size // 2 - 12
        if with_nodule:
            top = round(y) - size // 2 + int(rng.integers(-jitter, jitter + 1))
            left = round(x) - size // 2 + int(rng.integers(-jitter, jitter + 1))
        else:
            top, left = (int(v) for v in rng.integers(20, SIZE - 20 - size + 1, 2))
        top, left = (min(max(v, 0), SIZE - size) for v in (top, left))
        window = slices[start : start + SLICES, top : top + size, left : left + size]
    return window, (z - start, y - top, x - left)


def _cell_target(center: tuple[float, float, float], size: int) -> np.ndarray:
    """1 at the cells of bf2 [2, size/16, size/16] whose middle is near the nodule's centre."""
    z = np.abs((np.arange(2) + 0.5) * 6.0 - 0.5 - center[0]) / 6.0
    y = np.abs((np.arange(size // 16) + 0.5) * 16.0 - 0.5 - center[1]) / 16.0
    x = np.abs((np.arange(size // 16) + 0.5) * 16.0 - 0.5 - center[2]) / 16.0
    inside = np.maximum(np.maximum(z[:, None, None], y[None, :, None]), x[None, None, :])
    return (inside <= 0.6).astype(np.float64)


def _losses(helper: Helper, features: Tensor, maps: dict[str, Tensor], target: dict[str, Tensor]) -> tuple[Tensor, ...]:
    """Class and trait loss of f, presence per cell, and class and traits of the pooled inner maps."""
    label = target["label"]
    main = _head_loss(helper.heads["f"](features), target)
    inner = torch.zeros(())
    for name in ("d1", "d2", "d3"):
        parts = _head_loss(helper.heads[name](maps[name].amax(dim=(2, 3, 4))), target)
        inner = inner + 0.3 * (parts[0] + parts[1])
    cells = helper.per_cell(maps["bf2"])  # [N, 2, 2, h, w]: presence, and class where present
    weight = 1.0 + 14.0 * target["cells"]
    loss_cells = F.binary_cross_entropy_with_logits(cells[:, 0], target["cells"], weight=weight)
    per_cell = F.binary_cross_entropy_with_logits(
        cells[:, 1], label[:, None, None, None].expand_as(cells[:, 1]), reduction="none"
    )
    loss_cells = loss_cells + (per_cell * target["cells"]).sum() / target["cells"].sum().clamp(min=1.0)
    return *main, loss_cells, inner


def _head_loss(out: Tensor, target: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    present = target["present"]
    loss_class = F.binary_cross_entropy_with_logits(out[:, 0], target["label"])
    error = (out[:, 2:] - target["traits"]).square().mean(1)
    loss_traits = 0.3 * F.binary_cross_entropy_with_logits(out[:, 1], present)
    return loss_class, loss_traits + 4.0 * (error * present).sum() / present.sum().clamp(min=1.0)
