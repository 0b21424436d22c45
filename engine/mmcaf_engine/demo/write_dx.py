"""Writes a synthetic chest radiograph as one DX file, and its report and record beside it.

Files are byte-identical from call to call.
"""

from __future__ import annotations

import json
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from .radiograph import MAXIMUM, ChestStudy, chest_record

_DATE, _TIME = "20240104", "093000"
_SYNTHETIC = "Synthetic phantom, not a patient"
_VIEWS = {"PA": ("272479007", "postero-anterior"), "AP": ("399348003", "antero-posterior")}


def write_chest(study: ChestStudy, folder: str | Path) -> tuple[Path, Path, Path]:
    """Write study.dcm, record.json and report.txt into `folder`; returns them in this order."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    image, record, report = folder / "study.dcm", folder / "record.json", folder / "report.txt"
    write_dx(study, image)
    record.write_text(json.dumps(chest_record(study.patient), indent=2) + "\n", encoding="utf-8")
    report.write_text(study.report.text, encoding="utf-8")
    return image, record, report


def write_dx(study: ChestStudy, path: str | Path) -> Path:
    """Write the radiograph as one Digital X-Ray Image Storage - For Presentation file (PS3.3 A.26)."""
    path, patient = Path(path), study.patient
    seed = patient.seed
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = _uid(seed, "image")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _uid(0, "implementation")
    meta.ImplementationVersionName = "MMCAF_DEMO"
    ds = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID = _uid(seed, "study"), _uid(seed, "series")
    ds.PatientName, ds.PatientID = "PHANTOM^CHEST", patient.patient_id
    ds.PatientSex, ds.PatientAge, ds.PatientBirthDate = patient.sex, f"{patient.age:03d}Y", ""
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = _DATE
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = _TIME
    ds.AccessionNumber, ds.StudyID, ds.ReferringPhysicianName = "", "1", ""
    ds.StudyDescription, ds.SeriesDescription = "Synthetic chest radiograph", f"Chest {patient.view}"
    ds.ImageComments, ds.BodyPartExamined, ds.Modality = _SYNTHETIC, "CHEST", "DX"
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.Manufacturer, ds.ManufacturerModelName = "mmcaf-infer", "phantom"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "0", "1"
    ds.SeriesNumber, ds.InstanceNumber = 1, 1
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    _positioned(ds, study)
    _stored(ds, study)
    pydicom.dcmwrite(path, ds, enforce_file_format=True)
    return path


def _positioned(ds: Dataset, study: ChestStudy) -> None:
    view = study.patient.view
    code, meaning = _VIEWS[view]
    ds.ViewPosition, ds.PatientOrientation, ds.ImageLaterality = view, ["L", "F"], "U"
    ds.ViewCodeSequence = _item(code, meaning)
    ds.ViewCodeSequence[0].ViewModifierCodeSequence = Sequence([])
    ds.AnatomicRegionSequence = _item("51185008", "Chest")
    ds.DetectorType, ds.PositionerType, ds.KVP = "DIRECT", "NONE" if view == "AP" else "COLUMN", 120
    ds.ImagerPixelSpacing = [study.spacing_mm, study.spacing_mm]
    ds.AcquisitionContextSequence = Sequence([])


def _stored(ds: Dataset, study: ChestStudy) -> None:
    """Pixels, and what makes them visible; of MONOCHROME1 low values are bright, and the window lies mirrored."""
    centre, width = study.window
    pixels = MAXIMUM - study.pixels if study.inverted else study.pixels
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME1" if study.inverted else "MONOCHROME2"
    ds.PresentationLUTShape = "INVERSE" if study.inverted else "IDENTITY"
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "LOG", 1 if study.inverted else -1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, 1, "US"
    # The centre of a LINEAR window is half a value off (PS3.3 C.11.2.1.2), so its mirror is one off.
    ds.WindowCenter, ds.WindowWidth = MAXIMUM - centre + 1 if study.inverted else centre, width
    ds.BurnedInAnnotation, ds.LossyImageCompression = "NO", "00"
    ds.PixelData = pixels.astype("<u2").tobytes()


def _item(code: str, meaning: str) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "SCT", meaning
    return Sequence([item])


def _uid(seed: int, *parts: str) -> UID:
    return generate_uid(entropy_srcs=["mmcaf-infer chest", str(seed), *parts])
