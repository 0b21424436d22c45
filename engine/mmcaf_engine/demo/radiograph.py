"""Seeded frontal chest radiographs with findings, a report and a clinical record; numpy only.

Nothing here is a patient. A seed fixes everything: the same seed gives the same pixels on the same grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .radiograph_anatomy import draw_chest, draw_lungs, make_chest
from .radiograph_findings import draw_distractors, draw_findings
from .radiograph_patient import CHEST_FINDINGS, CHEST_LABELS, ChestPatient, View, chest_patient, chest_record
from .radiograph_plane import F32, Plane, blur
from .report import Report, chest_report

__all__ = [
    "CHEST_FINDINGS",
    "CHEST_LABELS",
    "ChestPatient",
    "ChestStudy",
    "Report",
    "chest_patient",
    "chest_record",
    "chest_report",
    "chest_study",
    "finding_maps",
]

FIELD_MM = 392.0
"""Width and height of what is imaged, whatever the matrix."""
SMALLEST = 32
MAXIMUM = 4095
_WATER = 0.0185  # Attenuation of water at the energies of a chest radiograph, 1/mm.
_SCATTER = {"PA": 0.10, "AP": 0.28}
_NOISE = {"PA": 0.012, "AP": 0.022}
_NOISE_SIZE = 320


@dataclass(frozen=True)
class ChestStudy:
    """A synthetic study.

    pixels: uint16 [H, W], 12 bits, rows to the feet, columns to the patient's left; dense tissue is high.
    spacing_mm: of rows and of columns, at the detector. window: centre and width in stored values.
    inverted: how its file is to store it, MONOCHROME1, where dense tissue is low.
    """

    patient: ChestPatient
    report: Report
    pixels: NDArray[np.uint16]
    spacing_mm: float
    window: tuple[int, int]
    inverted: bool


def chest_study(seed: int, *, size: int = 320, findings: tuple[str, ...] | None = None) -> ChestStudy:
    """Render the study of a seed on size x size pixels; the anatomy does not depend on their number.

    Args:
        size: at least 32.
        findings: of the patient, instead of the seed's own.
    """
    if size < SMALLEST:
        raise ValueError(f"chest study: got {size} x {size}, expected at least {SMALLEST} each")
    patient = chest_patient(seed, findings=findings)
    # DICOM holds it as decimal text: rounded so that both agree.
    spacing = round(FIELD_MM / size, 4)
    rng = np.random.default_rng([seed, 24])
    shown = _detected(_passed(patient, Plane.centred(size, spacing)), patient.view, size, spacing, rng)
    low, high = (float(np.quantile(shown, share)) for share in (0.02, 0.995))
    stored = np.clip(np.rint((shown - low) / (high - low) * 3000.0 + 500.0), 0, MAXIMUM).astype(np.uint16)
    window = int(rng.normal(2050.0, 130.0)), int(rng.normal(3000.0, 260.0))
    return ChestStudy(patient, chest_report(patient), stored, spacing, window, bool(rng.random() < 0.3))


def finding_maps(seed: int, size: int) -> NDArray[np.float32]:
    """What each finding of a seed adds to the way of the beam, or takes from it, mm of water, [K, size, size].

    In the order of `CHEST_FINDINGS`; 0 for those that are not there.
    """
    patient = chest_patient(seed)
    plane = Plane.centred(size, FIELD_MM / size)
    maps = np.zeros((len(CHEST_FINDINGS), *plane.shape), np.float32)
    if patient.findings:
        whole = _passed(patient, plane, all_of_it=False)
    for name in patient.names:
        others = chest_patient(seed, findings=tuple(other for other in patient.names if other != name))
        maps[CHEST_FINDINGS.index(name)] = whole - _passed(others, plane, all_of_it=False)
    return maps


def _passed(patient: ChestPatient, plane: Plane, *, all_of_it: bool = True) -> F32:
    """What the beam passes, mm of water, [H, W]; all_of_it: also what no finding changes, such as bones."""
    rng = np.random.default_rng([patient.seed, 22])
    chest = make_chest(patient, rng)
    layers = (draw_chest if all_of_it else draw_lungs)(patient, chest, plane, rng)
    if all_of_it:
        draw_distractors(patient, chest, plane, layers, rng)
    draw_findings(patient, chest, plane, layers)
    return layers.water()


def _detected(water: F32, view: View, size: int, pixel: float, rng: np.random.Generator) -> F32:
    """What the detector's software shows: logarithm of the dose, with scatter and noise, large differences evened."""
    primary = np.exp(np.float32(-_WATER) * water)
    total = primary + np.float32(_SCATTER[view]) * blur(primary, 30.0 / pixel)
    # Smaller pixels take up less dose each: its density, not the noise, is constant.
    sigma = _NOISE[view] * min(1.0, size / _NOISE_SIZE)
    noise = rng.standard_normal(water.shape, dtype=np.float32) * np.float32(sigma)
    typical = np.float32(np.median(total))
    shown = -np.log(total) + noise * np.sqrt(typical / total)
    even: F32 = shown - np.float32(0.34) * blur(shown, 26.0 / pixel)
    return even
