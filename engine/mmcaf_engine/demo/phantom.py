"""Seeded chest-CT phantoms in Hounsfield units with a clinical record; numpy only.

Nothing here is a patient. A seed fixes everything: the same seed gives the same voxels and record.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .anatomy import draw_slice
from .nodule import draw_nodule
from .patient import TABLE_ORDER, Nodule, PhantomPatient, make_patient, record
from .thorax import Thorax
from .vessels import Grid, draw_tubes, grow_tree

__all__ = ["TABLE_ORDER", "Nodule", "Phantom", "PhantomPatient", "make_patient", "make_phantom", "record"]

F32 = NDArray[np.float32]

_NOISE_SLICES = 6


@dataclass(frozen=True)
class Phantom:
    """A phantom study: `hu` int16 [D, H, W], `spacing_mm` (dz, dy, dx); slice 0 is the lowest (feet)."""

    hu: NDArray[np.int16]
    spacing_mm: tuple[float, float, float]
    patient: PhantomPatient

    @property
    def nodule_index(self) -> tuple[float, float, float]:
        """Centre of the nodule in voxels (z, y, x)."""
        z, y, x = (
            c / s + 0.5 * (n - 1)
            for c, s, n in zip(self.patient.nodule.center_mm, self.spacing_mm, self.hu.shape, strict=True)
        )
        return z, y, x


def make_phantom(seed: int, *, size: int = 512) -> Phantom:
    """Render the phantom of `seed` on a size x size grid; an even size of at least 64."""
    if size < 64 or size % 2:
        raise ValueError(f"phantom size: got {size}, expected an even number of at least 64 pixels")
    patient = make_patient(seed)
    thorax, nodule = patient.thorax, patient.nodule
    dx = round(thorax.fov / size, 6)
    z = _centers(thorax.slices, thorax.spacing_z)
    grid = Grid(z, _centers(size, dx), _centers(size, dx))
    hu = _draw_chest(thorax, grid)
    rng = np.random.default_rng([seed, 4])
    draw_tubes(hu, grid, grow_tree(thorax, rng), thorax.blood_hu)
    draw_nodule(hu, grid, nodule, rng, _tag_end(thorax, nodule))
    return Phantom(_add_noise(hu, thorax, rng), (thorax.spacing_z, dx, dx), patient)


def _centers(n: int, step: float) -> F32:
    return ((np.arange(n) - 0.5 * (n - 1)) * step).astype(np.float32)


def _draw_chest(thorax: Thorax, grid: Grid) -> F32:
    """Chest without lung vessels and nodule, [D, H, W]; drawn at half the resolution, then doubled."""
    n = len(grid.x)
    coarse = (0.5 * (grid.x[0::2] + grid.x[1::2])).astype(np.float32)
    edge = max(1.6, 1.2 * float(coarse[1] - coarse[0]))
    hu = np.empty((len(grid.z), n, n), np.float32)
    for k, z in enumerate(grid.z):
        hu[k] = _double(_double(draw_slice(thorax, float(z), coarse, coarse, edge)).T).T
    return hu


def _double(a: F32) -> F32:
    """Twice the rows of a, linear between cell centres."""
    out = np.empty((2 * a.shape[0], a.shape[1]), np.float32)
    out[2::2] = 0.75 * a[1:] + 0.25 * a[:-1]
    out[1:-1:2] = 0.75 * a[:-1] + 0.25 * a[1:]
    out[0], out[-1] = a[0], a[-1]
    return out


def _tag_end(thorax: Thorax, nodule: Nodule) -> tuple[float, float, float]:
    """Where the straight way outwards from the nodule meets the chest wall, at most 35 mm away."""
    z, y, x = nodule.center_mm
    direction = np.array([y / thorax.cavity_y**2, x / thorax.cavity_x**2])
    direction = direction / max(float(np.linalg.norm(direction)), 1e-9)
    for step in range(1, 36):
        end = z, float(y + step * direction[0]), float(x + step * direction[1])
        if thorax.wall(*end) > 0.0:
            break
    return end


def _add_noise(hu: F32, thorax: Thorax, rng: np.random.Generator) -> NDArray[np.int16]:
    """Add scanner noise and lung texture, round and clip to -1024..3071 HU."""
    d, n, _ = hu.shape
    scanner = _band_noise(rng, _NOISE_SLICES, n, low=0.06, high=0.30)
    texture = _band_noise(rng, _NOISE_SLICES, n, low=0.015, high=0.09)
    # Averaging over a larger pixel lowers the noise: keep the dose, not the noise, constant.
    sigma = np.float32(thorax.noise_hu * min(1.0, n / 512.0))
    out = np.empty(hu.shape, np.int16)
    for k in range(d):
        tile = int(rng.integers(_NOISE_SLICES))
        shift = tuple(int(v) for v in rng.integers(0, n, 2))
        noise = np.roll(scanner[tile], shift, (0, 1))
        noise *= sigma
        lung = np.clip((-400.0 - hu[k]) * np.float32(1 / 200.0), 0.0, 1.0)
        lung *= hu[k] > -960.0
        lung *= np.float32(38.0)
        lung *= np.roll(texture[tile], shift[::-1], (0, 1))
        noise += lung
        noise += hu[k]
        np.clip(np.rint(noise, out=noise), -1024.0, 3071.0, out=noise)
        out[k] = noise
    return out


def _band_noise(rng: np.random.Generator, count: int, n: int, *, low: float, high: float) -> F32:
    """Unit-variance noise images [count, n, n]; power between two frequencies in cycles per pixel."""
    fy = np.fft.fftfreq(n)[:, None]
    fx = np.fft.rfftfreq(n)[None, :]
    f = np.sqrt(fy * fy + fx * fx)
    shape = f * np.exp(-((f / high) ** 2)) / (f + low)
    shape[0, 0] = 0.0
    white = rng.standard_normal((count, n, n), dtype=np.float32)
    image = np.fft.irfft2(np.fft.rfft2(white) * shape, s=(n, n)).astype(np.float32)
    image /= image.std(axis=(1, 2), keepdims=True)
    return image
