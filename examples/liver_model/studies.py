"""Synthetic studies as the network sees them: rendered once, kept as files, cut and varied for training."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mmcaf_engine.demo import LIVER_LABELS, LiverStudy, liver_study
from mmcaf_export.networks.lcadb.network import CELL, PHASES

CLASSES = LIVER_LABELS
SLICES, SIZE = 16, 128
SPLITS = {"train": range(400), "test": range(60_000, 60_084)}
"""Seeds of each split. Calibration (50000 on) and evaluation cohorts (40000 on) use others."""


@dataclass(frozen=True)
class Studies:
    """Some studies in memory.

    volumes: float16 [N, 8, X, Y, Z], z-scored, in the network's order and orientation (to the left, to the front, to
    the head); labels: [N]; centres [N, 3] and radii [N]: of the lesion, in voxels, the latter along X and Y.
    """

    volumes: NDArray[np.float16]
    labels: NDArray[np.int64]
    centres: NDArray[np.float32]
    radii: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)

    def whole(self, at: int) -> Tensor:
        """One study: [1, 8, 1, X, Y, Z]."""
        return torch.from_numpy(self.volumes[at].astype(np.float32))[None, :, None]

    def cells(self, at: int, corner: tuple[int, int] = (0, 0), size: int = SIZE) -> NDArray[np.float32]:
        """Of a square's cells, row by row, those that hold a good part of the lesion: ones and zeros, [n]."""
        grid = size // CELL
        reach = 0.5 * self.radii[at]
        ends = [(self.centres[at, :2] - corner + sign * reach) // CELL for sign in (-1, 1)]
        (low_x, low_y), (high_x, high_y) = (np.clip(end, 0, grid - 1).astype(int) for end in ends)
        held = np.zeros((grid, grid), np.float32)
        held[low_x : high_x + 1, low_y : high_y + 1] = 1
        return held.ravel()

    def batch(
        self, generator: np.random.Generator, count: int, size: int, slices: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Random boxes around lesions, varied in brightness: [N, 8, 1, X, Y, Z], labels [N], cells [N, n]."""
        chosen = generator.integers(0, len(self), count)
        volumes = np.empty((count, len(PHASES), 1, size, size, slices), np.float32)
        cells = np.empty((count, (size // CELL) ** 2), np.float32)
        for index, at in enumerate(chosen):
            x, y = (_start(generator, centre, size, SIZE) for centre in self.centres[at, :2])
            z = _start(generator, self.centres[at, 2], slices, SLICES)
            part = self.volumes[at, :, x : x + size, y : y + size, z : z + slices].astype(np.float32)
            scale, shift = generator.normal(1, 0.08, (8, 1, 1, 1)), generator.normal(0, 0.08, (8, 1, 1, 1))
            volumes[index, :, 0] = part * scale + shift
            cells[index] = self.cells(at, (x, y), size)
        return torch.from_numpy(volumes), torch.from_numpy(self.labels[chosen]), torch.from_numpy(cells)


def _start(generator: np.random.Generator, centre: float, length: int, whole: int) -> int:
    """Where a part of an axis may begin that holds a lesion's centre, away from its own ends if it can."""
    margin = length // 4
    low = int(np.clip(np.ceil(centre - length + margin), 0, whole - length))
    high = int(np.clip(np.floor(centre - margin), 0, whole - length))
    return int(generator.integers(min(low, high), high + 1))


def load_split(name: str, cache: Path, workers: int, limit: int | None = None) -> Studies:
    """The studies of a split; those that the cache folder does not hold are rendered and kept."""
    seeds = list(SPLITS[name])[:limit]
    cache.mkdir(parents=True, exist_ok=True)
    paths = [cache / f"liver-{seed}.npz" for seed in seeds]
    todo = [(seed, path) for seed, path in zip(seeds, paths, strict=True) if not path.exists()]
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(_keep, *zip(*todo, strict=True), chunksize=8) if todo else ())
    volumes = np.empty((len(seeds), len(PHASES), SIZE, SIZE, SLICES), np.float16)
    facts = []
    for at, path in enumerate(paths):
        with np.load(path) as kept:
            volumes[at] = kept["volumes"]
            facts.append(kept["facts"])
    label, x, y, z, radius = np.array(facts, np.float32).T
    return Studies(volumes, label.astype(np.int64), np.stack([x, y, z], axis=1), radius)


def _keep(seed: int, path: Path) -> None:
    study = liver_study(seed)
    temporary = path.with_suffix(".tmp.npz")
    np.savez(temporary, volumes=as_input(study).astype(np.float16), facts=_facts(study))
    temporary.replace(path)


def as_input(study: LiverStudy) -> NDArray[np.float32]:
    """What the bundle's preprocessing makes of a study: [8, X, Y, Z]."""
    volumes = np.stack([study.volumes[phase] for phase in PHASES]).astype(np.float32)  # [8, S, P, L]
    turned = torch.from_numpy(np.ascontiguousarray(volumes.transpose(0, 3, 2, 1)[:, :, ::-1]))  # [8, L, A, S]
    sized = F.adaptive_avg_pool3d(turned, (SIZE, SIZE, SLICES)).numpy()
    means = sized.mean(axis=(1, 2, 3), keepdims=True)
    result: NDArray[np.float32] = (sized - means) / sized.std(axis=(1, 2, 3), keepdims=True)
    return result


def _facts(study: LiverStudy) -> NDArray[np.float32]:
    """Label, centre along X, Y and Z, and radius, in the network's voxels; a study's plane is already SIZE x SIZE."""
    z, y, x = study.lesion_index
    z = (z + 0.5) * SLICES / len(study.volumes[PHASES[0]]) - 0.5
    radius = study.patient.lesion.radius_mm / study.spacing_mm[1]
    return np.array([study.label, x, SIZE - 1 - y, z, radius], np.float32)
