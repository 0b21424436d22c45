"""Writes a synthetic liver study: as eight MR series of one DICOM study, or as eight NIfTI files.

Both forms hold the same voxels, and are byte-identical from call to call.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from ..orientation import oriented
from .liver import PHASES, LiverStudy

NIFTI_AXES = "LAS"
"""How axial series usually lie in NIfTI files."""

_DATE = "20240103"
_SYNTHETIC = "Synthetic phantom, not a patient"
_AXIAL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


@dataclass(frozen=True)
class _Series:
    """What a phase's header says. time: HHMMSS; echo and repetition: ms."""

    number: int
    description: str
    protocol: str
    sequence: str
    time: str
    echo: float
    repetition: float
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "M", "NORM")
    b_value: float | None = None
    contrast: bool = False


_SERIES = {
    "t2": _Series(2, "T2 TSE fs tra", "t2_tse_fs_tra", "tse2d1_15", "100210", 84.0, 3200.0),
    "dwi": _Series(3, "DWI b800", "ep2d_diff_b800", "ep_b800", "100530", 62.0, 5400.0, b_value=800.0),
    "in_phase": _Series(
        4, "T1 in phase", "t1_fl2d_in", "fl2d1", "100820", 4.6, 160.0, ("ORIGINAL", "PRIMARY", "M", "IN_PHASE")
    ),
    "out_phase": _Series(
        5, "T1 out of phase", "t1_fl2d_opp", "fl2d1", "100821", 2.3, 160.0, ("ORIGINAL", "PRIMARY", "M", "OUT_PHASE")
    ),
    "c_pre": _Series(6, "T1 VIBE fs pre", "t1_vibe_fs", "fl3d1", "101105", 1.4, 4.2),
    "c_a": _Series(7, "T1 VIBE fs arterial", "t1_vibe_fs", "fl3d1", "101230", 1.4, 4.2, contrast=True),
    "c_v": _Series(8, "T1 VIBE fs portal venous", "t1_vibe_fs", "fl3d1", "101310", 1.4, 4.2, contrast=True),
    "c_delay": _Series(9, "T1 VIBE fs delayed", "t1_vibe_fs", "fl3d1", "101630", 1.4, 4.2, contrast=True),
}


def write_mr_series(study: LiverStudy, folder: str | Path) -> list[Path]:
    """Write one MR Image Storage file per slice, one folder per series; returns the series' folders."""
    folder = Path(folder)
    written = []
    for phase in sorted(PHASES, key=lambda name: _SERIES[name].number):
        series = folder / f"{_SERIES[phase].number:02d}-{phase}"
        series.mkdir(parents=True, exist_ok=True)
        for at in range(len(study.volumes[phase])):
            _write_slice(study, phase, at, series / f"slice-{at + 1:03d}.dcm")
        written.append(series)
    return written


def write_nifti(study: LiverStudy, folder: str | Path) -> list[Path]:
    """Write one gzipped NIfTI-1 file per phase, named by it; returns the files in the order of `PHASES`."""
    from nibabel.nifti1 import Nifti1Image

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for phase in PHASES:
        values = study.volumes[phase]
        stored = oriented(values, NIFTI_AXES)
        (dz, dy, dx), (depth, rows, columns) = study.spacing_mm, values.shape
        # Index to RAS+: the first axis runs to the left, which is against R, the others to A and S.
        affine = np.diag([-dx, dy, dz, 1.0])
        affine[:3, 3] = 0.5 * (columns - 1) * dx, -0.5 * (rows - 1) * dy, -0.5 * (depth - 1) * dz
        image = Nifti1Image(np.ascontiguousarray(stored), affine)
        image.header.set_xyzt_units("mm")
        image.set_sform(affine, 1)
        image.set_qform(affine, 1)
        image.header["descrip"] = _SYNTHETIC.encode()
        file = folder / f"{phase}.nii.gz"
        file.write_bytes(gzip.compress(image.to_bytes(), 6, mtime=0))
        written.append(file)
    return written


def _write_slice(study: LiverStudy, phase: str, at: int, path: Path) -> None:
    series, seed, volume = _SERIES[phase], study.patient.seed, study.volumes[phase]
    (dz, dy, dx), (depth, rows, columns) = study.spacing_mm, volume.shape
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = _uid(seed, phase, str(at))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _uid(0, "implementation")
    meta.ImplementationVersionName = "MMCAF_DEMO"
    ds = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID = _uid(seed, "study"), _uid(seed, "series", phase)
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = _uid(seed, "frame"), ""
    ds.PatientName, ds.PatientID = "PHANTOM^LIVER", f"LIVER{seed:05d}"
    ds.PatientSex, ds.PatientBirthDate, ds.PatientPosition = "O", "", "HFS"
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = _DATE
    ds.StudyTime = "100000"
    ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = series.time
    ds.AccessionNumber, ds.StudyID, ds.ReferringPhysicianName = "", "1", ""
    ds.StudyDescription = "Synthetic liver MR"
    ds.SeriesDescription, ds.ProtocolName = series.description, series.protocol
    ds.ImageComments, ds.BodyPartExamined, ds.Modality = _SYNTHETIC, "LIVER", "MR"
    ds.Manufacturer, ds.ManufacturerModelName, ds.MagneticFieldStrength = "mmcaf-infer", "phantom", 1.5
    ds.SeriesNumber, ds.AcquisitionNumber, ds.InstanceNumber = series.number, 1, at + 1
    ds.ImageType = list(series.image_type)
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = "RM", "NONE", ""
    ds.SequenceName, ds.MRAcquisitionType = series.sequence, "2D"
    ds.EchoTime, ds.RepetitionTime, ds.EchoTrainLength = series.echo, series.repetition, 1
    if series.b_value is not None:
        ds.DiffusionBValue = series.b_value
    if series.contrast:
        ds.ContrastBolusAgent = "Synthetic gadolinium agent"
    corner = (-0.5 * (columns - 1) * dx, -0.5 * (rows - 1) * dy, (at - 0.5 * (depth - 1)) * dz)
    ds.ImagePositionPatient = [round(float(value), 4) + 0.0 for value in corner]
    ds.ImageOrientationPatient = _AXIAL
    ds.PixelSpacing, ds.SliceThickness, ds.SpacingBetweenSlices = [dy, dx], dz, dz
    ds.SliceLocation = ds.ImagePositionPatient[2]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = rows, columns
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    high = int(np.percentile(volume, 99.5))
    ds.WindowCenter, ds.WindowWidth = high // 2, max(high, 1)
    ds.PixelData = volume[at].astype("<u2").tobytes()
    pydicom.dcmwrite(path, ds, enforce_file_format=True)


def _uid(seed: int, *parts: str) -> UID:
    return generate_uid(entropy_srcs=["mmcaf-infer liver", str(seed), *parts])
