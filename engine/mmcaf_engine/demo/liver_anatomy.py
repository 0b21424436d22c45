"""Draws the upper abdomen in eight MR phases: body, liver, spleen, kidneys, stomach, vessels, spine; numpy only.

Coordinates are mm from the centre of the volume: z to the head, y to the back, x to the patient's left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PHASES = ("t2", "dwi", "in_phase", "out_phase", "c_pre", "c_a", "c_delay", "c_v")
"""T2, diffusion at high b-value, in and out of phase, before contrast, arterial, delayed, portal venous."""

F32 = NDArray[np.float32]
Looks = NDArray[np.float32]
"""One signal for each of `PHASES`, [8]."""

_SIGNALS = {
    #            t2   dwi  in   out  pre  art  del  ven
    "fat": (480, 50, 700, 640, 220, 225, 230, 230),
    "muscle": (140, 100, 300, 300, 300, 340, 380, 370),
    "inside": (330, 110, 480, 430, 240, 260, 290, 285),
    "liver": (220, 180, 400, 395, 380, 430, 600, 650),
    "spleen": (380, 420, 330, 330, 300, 700, 600, 640),
    "kidney": (420, 440, 320, 320, 300, 820, 700, 760),
    "stomach": (450, 140, 250, 250, 220, 250, 260, 260),
    "spine": (300, 120, 380, 330, 300, 350, 430, 420),
    "aorta": (60, 30, 250, 250, 280, 1000, 620, 700),
    "cava": (80, 35, 250, 250, 280, 480, 620, 690),
    "portal": (90, 35, 260, 260, 280, 520, 640, 770),
    "vein": (90, 35, 260, 260, 280, 320, 640, 750),
    "bile": (950, 190, 180, 180, 180, 180, 185, 180),
}
"""Relative signals as textbooks describe them; no scanner's."""


def signal(tissue: str) -> Looks:
    """A tissue's signal in every phase."""
    return np.array(_SIGNALS[tissue], np.float32)


@dataclass(frozen=True)
class Grid:
    """Voxel centres in mm, broadcastable: z [D, 1, 1], y [1, H, 1], x [1, 1, W]; edge: width of soft edges, mm."""

    z: F32
    y: F32
    x: F32
    edge: float

    @classmethod
    def centred(cls, slices: int, size: int, spacing_mm: tuple[float, float, float]) -> Grid:
        """A grid whose centre is the origin."""
        z, y, x = (
            ((np.arange(n) - 0.5 * (n - 1)) * step).astype(np.float32)
            for n, step in zip((slices, size, size), spacing_mm, strict=True)
        )
        return cls(z[:, None, None], y[None, :, None], x[None, None, :], 1.2 * spacing_mm[1])


@dataclass(frozen=True)
class Abdomen:
    """One person's measures, mm. scale: of all organs."""

    body_x: float
    body_y: float
    fat: float
    scale: float
    liver_x: float
    liver_z: float
    left_lobe: float

    def body(self, grid: Grid) -> F32:
        """Signed distance to the skin, negative inside; so are the others."""
        return _ellipsoid(grid, (0.0, 0.0, 0.0), (1e6, self.body_y + self.fat, self.body_x + self.fat), 2.4)

    def wall(self, grid: Grid) -> F32:
        return _ellipsoid(grid, (0.0, 0.0, 0.0), (1e6, self.body_y, self.body_x), 2.4)

    def cavity(self, grid: Grid) -> F32:
        return _ellipsoid(grid, (0.0, -4.0, 0.0), (1e6, self.body_y - 16.0, self.body_x - 14.0), 2.4)

    def liver(self, grid: Grid) -> F32:
        """The right lobe, against the wall, and the left one before the stomach."""
        s = self.scale
        right = _ellipsoid(grid, (self.liver_z, -8.0 * s, -58.0 * s), (84.0 * s, 74.0 * s, self.liver_x * s), 2.2)
        left = _ellipsoid(
            grid, (self.liver_z + 22.0, -48.0 * s, 12.0 * s), (38.0 * s, 32.0 * s, self.left_lobe * s), 2.0
        )
        spine = _ellipsoid(grid, (0.0, 58.0 * s, 4.0), (1e6, 40.0, 40.0), 2.0)
        inside: F32 = np.maximum(np.minimum(right, left), np.maximum(self.cavity(grid) + 2.0, 4.0 - spine))
        return inside


def make_abdomen(rng: np.random.Generator) -> Abdomen:
    """Draw a person."""
    scale = float(rng.normal(1.0, 0.05))
    return Abdomen(
        body_x=float(rng.normal(148.0, 6.0)) * scale,
        body_y=float(rng.normal(104.0, 5.0)) * scale,
        fat=float(rng.uniform(4.0, 20.0)),
        scale=scale,
        liver_x=float(rng.normal(82.0, 4.0)),
        liver_z=float(rng.normal(4.0, 6.0)),
        left_lobe=float(rng.normal(58.0, 6.0)),
    )


def draw_abdomen(person: Abdomen, grid: Grid, rng: np.random.Generator) -> F32:
    """The abdomen without lesion, coil and noise: signal [8, D, H, W]."""
    s = person.scale
    shape = (len(PHASES), grid.z.shape[0], grid.y.shape[1], grid.x.shape[2])
    image = np.zeros(shape, np.float32)
    paint(image, person.body(grid), signal("fat"), grid.edge)
    paint(image, person.wall(grid), signal("muscle"), grid.edge)
    paint(image, person.cavity(grid), signal("inside"), 3.0)
    paint(image, _ellipsoid(grid, (18.0, -22.0 * s, 66.0 * s), (46.0, 38.0, 42.0), 2.0), signal("stomach"), 4.0)
    paint(image, _ellipsoid(grid, (22.0, 38.0 * s, 98.0 * s), (46.0, 40.0, 27.0), 2.2), signal("spleen"), grid.edge)
    for side in (-1.0, 1.0):
        centre = (-58.0, 50.0 * s, 62.0 * side * s)
        paint(image, _ellipsoid(grid, centre, (48.0, 26.0, 24.0), 2.2), signal("kidney"), grid.edge)
    liver = person.liver(grid)
    paint(image, liver, signal("liver") * float(rng.normal(1.0, 0.06)), grid.edge)
    for tube, tissue in _vessels(s, person.liver_z):
        paint(image, np.maximum(_tube(grid, *tube), liver), signal(tissue), 2.5)
    paint(image, _ellipsoid(grid, (-34.0, -52.0 * s, -42.0 * s), (26.0, 20.0, 12.0), 2.0), signal("bile"), grid.edge)
    paint(image, _ellipsoid(grid, (0.0, 68.0 * s, 0.0), (1e6, 20.0, 24.0), 2.2), signal("spine"), grid.edge)
    paint(image, _ellipsoid(grid, (0.0, 40.0 * s, 13.0), (1e6, 10.0, 10.0), 2.0), signal("aorta"), grid.edge)
    paint(image, _ellipsoid(grid, (0.0, 34.0 * s, -20.0), (1e6, 10.0, 13.0), 2.0), signal("cava"), grid.edge)
    return image


def paint(image: F32, distance: F32, looks: Looks, edge: float, box: tuple[slice, ...] = ()) -> None:
    """Blend a tissue into [8, D, H, W], or a box of it, where the signed distance [D, H, W] is negative."""
    part = image[(slice(None), *box)]
    weight = np.clip(0.5 - distance / np.float32(edge), 0.0, 1.0)[np.newaxis]
    part += weight * (looks[:, None, None, None] - part)


def _vessels(
    s: float, z: float
) -> tuple[tuple[tuple[tuple[float, float, float], tuple[float, float, float], float], str], ...]:
    """((from, to, radius), tissue): the portal vein with its branches, and three hepatic veins."""
    gate, fork = (z - 30.0, 16.0 * s, -6.0), (z - 6.0, -2.0, -40.0 * s)
    top = (z + 56.0, 30.0 * s, -22.0)
    return (
        ((gate, fork, 7.0), "portal"),
        ((fork, (z - 16.0, 12.0, -96.0 * s), 5.0), "portal"),
        ((fork, (z + 22.0, -44.0 * s, 18.0), 4.5), "portal"),
        ((top, (z + 4.0, 10.0, -104.0 * s), 4.5), "vein"),
        ((top, (z + 8.0, -52.0 * s, -56.0 * s), 4.5), "vein"),
        ((top, (z + 26.0, -50.0 * s, 12.0), 4.0), "vein"),
    )


def _ellipsoid(grid: Grid, centre: tuple[float, float, float], radii: tuple[float, float, float], power: float) -> F32:
    """About the distance in mm to a superellipsoid; negative inside."""
    scaled = (
        np.abs((axis - np.float32(c)) / np.float32(r)) ** np.float32(power)
        for axis, c, r in zip((grid.z, grid.y, grid.x), centre, radii, strict=True)
    )
    level = sum(scaled) ** np.float32(1.0 / power)
    distance: F32 = (level - 1.0) * np.float32(min(radii))
    return distance


def _tube(grid: Grid, start: tuple[float, float, float], end: tuple[float, float, float], radius: float) -> F32:
    """The distance in mm to a straight tube with round ends; negative inside."""
    way = np.subtract(end, start).astype(np.float32)
    offsets = [axis - np.float32(c) for axis, c in zip((grid.z, grid.y, grid.x), start, strict=True)]
    along = np.clip(sum(o * w for o, w in zip(offsets, way, strict=True)) / np.float32(way @ way), 0.0, 1.0)
    square = sum((o - along * w) ** 2 for o, w in zip(offsets, way, strict=True))
    distance: F32 = np.sqrt(square) - np.float32(radius)
    return distance
