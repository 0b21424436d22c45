"""Seeded eight-phase liver MR studies with one focal lesion; numpy only.

Nothing here is a patient. A seed fixes everything: the same seed gives the same voxels on the same grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .liver_anatomy import F32, PHASES, Abdomen, Grid, draw_abdomen, make_abdomen, signal
from .liver_lesion import KINDS, Lesion, draw_lesion, make_lesion

__all__ = ["LIVER_LABELS", "PHASES", "LiverPatient", "LiverStudy", "liver_patient", "liver_study"]

LIVER_LABELS = tuple(f"synthetic lesion {kind}" for kind in range(KINDS))
"""What the labels 0 to 6 of a synthetic study are called."""

FIELD_MM = 372.0
HEIGHT_MM = 192.0
"""In-plane width and length of what is imaged, whatever the matrix."""
NOISE = (14.0, 20.0, 9.0, 9.0, 9.0, 11.0, 10.0, 10.0)
"""Standard deviation of the noise of each phase at `NOISE_SIZE`."""
NOISE_SIZE = 128
SMALLEST = 16


@dataclass(frozen=True)
class LiverPatient:
    """Who a seed is: measures, and one lesion, whose kind is the study's label."""

    seed: int
    person: Abdomen
    lesion: Lesion


@dataclass(frozen=True)
class LiverStudy:
    """A synthetic study.

    volumes: phase -> int16 [D, H, W], slices to the head, rows to the back, columns to the left.
    spacing_mm: (between slices, rows, columns); the volume's centre is the origin.
    label: the lesion's kind, 0 to 6.
    """

    patient: LiverPatient
    volumes: dict[str, NDArray[np.int16]]
    spacing_mm: tuple[float, float, float]

    @property
    def label(self) -> int:
        return self.patient.lesion.kind

    @property
    def lesion_index(self) -> tuple[float, float, float]:
        """Centre of the lesion in voxels (z, y, x)."""
        shape = self.volumes[PHASES[0]].shape
        z, y, x = (
            centre / step + 0.5 * (n - 1)
            for centre, step, n in zip(self.patient.lesion.centre_mm, self.spacing_mm, shape, strict=True)
        )
        return z, y, x


def liver_patient(seed: int, *, label: int | None = None) -> LiverPatient:
    """The person of a seed; `label` gives the same one another lesion than the seed's own."""
    rng = np.random.default_rng([seed, 11])
    person = make_abdomen(rng)
    own = int(rng.integers(KINDS))
    kind = own if label is None else label
    if not 0 <= kind < KINDS:
        raise ValueError(f"lesion kind: got {kind}, expected 0 to {KINDS - 1}")
    return LiverPatient(seed, person, make_lesion(kind, person, rng))


def liver_study(seed: int, *, slices: int = 24, size: int = 128, label: int | None = None) -> LiverStudy:
    """Render the study of a seed on a grid of its own choice; the anatomy does not depend on the grid.

    Args:
        slices, size: the matrix is slices x size x size, at least 16 each; a network's own, such as 16 and 128, needs
            no resizing.
        label: the lesion's kind, instead of the seed's own.
    """
    if slices < SMALLEST or size < SMALLEST:
        raise ValueError(f"liver study: got {slices} x {size} x {size}, expected at least {SMALLEST} each")
    patient = liver_patient(seed, label=label)
    # DICOM holds these as decimal text: rounded so that both agree.
    spacing = (round(HEIGHT_MM / slices, 4), round(FIELD_MM / size, 4), round(FIELD_MM / size, 4))
    grid = Grid.centred(slices, size, spacing)
    rng = np.random.default_rng([seed, 12])
    image = draw_abdomen(patient.person, grid, rng)
    draw_lesion(image, patient.lesion, grid, signal("liver"), rng)
    volumes = {}
    for at, phase in enumerate(PHASES):
        volumes[phase] = _scanned(image[at], NOISE[at] * min(1.0, size / NOISE_SIZE), grid, rng)
    return LiverStudy(patient, volumes, spacing)


def _scanned(signals: F32, noise: float, grid: Grid, rng: np.random.Generator) -> NDArray[np.int16]:
    """Under a coil's uneven sensitivity, a gain of the scanner's choice, and noise of a magnitude image."""
    slope = rng.uniform(-0.2, 0.2, 3)
    centre = 1.0 - 0.25 * ((grid.y / np.float32(0.5 * FIELD_MM)) ** 2 + (grid.x / np.float32(0.5 * FIELD_MM)) ** 2)
    tilt = 1.0 + sum(
        np.float32(s) * axis / np.float32(0.5 * FIELD_MM)
        for s, axis in zip(slope, (grid.z, grid.y, grid.x), strict=True)
    )
    image = signals * (centre * tilt).astype(np.float32)
    real = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(noise)
    imaginary = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(noise)
    magnitude = np.hypot(image + real, imaginary) * np.float32(rng.uniform(0.7, 1.6))
    stored: NDArray[np.int16] = np.clip(np.rint(magnitude), 0, 4095).astype(np.int16)
    return stored
