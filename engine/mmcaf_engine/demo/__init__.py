"""Synthetic studies: chest CT with a record, liver MR, and chest radiographs with a report and a record.

Everything here is invented from a seed. The phantoms need numpy only; `write_dicom`, `write_mr` and `write_dx`, which
write their files, need pydicom.
"""

from __future__ import annotations

from .liver import LIVER_LABELS, PHASES, LiverStudy, liver_study
from .phantom import Phantom, PhantomPatient, make_patient, make_phantom, record
from .radiograph import CHEST_FINDINGS, CHEST_LABELS, ChestPatient, ChestStudy, chest_patient, chest_record, chest_study

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
    "CHEST_FINDINGS",
    "CHEST_LABELS",
    "ChestPatient",
    "ChestStudy",
    "chest_patient",
    "chest_record",
    "chest_study",
]
