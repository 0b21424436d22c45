"""Branching lung vessels and bronchi, drawn as tapering tubes on the full pixel grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .thorax import Thorax

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """Sample positions of a volume in mm: z [D], y [H], x [W], evenly spaced."""

    z: F32
    y: F32
    x: F32

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between neighbouring samples (dz, dy, dx), mm."""
        z, y, x = (float((axis[-1] - axis[0]) / (len(axis) - 1)) for axis in (self.z, self.y, self.x))
        return z, y, x

    def box(self, low: F64, high: F64) -> tuple[slice, slice, slice]:
        """Index ranges that cover the box between two (z, y, x) corners, clipped to the volume."""
        ranges = []
        for axis, step, a, b in zip((self.z, self.y, self.x), self.spacing, low, high, strict=True):
            first = max(int(np.floor((a - axis[0]) / step)), 0)
            last = min(int(np.ceil((b - axis[0]) / step)) + 1, len(axis))
            ranges.append(slice(first, max(last, first)))
        return ranges[0], ranges[1], ranges[2]


@dataclass(frozen=True)
class Tube:
    """A tube between two (z, y, x) points in mm; `lumen` is its inner radius, 0 for a filled vessel."""

    start: F64
    end: F64
    radius: float
    lumen: float = 0.0


def grow_tree(thorax: Thorax, rng: np.random.Generator) -> list[Tube]:
    """Vessels and bronchi that branch from both hila until they reach the pleura."""
    tubes: list[Tube] = []
    for side in (-1.0, 1.0):
        hilum = np.array([rng.normal(0.0, 4.0), 4.0, side * 34.0])
        for _ in range(7):
            _branch(thorax, rng, tubes, hilum, _lateral(rng, side), rng.uniform(2.6, 3.8), 0, False)
        for _ in range(3):
            _branch(thorax, rng, tubes, hilum, _lateral(rng, side), rng.uniform(3.0, 3.8), 0, True)
    return tubes


def draw_tubes(hu: F32, grid: Grid, tubes: list[Tube], blood_hu: float) -> None:
    """Draw tubes into a volume [D, H, W] in HU, in place; half a voxel of blur at the edges."""
    dz, dy, _ = grid.spacing
    for tube in tubes:
        reach = tube.radius + dy
        pad = np.array([max(reach, 0.5 * dz), reach, reach])
        box = grid.box(np.minimum(tube.start, tube.end) - pad, np.maximum(tube.start, tube.end) + pad)
        part = hu[box]
        if part.size == 0:
            continue
        distance = _segment_distance(tube, grid.z[box[0]], grid.y[box[1]], grid.x[box[2]])
        if tube.lumen > 0.0:
            np.maximum(part, _cover(distance - tube.radius, dy) * 1000.0 - 970.0, out=part)
            part += _cover(distance - tube.lumen, dy) * (-960.0 - part)
        else:
            np.maximum(part, _cover(distance - tube.radius, dy) * (900.0 + blood_hu) - 900.0, out=part)


def _cover(distance: F32, edge: float) -> F32:
    cover: F32 = np.clip(0.5 - distance / edge, 0.0, 1.0)
    return cover


def _segment_distance(tube: Tube, z: F32, y: F32, x: F32) -> F32:
    axis = (tube.end - tube.start).astype(np.float32)
    pz = z[:, None, None] - np.float32(tube.start[0])
    py = y[None, :, None] - np.float32(tube.start[1])
    px = x[None, None, :] - np.float32(tube.start[2])
    along = (pz * axis[0] + py * axis[1]) + px * axis[2]
    along *= np.float32(1.0 / max(float(axis @ axis), 1e-6))
    np.clip(along, 0.0, 1.0, out=along)
    square = (pz - along * axis[0]) ** 2
    square += (py - along * axis[1]) ** 2
    square += (px - along * axis[2]) ** 2
    distance: F32 = np.sqrt(square)
    return distance


def _lateral(rng: np.random.Generator, side: float) -> F64:
    return _unit(np.array([rng.normal(0.0, 0.7), rng.normal(0.0, 0.8), side * rng.uniform(0.4, 1.0)]))


def _unit(v: F64) -> F64:
    return v / np.linalg.norm(v)


def _branch(
    thorax: Thorax,
    rng: np.random.Generator,
    tubes: list[Tube],
    start: F64,
    direction: F64,
    radius: float,
    level: int,
    airway: bool,
) -> None:
    end = start + direction * rng.uniform(14.0, 26.0)
    outside = thorax.lung(end[0], end[1], end[2]) > -3.0
    if (outside and level > 0) or abs(end[0]) > 0.5 * thorax.height_mm + 20.0:
        return
    tubes.append(Tube(start, end, radius, 0.62 * radius if airway else 0.0))
    if level == (2 if airway else 4) or radius < 0.9:
        return
    for _ in range(2):
        turned = _unit(direction + rng.normal(0.0, 0.42, 3))
        _branch(thorax, rng, tubes, end, turned, radius * rng.uniform(0.66, 0.82), level + 1, airway)
