"""Shape of a phantom's chest: sizes in mm and the distance functions that every tissue is drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any  # numpy array or float: the distance functions work on both


@dataclass(frozen=True)
class Thorax:
    """Chest geometry, all in mm. x grows to the patient's left, y to the back, z to the head.

    The origin is the centre of the scanned slab, which is `slices * spacing_z` high.
    """

    slices: int
    spacing_z: float
    fov: float
    cavity_x: float
    cavity_y: float
    muscle: float
    fat: float
    heart: float
    carina_z: float
    heart_top_z: float
    breast: float
    bone_hu: float
    lung_hu: float
    blood_hu: float
    noise_hu: float

    @property
    def height_mm(self) -> float:
        """Height of the slab."""
        return self.slices * self.spacing_z

    def taper(self, z: Array) -> Array:
        """In-plane scale of the chest cavity at height z: it narrows to the apex."""
        up = np.maximum(z + 20.0, 0.0) / 110.0
        return 1.0 - 0.22 * up * up

    def wall(self, z: Array, y: Array, x: Array) -> Array:
        """Signed distance to the inner chest wall, negative inside."""
        s = self.taper(z)
        return ellipse(y, x, 0.0, 0.0, self.cavity_y * s, self.cavity_x * s, 2.4)

    def heart_size(self, z: Array) -> Array:
        """Scale 0..1 of the heart at height z; 0 above its top."""
        below = np.clip((self.heart_top_z - z) / 45.0, 0.0, 1.0)
        return np.sqrt(below)

    def mediastinum(self, z: Array, y: Array, x: Array) -> Array:
        """Signed distance to mediastinum, heart and spine together, negative inside."""
        h = self.heart_size(z)
        spine_y = self.cavity_y - 8.0
        central = ellipse(y, x, -2.0, 3.0, 0.62 * self.cavity_y, 30.0 + 4.0 * h, 2.0)
        front = np.maximum(np.abs(x) - 9.0, y + 10.0)
        spine = ellipse(y, x, spine_y, 0.0, 30.0, 30.0, 2.0)
        heart = ellipse(y, x, -0.12 * self.cavity_y, 20.0, 1.0 + self.heart * h * 0.78, 1.0 + self.heart * h, 2.2)
        return np.minimum(np.minimum(central, front), np.minimum(spine, heart))

    def lung(self, z: Array, y: Array, x: Array) -> Array:
        """Signed distance to the two lungs, negative inside."""
        return np.maximum(self.wall(z, y, x), -self.mediastinum(z, y, x))

    def lung_depth(self, z: float, y: float, x: float) -> tuple[float, float]:
        """Depth in mm of a point inside a lung (negative outside) and its centrality, 1 at the hilum."""
        depth = float(-self.lung(z, y, x))
        to_wall = max(float(-self.wall(z, y, x)), 0.0)
        to_hilum = float(np.hypot(abs(x) - 36.0, y - 2.0))
        return depth, to_wall / (to_wall + to_hilum + 1e-6)


def ellipse(y: Array, x: Array, cy: float, cx: float, ry: Array, rx: Array, power: float) -> Array:
    """Approximate signed distance in mm to a superellipse; exact in sign, first order at the edge."""
    ry, rx = np.float32(ry), np.float32(rx)  # float64 scalars would turn whole slices into float64
    if power == 2.0:
        u, v = (y - cy) / ry, (x - cx) / rx
        level = np.sqrt(v * v + u * u)
    else:
        level = (np.abs((y - cy) / ry) ** power + np.abs((x - cx) / rx) ** power) ** (1.0 / power)
    return (level - 1.0) * np.minimum(ry, rx)


def make_thorax(seed: int, sex: str, age: int, weight: float) -> Thorax:
    """Draw the chest of a patient; sex, age and weight set its size, fat and bone."""
    rng = np.random.default_rng([seed, 3])
    male = sex == "M"
    cavity_x = float(rng.normal(131.0 if male else 119.0, 4.0))
    cavity_y = float(rng.normal(92.0 if male else 84.0, 4.0) + 0.06 * (weight - 70.0))
    muscle = float(np.clip(rng.normal(20.0 if male else 15.0, 2.0), 9.0, 27.0))
    fat = float(np.clip(0.33 * (weight - (56.0 if male else 47.0)) + rng.normal(7.0, 2.0), 3.0, 34.0))
    spacing_z = float(rng.choice([2.5, 3.0, 4.0, 5.0], p=[0.35, 0.35, 0.2, 0.1]))
    fov = 2.0 * (cavity_x + 10.0 + muscle + fat) * 1.06 + float(rng.uniform(0.0, 20.0))
    return Thorax(
        slices=int(rng.integers(24, 37)),
        spacing_z=spacing_z,
        # The DICOM attribute holds the pixel size as decimal text: round it so that both agree.
        fov=round(fov / 512.0, 4) * 512.0,
        cavity_x=cavity_x,
        cavity_y=cavity_y,
        muscle=muscle,
        fat=fat,
        heart=float(rng.normal(54.0 if male else 50.0, 3.0)),
        carina_z=float(rng.normal(22.0, 6.0)),
        heart_top_z=float(rng.normal(4.0, 6.0)),
        breast=0.0 if male else float(rng.uniform(25.0, 45.0)),
        bone_hu=float(rng.normal(210.0 - 1.2 * (age - 50), 20.0)),
        lung_hu=float(rng.normal(-855.0 - 0.4 * (age - 60), 18.0)),
        blood_hu=float(rng.normal(46.0, 5.0)),
        noise_hu=float(rng.uniform(14.0, 26.0)),
    )
