"""Draws one lung nodule: margin, spicules, halo, patchy inside and cavity, with partial-volume averaging."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .patient import Nodule
from .vessels import Grid

F32 = NDArray[np.float32]

_HALO_HU = -520.0
_COLLAPSED_HU = 38.0
_SPREAD = 0.5  # half-width of a collapsed wedge per mm of distance from the nodule


def draw_nodule(hu: F32, grid: Grid, nodule: Nodule, rng: np.random.Generator, tag_end: tuple[float, ...]) -> None:
    """Draw `nodule` into a volume [D, H, W] in HU, in place.

    `tag_end` is the point (z, y, x) in mm where a pleural tag would meet the chest wall.
    """
    radius = 0.5 * nodule.diameter_mm
    reach = 2.1 * radius + 4.0
    center = np.array(nodule.center_mm)
    low, high = center - reach, center + reach
    if nodule.pleural_tag or nodule.collapse:
        end = np.array(tag_end)
        pad = 2.0 + (_SPREAD * float(np.linalg.norm(end - center)) + radius if nodule.collapse else 0.0)
        low, high = np.minimum(low, end - pad), np.maximum(high, end + pad)
    box = grid.box(low, high)
    part = hu[box]
    if part.size == 0:
        return
    dz, dy, _ = grid.spacing
    fine = max(1, round(dy / 0.8))
    sub_z = max(1, round(dz / 1.2))
    p = [
        _refine(axis[index], step, n) - np.float32(c)
        for axis, index, step, n, c in zip(
            (grid.z, grid.y, grid.x), box, grid.spacing, (sub_z, fine, fine), center, strict=True
        )
    ]
    offset = np.array(tag_end) - center
    z, y, x = p[0][:, None, None], p[1][None, :, None], p[2][None, None, :]
    value, cover, halo = _render(z, y, x, nodule, rng, offset, max(dy / fine, 0.5))
    weighted = cover * value
    if nodule.collapse:
        wedge = np.maximum(_wedge(z, y, x, offset, radius) - cover, 0.0)
        weighted += wedge * _COLLAPSED_HU
        cover = cover + wedge
    cover, weighted, halo = (_pool(a, sub_z, fine) for a in (cover, weighted, halo))
    np.maximum(part, part + halo * (_HALO_HU - part), out=part)
    part *= 1.0 - cover
    part += weighted


def _render(
    z: F32, y: F32, x: F32, nodule: Nodule, rng: np.random.Generator, tag: NDArray[np.float64], edge: float
) -> tuple[F32, F32, F32]:
    """Nodule HU, its cover 0..1 and the cover of its ground-glass halo, at positions relative to its centre."""
    radius = 0.5 * nodule.diameter_mm
    square = z * z + y * y + x * x
    r = np.sqrt(square) + np.float32(1e-3)
    surface = _lobulated(z / r, y / r, x / r, radius, nodule.lobulation, rng)
    body = r - surface

    margin = body
    for direction in _directions(rng, round(13 * nodule.spiculation)):
        length = radius * rng.uniform(1.35, 1.5 + 0.55 * nodule.spiculation) + 1.5
        base = min(0.34 * radius + 0.6, 3.2)
        along = z * direction[0] + y * direction[1] + x * direction[2]
        across = np.sqrt(np.maximum(square - along * along, 0.0))
        spike = across - base * (1.15 - along / length)
        margin = np.minimum(margin, np.maximum(spike, np.maximum(-along, along - length)))
    if nodule.pleural_tag:
        length = float(np.linalg.norm(tag))
        direction = tag / max(length, 1e-3)
        along = z * direction[0] + y * direction[1] + x * direction[2]
        across = np.sqrt(np.maximum(square - along * along, 0.0))
        margin = np.minimum(margin, np.maximum(across - 1.3, np.maximum(-along, along - length)))

    value = np.full(r.shape, nodule.solid_hu, np.float32)
    value -= (650.0 * nodule.patchiness) * _patches(z, y, x, rng, max(0.45 * radius, 2.6))
    cover = np.clip(0.5 - margin / edge, 0.0, 1.0)
    if nodule.cavity > 0.0:
        shift = rng.normal(0.0, 0.10 * radius, 3)
        hole = np.sqrt((z - shift[0]) ** 2 + (y - shift[1]) ** 2 + (x - shift[2]) ** 2)
        air = np.clip(0.5 - (hole - nodule.cavity * radius) / edge, 0.0, 1.0)
        value += air * (-900.0 - value)
    halo = np.clip(0.5 - (body - 0.35 * nodule.patchiness * radius) / 3.0, 0.0, 1.0) * nodule.patchiness
    return value, cover, halo.astype(np.float32)


def _wedge(z: F32, y: F32, x: F32, end: NDArray[np.float64], radius: float) -> F32:
    """Cover 0..1 of airless lung that widens from the nodule to the chest wall."""
    length = max(float(np.linalg.norm(end)), 1e-3)
    direction = (end / length).astype(np.float32)
    along = z * direction[0] + y * direction[1] + x * direction[2]
    across = np.sqrt(np.maximum(z * z + y * y + x * x - along * along, 0.0))
    distance = np.maximum(across - _SPREAD * along - 0.3 * radius, np.maximum(-along, along - length))
    cover: F32 = np.clip(0.5 - distance / 1.5, 0.0, 1.0)
    return cover


def _lobulated(z: F32, y: F32, x: F32, radius: float, amount: float, rng: np.random.Generator) -> F32:
    """Radius of the body along unit directions: a sphere with broad bulges."""
    surface = np.full(np.broadcast_shapes(z.shape, y.shape, x.shape), 1.0 - 0.16 * amount, np.float32)
    for direction in _directions(rng, 6):
        cosine = z * direction[0] + y * direction[1] + x * direction[2]
        surface += (0.55 * amount * rng.uniform(0.5, 1.0)) * np.exp((cosine - 1.0) * 7.0)
    body: F32 = surface * radius
    return body


def _patches(z: F32, y: F32, x: F32, rng: np.random.Generator, scale: float) -> F32:
    """Blotches 0..1 from a few plane waves of about the given size in mm."""
    total = np.zeros(np.broadcast_shapes(z.shape, y.shape, x.shape), np.float32)
    for direction in _directions(rng, 7):
        k = direction * (2.0 * np.pi / (scale * rng.uniform(1.4, 2.4)))
        total += np.cos(z * k[0] + y * k[1] + x * k[2] + rng.uniform(0.0, 2.0 * np.pi))
    blotches: F32 = np.clip(0.5 + 0.55 * total, 0.0, 1.0)
    return blotches


def _directions(rng: np.random.Generator, count: int) -> F32:
    """Random unit vectors [count, 3]."""
    v = rng.normal(size=(count, 3))
    unit: F32 = (v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _refine(axis: F32, step: float, n: int) -> F32:
    """Centres of n sub-samples of every sample of an axis."""
    offset = (np.arange(n, dtype=np.float32) + 0.5) / n - 0.5
    refined: F32 = (axis[:, None] + offset[None, :] * np.float32(step)).astype(np.float32).ravel()
    return refined


def _pool(a: F32, sub_z: int, fine: int) -> F32:
    """Average sub-samples back to voxels."""
    d, h, w = a.shape
    a = a.reshape(d // sub_z, sub_z, h // fine, fine, w // fine, fine)
    pooled: F32 = a.mean(axis=(1, 3, 5))
    return pooled
