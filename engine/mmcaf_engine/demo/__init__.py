"""Synthetic studies: chest CT with a clinical record, and liver MR of eight phases; with their files.

Everything here is invented from a seed. The phantoms need numpy only; `write_dicom` and `write_mr` need pydicom.
"""

from __future__ import annotations

from .liver import LIVER_LABELS, PHASES, LiverStudy, liver_study
from .phantom import Phantom, PhantomPatient, make_patient, make_phantom, record

__all__ = [
    "Phantom",
    "PhantomPatient",
    "make_patient",
    "make_phantom",
    "record",
    "LIVER_LABELS",
    "PHASES",
    "LiverStudy",
    "liver_study",
]
