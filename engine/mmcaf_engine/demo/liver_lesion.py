"""Focal liver lesions of seven kinds: what each looks like over the eight phases, and drawing one.

The kinds follow textbook behaviour over the phases, and are known by their numbers:

0  enhances in the arterial phase, washes out, has a late capsule, loses signal out of phase
1  very bright on T2, enhances from the rim inwards until it is filled
2  as bright as fluid on T2, never enhances
3  about liver before contrast, enhances strongly and evenly, but for a central scar that enhances late
4  restricts diffusion, enhances at its rim only
5  lobulated, restricts diffusion, enhances at its rim first and in its centre late
6  loses much signal out of phase, enhances moderately and stays so
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .liver_anatomy import F32, PHASES, Abdomen, Grid, Looks, paint

KINDS = 7

# Core and rim over t2, dwi, in, out, pre, arterial, delayed, venous.
_CORES = (
    (340, 380, 390, 290, 330, 830, 470, 540),
    (720, 380, 300, 300, 280, 310, 760, 480),
    (950, 200, 180, 180, 180, 180, 182, 181),
    (255, 230, 385, 380, 370, 900, 640, 690),
    (390, 480, 300, 300, 290, 300, 400, 350),
    (400, 450, 310, 310, 300, 310, 720, 430),
    (300, 270, 510, 190, 350, 660, 590, 640),
)
_RIMS = (
    (330, 370, 390, 290, 330, 800, 740, 690),
    (720, 380, 300, 300, 280, 950, 770, 830),
    (950, 200, 180, 180, 180, 180, 182, 181),
    (255, 230, 385, 380, 370, 900, 640, 690),
    (360, 500, 300, 300, 290, 640, 480, 540),
    (400, 470, 310, 310, 300, 560, 560, 560),
    (300, 270, 510, 190, 350, 660, 590, 640),
)
_SCAR = (480, 200, 300, 300, 300, 340, 780, 560)
_RIM = (0.14, 0.30, 0.1, 0.1, 0.28, 0.26, 0.1)
"""Thickness of the rim as a part of the radius."""
_LOBULATION = (0.05, 0.08, 0.02, 0.1, 0.06, 0.2, 0.05)
_CONTRAST_SPREAD = 0.12
"""Standard deviation of how much stronger or weaker than usual one lesion differs from liver in one phase."""
_DEPTH_MM = 6.0
"""A lesion lies at least so deep in the liver, where the liver is deep enough."""


@dataclass(frozen=True)
class Lesion:
    """One lesion; centre (z, y, x) in mm from the centre of the volume."""

    kind: int
    centre_mm: tuple[float, float, float]
    radius_mm: float


def make_lesion(kind: int, person: Abdomen, rng: np.random.Generator) -> Lesion:
    """Place a lesion of a kind in a person's liver: the deepest of a few random places that is deep enough."""
    radius = float(rng.uniform(13.0, 27.0))
    places = rng.uniform((-50.0, -70.0, -120.0), (60.0, 60.0, 60.0), (400, 3))
    z, y, x = places.astype(np.float32).T[:, :, None, None]
    depths = -person.liver(Grid(z, y, x, 1.0)).ravel()
    enough = np.flatnonzero(depths >= radius + _DEPTH_MM)
    chosen = places[enough[0] if len(enough) else int(depths.argmax())]
    return Lesion(kind, (float(chosen[0]), float(chosen[1]), float(chosen[2])), radius)


def draw_lesion(image: F32, lesion: Lesion, grid: Grid, liver: Looks, rng: np.random.Generator) -> None:
    """Draw a lesion into [8, D, H, W], in place; its contrast to `liver` varies from lesion to lesion."""
    reach = 1.4 * lesion.radius_mm + grid.edge
    box = tuple(
        slice(*np.searchsorted(axis.ravel(), (centre - reach, centre + reach)))
        for axis, centre in zip((grid.z, grid.y, grid.x), lesion.centre_mm, strict=True)
    )
    part = Grid(grid.z[box[0]], grid.y[:, box[1]], grid.x[:, :, box[2]], grid.edge)
    spread = rng.normal(1.0, _CONTRAST_SPREAD, len(PHASES)).astype(np.float32)
    phases = rng.uniform(0.0, 2.0 * np.pi, 3)
    distance = _distance(part, lesion, phases)
    if not distance.size:
        return

    def looks(signals: tuple[int, ...]) -> Looks:
        mixed: Looks = liver + (np.array(signals, np.float32) - liver) * spread
        return mixed

    rim = np.float32(_RIM[lesion.kind] * lesion.radius_mm)
    paint(image, distance, looks(_RIMS[lesion.kind]), grid.edge, box)
    paint(image, distance + rim, looks(_CORES[lesion.kind]), grid.edge, box)
    if lesion.kind == 3:
        paint(image, distance + np.float32(0.78 * lesion.radius_mm), looks(_SCAR), grid.edge, box)


def _distance(grid: Grid, lesion: Lesion, phases: NDArray[np.float64]) -> F32:
    """To the lobulated surface, mm; negative inside."""
    z, y, x = (
        axis - np.float32(centre) for axis, centre in zip((grid.z, grid.y, grid.x), lesion.centre_mm, strict=True)
    )
    waves = sum(
        np.sin(2.5 * axis / np.float32(0.5 * lesion.radius_mm) + np.float32(phase))
        for axis, phase in zip((z, y, x), phases, strict=True)
    )
    radius = lesion.radius_mm * (1.0 + _LOBULATION[lesion.kind] / 3.0 * waves)
    distance: F32 = np.sqrt(z * z + y * y + x * x) - radius.astype(np.float32)
    return distance
