"""Synthetic chest-CT studies: phantoms with a clinical record, and their DICOM files.

Everything here is invented from a seed. The phantoms need numpy only; `write_dicom` needs pydicom.
"""

from __future__ import annotations

from .phantom import Phantom, PhantomPatient, make_patient, make_phantom, record

__all__ = ["Phantom", "PhantomPatient", "make_patient", "make_phantom", "record"]
