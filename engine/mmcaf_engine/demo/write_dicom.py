"""Writes a phantom as DICOM: one Enhanced CT file, or a folder of single-frame CT files.

Both forms hold the same voxels under the same study UID and are byte-identical from call to call.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

from .phantom import Phantom

INTERCEPT, SLOPE = -1024, 1
_DATE, _TIME = "20240102", "120000"
_SYNTHETIC = "Synthetic phantom, not a patient"
_AXIAL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def write_multiframe(phantom: Phantom, path: str | Path) -> Path:
    """Write the study as one Enhanced CT Image Storage file at `path`."""
    path = Path(path)
    seed = phantom.patient.seed
    ds = _common(phantom, EnhancedCTImageStorage, _uid(seed, "multiframe"), path, multiframe=True)
    ds.SeriesInstanceUID = _uid(seed, "series-multiframe")
    ds.SeriesNumber = 2
    ds.InstanceNumber = 1
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.PatientPosition = "HFS"
    ds.AcquisitionDateTime, ds.AcquisitionDuration = _DATE + _TIME, 100.0
    del ds.AcquisitionDate, ds.AcquisitionTime
    ds.PixelPresentation = "MONOCHROME"
    ds.VolumetricProperties = "VOLUME"
    ds.VolumeBasedCalculationTechnique = "NONE"
    ds.PresentationLUTShape = "IDENTITY"
    ds.LossyImageCompression = "00"
    ds.AcquisitionContextSequence = Sequence([])
    ds.NumberOfFrames = phantom.hu.shape[0]
    organization = _uid(seed, "dimensions")
    ds.DimensionOrganizationSequence = _items(DimensionOrganizationUID=organization)
    ds.DimensionOrganizationType = "3D"
    # One dimension: the slice position, pointed at inside its functional group.
    ds.DimensionIndexSequence = _items(
        DimensionOrganizationUID=organization,
        DimensionIndexPointer=0x00200032,
        FunctionalGroupPointer=0x00209113,
        DimensionDescriptionLabel="Image Position (Patient)",
    )
    ds.SharedFunctionalGroupsSequence = Sequence([_shared_groups(phantom)])
    ds.PerFrameFunctionalGroupsSequence = Sequence([_frame_groups(phantom, k) for k in range(phantom.hu.shape[0])])
    ds.PixelData = _stored(phantom.hu).tobytes()
    return _save(ds, path)


def write_series(phantom: Phantom, folder: str | Path) -> list[Path]:
    """Write the study as one CT Image Storage file per slice into `folder`; returns them in slice order."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return [_write_slice(phantom, k, folder / f"slice-{k + 1:03d}.dcm") for k in range(phantom.hu.shape[0])]


def _write_slice(phantom: Phantom, k: int, path: Path) -> Path:
    seed, spacing = phantom.patient.seed, phantom.spacing_mm
    ds = _common(phantom, CTImageStorage, _uid(seed, "slice", str(k)), path, multiframe=False)
    ds.SeriesInstanceUID = _uid(seed, "series-single")
    ds.SeriesNumber = 1
    ds.InstanceNumber = k + 1
    ds.AcquisitionNumber = 1
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.KVP = 120
    ds.PatientPosition = "HFS"
    ds.ImagePositionPatient = _position(phantom, k)
    ds.ImageOrientationPatient = _AXIAL
    ds.PixelSpacing = [spacing[1], spacing[2]]
    ds.SliceThickness = spacing[0]
    ds.SliceLocation = _position(phantom, k)[2]
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = INTERCEPT, SLOPE, "HU"
    ds.WindowCenter, ds.WindowWidth = -600, 1500
    ds.PixelData = _stored(phantom.hu[k]).tobytes()
    return _save(ds, path)


def _common(phantom: Phantom, sop_class: UID, instance: UID, path: Path, *, multiframe: bool) -> FileDataset:
    """Attributes that both forms share: file meta, patient, study, equipment and pixel layout."""
    patient = phantom.patient
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = instance
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _uid(0, "implementation")
    meta.ImplementationVersionName = "MMCAF_DEMO"
    ds = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, instance
    ds.StudyInstanceUID = _uid(patient.seed, "study")
    ds.FrameOfReferenceUID = _uid(patient.seed, "frame")
    ds.PositionReferenceIndicator = ""
    ds.PatientName = "PHANTOM^DEMO"
    ds.PatientID = patient.patient_id
    ds.PatientSex = patient.sex
    ds.PatientAge = f"{patient.age:03d}Y"
    ds.PatientBirthDate = f"{int(_DATE[:4]) - patient.age}0101"
    ds.PatientWeight = patient.weight
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = _DATE
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = _TIME
    ds.AccessionNumber, ds.StudyID, ds.ReferringPhysicianName = "", "1", ""
    ds.StudyDescription = "Synthetic chest CT"
    ds.SeriesDescription = "Synthetic phantom, multi-frame" if multiframe else "Synthetic phantom, axial"
    ds.ImageComments = _SYNTHETIC
    ds.Modality = "CT"
    ds.BodyPartExamined = "CHEST"
    ds.Manufacturer, ds.ManufacturerModelName = "mmcaf-infer", "phantom"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "0", "1"
    ds.ContentQualification = "RESEARCH"
    ds.BurnedInAnnotation = "NO"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = phantom.hu.shape[1:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    return ds


def _shared_groups(phantom: Phantom) -> Dataset:
    dz, dy, dx = phantom.spacing_mm
    group = Dataset()
    group.PixelMeasuresSequence = _items(SliceThickness=dz, SpacingBetweenSlices=dz, PixelSpacing=[dy, dx])
    group.PlaneOrientationSequence = _items(ImageOrientationPatient=_AXIAL)
    group.PixelValueTransformationSequence = _items(RescaleIntercept=INTERCEPT, RescaleSlope=SLOPE, RescaleType="HU")
    group.FrameVOILUTSequence = _items(WindowCenter=-600, WindowWidth=1500)
    group.CTImageFrameTypeSequence = _items(
        FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
        PixelPresentation="MONOCHROME",
        VolumetricProperties="VOLUME",
        VolumeBasedCalculationTechnique="NONE",
    )
    _acquired(group, phantom)
    lung = _items(CodeValue="39607008", CodingSchemeDesignator="SCT", CodeMeaning="Lung")
    group.FrameAnatomySequence = _items(FrameLaterality="B", AnatomicRegionSequence=lung)
    return group


def _acquired(group: Dataset, phantom: Phantom) -> None:
    """How the slices would have been made: the macros that a frame of the kind ORIGINAL must have (PS3.3 A.38.1.4)."""
    dz, dy, dx = phantom.spacing_mm
    rows = phantom.hu.shape[1]
    group.CTAcquisitionTypeSequence = _items(AcquisitionType="SEQUENCED", ConstantVolumeFlag="NO", FluoroscopyFlag="NO")
    group.CTAcquisitionDetailsSequence = _items(
        RotationDirection="CW",
        RevolutionTime=0.5,
        SingleCollimationWidth=float(dz),
        TotalCollimationWidth=float(dz),
        TableHeight=0.0,
        GantryDetectorTilt=0.0,
        DataCollectionDiameter=500.0,
    )
    group.CTTableDynamicsSequence = _items(TableSpeed=10.0)
    group.CTPositionSequence = _items(
        TablePosition=0.0,
        DataCollectionCenterPatient=[0.0, 0.0, 0.0],
        ReconstructionTargetCenterPatient=[0.0, 0.0, 0.0],
    )
    group.CTGeometrySequence = _items(DistanceSourceToDetector=1000.0, DistanceSourceToDataCollectionCenter=500.0)
    group.CTReconstructionSequence = _items(
        ReconstructionAlgorithm="FILTER_BACK_PROJ",
        ConvolutionKernel="PHANTOM",
        ConvolutionKernelGroup="LUNG",
        ReconstructionDiameter=float(rows * dy),
        ReconstructionPixelSpacing=[float(dy), float(dx)],
        ReconstructionAngle=360.0,
        ImageFilter="NONE",
    )
    group.CTExposureSequence = _items(
        ExposureTimeInms=500.0,
        XRayTubeCurrentInmA=100.0,
        ExposureInmAs=50.0,
        ExposureModulationType="NONE",
        CTDIvol=5.0,
        CTDIPhantomTypeCodeSequence=_items(
            CodeValue="113691", CodingSchemeDesignator="DCM", CodeMeaning="IEC Body Dosimetry Phantom"
        ),
    )
    group.CTXRayDetailsSequence = _items(KVP=120.0, FocalSpots=1.0, FilterType="FLAT", FilterMaterial="ALUMINUM")
    group.IrradiationEventIdentificationSequence = _items(IrradiationEventUID=_uid(phantom.patient.seed, "irradiation"))


def _frame_groups(phantom: Phantom, k: int) -> Dataset:
    group = Dataset()
    moment = _DATE + _TIME
    group.FrameContentSequence = _items(
        StackID="1",
        InStackPositionNumber=k + 1,
        DimensionIndexValues=[k + 1],
        FrameAcquisitionNumber=1,
        FrameReferenceDateTime=moment,
        FrameAcquisitionDateTime=moment,
        FrameAcquisitionDuration=100.0,
    )
    group.PlanePositionSequence = _items(ImagePositionPatient=_position(phantom, k))
    return group


def _items(**attributes: object) -> Sequence:
    """A sequence of one item with the given attributes."""
    item = Dataset()
    for name, value in attributes.items():
        setattr(item, name, value)
    return Sequence([item])


def _position(phantom: Phantom, k: int) -> list[float]:
    """Patient coordinates (LPS, mm) of the first pixel's centre of slice k; the volume is centred on 0."""
    (dz, dy, dx), (depth, rows, columns) = phantom.spacing_mm, phantom.hu.shape
    corner = (-0.5 * (columns - 1) * dx, -0.5 * (rows - 1) * dy, (k - 0.5 * (depth - 1)) * dz)
    return [round(float(c), 4) + 0.0 for c in corner]


def _stored(hu: NDArray[np.int16]) -> NDArray[np.uint16]:
    """HU -> unsigned 12-bit stored values."""
    return (hu.astype(np.int32) - INTERCEPT).astype("<u2")


def _uid(seed: int, *parts: str) -> UID:
    return generate_uid(entropy_srcs=["mmcaf-infer phantom", str(seed), *parts])


def _save(ds: FileDataset, path: Path) -> Path:
    pydicom.dcmwrite(path, ds, enforce_file_format=True)
    return path
