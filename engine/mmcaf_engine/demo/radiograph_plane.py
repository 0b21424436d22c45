"""The detector's plane, and the shapes that a radiograph is drawn from; numpy only.

Coordinates are mm from the centre of the image: z to the head, x to the patient's left, which is right in the image.
Thickness is along the beam.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
Point = tuple[float, float]
"""(z, x), mm."""


@dataclass(frozen=True)
class Plane:
    """Pixel centres in mm, broadcastable: z [H, 1], falling from row to row, and x [1, W]; pixel: their distance."""

    z: F32
    x: F32
    pixel: float

    @classmethod
    def centred(cls, size: int, pixel: float) -> Plane:
        """size x size pixels whose centre is the origin."""
        axis = ((np.arange(size) - 0.5 * (size - 1)) * pixel).astype(np.float32)
        return cls(-axis[:, None], axis[None, :], pixel)

    @property
    def shape(self) -> tuple[int, int]:
        return self.z.shape[0], self.x.shape[1]

    def box(self, low: Point, high: Point) -> tuple[slice, slice]:
        """Rows and columns that cover the rectangle between two corners, as far as the plane has them."""
        rows = np.searchsorted(-self.z[:, 0], (-high[0], -low[0]))
        columns = np.searchsorted(self.x[0], (low[1], high[1]))
        return slice(*map(int, rows)), slice(*map(int, columns))

    def part(self, box: tuple[slice, slice]) -> Plane:
        """Some of its rows and columns."""
        return Plane(self.z[box[0]], self.x[:, box[1]], self.pixel)


def ellipsoid(plane: Plane, centre: Point, radii: Point, *, angle: float = 0.0, power: float = 2.0) -> F32:
    """Thickness of an ellipsoid as a share of its thickest place, 1 to 0, [H, W]; angle: turned so far, radians."""
    dz, dx = plane.z - np.float32(centre[0]), plane.x - np.float32(centre[1])
    if angle:
        c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        dz, dx = c * dz + s * dx, c * dx - s * dz
    rest = 1.0 - _power(dz / np.float32(radii[0]), power) - _power(dx / np.float32(radii[1]), power)
    share: F32 = np.sqrt(np.maximum(rest, 0.0))
    return share


def step(distance: F32, width: float) -> F32:
    """1 where the distance is negative, 0 where it is positive, straight between over `width` mm."""
    inside: F32 = np.clip(0.5 - distance / np.float32(width), 0.0, 1.0)
    return inside


def near(layer: F32, plane: Plane, points: NDArray[np.float64], radii: NDArray[np.float64]) -> None:
    """Lower a layer [H, W] to the distance from a line through points [n, 2], in parts of the line's radius [n].

    Where the layer is below 1 is inside; how far below tells how deep. Farther than 1.5 radii nothing changes.
    """
    for (first, second), radius in zip(pairwise(points), radii[:-1], strict=True):
        reach = 1.5 * radius + plane.pixel
        low, high = np.minimum(first, second) - reach, np.maximum(first, second) + reach
        box = plane.box((low[0], low[1]), (high[0], high[1]))
        here = layer[box]
        if not here.size:
            continue
        away = _to_segment(plane.part(box), first, second)
        away /= np.float32(radius)
        np.minimum(here, away, out=here)


def tube(layer: F32, wall: float = 1.0) -> F32:
    """Thickness of the tubes in a layer of `near`, in parts of their radius; wall: the part of it that is solid."""
    square = layer * layer
    solid = np.sqrt(np.maximum(1.0 - square, 0.0))
    if wall < 1.0:
        solid = solid - np.sqrt(np.maximum((1.0 - wall) ** 2 - square, 0.0))
    thickness: F32 = 2.0 * solid
    return thickness


def blur(image: F32, width: float) -> F32:
    """About a Gaussian of this standard deviation in pixels; edges are repeated outwards."""
    half = round(width)
    for _ in range(3 if half else 0):
        for axis in (0, 1):
            image = _box_mean(image, half, axis)
    return image


def clouds(rng: np.random.Generator, plane: Plane, size_mm: float) -> F32:
    """Smooth noise [H, W] of unit variance whose lumps are about so large, the same for every pixel size."""
    cells = max(int(np.ceil(plane.shape[0] * plane.pixel / size_mm)), 1) + 3
    grid = rng.standard_normal((cells, cells)).astype(np.float32)
    at_z = (plane.z[:, 0].max() - plane.z[:, 0]) / np.float32(size_mm)
    at_x = (plane.x[0] - plane.x[0].min()) / np.float32(size_mm)
    lumps: F32 = (_weights(at_z, cells) @ grid @ _weights(at_x, cells).T * 1.6).astype(np.float32)
    return lumps


def _weights(at: F32, cells: int) -> F32:
    """Raised-cosine interpolation from cells to positions, [n, cells]."""
    away = np.minimum(np.abs(at[:, None] - np.arange(cells, dtype=np.float32)[None, :] + 0.5), 1.0)
    weights: F32 = (0.5 + 0.5 * np.cos(np.pi * away)).astype(np.float32)
    return weights


def _power(value: F32, power: float) -> F32:
    result: F32 = value * value if power == 2.0 else np.abs(value) ** np.float32(power)
    return result


def _to_segment(plane: Plane, first: NDArray[np.float64], second: NDArray[np.float64]) -> F32:
    way = (second - first).astype(np.float32)
    dz, dx = plane.z - np.float32(first[0]), plane.x - np.float32(first[1])
    along = (dz * way[0] + dx * way[1]) * np.float32(1.0 / max(float(way @ way), 1e-6))
    np.clip(along, 0.0, 1.0, out=along)
    distance: F32 = np.sqrt((dz - along * way[0]) ** 2 + (dx - along * way[1]) ** 2)
    return distance


def _box_mean(image: F32, half: int, axis: int) -> F32:
    pad = [(0, 0), (0, 0)]
    pad[axis] = (half + 1, half)
    sums = np.cumsum(np.pad(image, pad, mode="edge"), axis=axis, dtype=np.float64)
    length = image.shape[axis]
    window = 2 * half + 1
    high = np.take(sums, np.arange(window, window + length), axis=axis)
    low = np.take(sums, np.arange(length), axis=axis)
    mean: F32 = ((high - low) / window).astype(np.float32)
    return mean
