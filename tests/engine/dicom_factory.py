"""Small DICOM studies for tests: one volume, written in many forms and with many faults."""

import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    JPEG2000,
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSNearLossless,
    MediaStorageDirectoryStorage,
)

INTERCEPT = -1024
PHI = {"PatientName": "DOE^JANE", "PatientID": "PHI-4711", "PatientBirthDate": "19610203"}
"""No message may hold any of these."""

_ROOT = "1.2.826.0.1.3680043.10.9999"
STUDY_UID = f"{_ROOT}.1"
SERIES_UID = f"{_ROOT}.1.2"

Change = Callable[[Dataset], None]


def hounsfield(slices: int = 5, rows: int = 6, columns: int = 7, seed: int = 0) -> NDArray[np.int16]:
    """Unlike values everywhere, so that no flip or swap goes unseen; [slices, rows, columns], HU."""
    return np.random.default_rng(seed).integers(-1000, 1500, (slices, rows, columns)).astype(np.int16)


def ct_slice(
    values: NDArray[np.integer[Any]],
    index: int = 0,
    *,
    spacing: float = 2.5,
    series_uid: str = SERIES_UID,
    **elements: Any,
) -> FileDataset:
    """A single-frame CT image of [rows, columns] Hounsfield units.

    Args:
        index: slice number from 0; it lies at z = -100 + index * spacing mm.
        elements: further elements by keyword; None removes one.
    """
    image = _dataset(CTImageStorage, f"{series_uid}.{index + 1}")
    _common(image, series_uid)
    image.InstanceNumber = index + 1
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    image.ImagePositionPatient = [-30, -20, -100 + index * spacing]
    image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    image.PixelSpacing = [0.7, 0.8]
    image.SliceThickness = spacing
    image.RescaleSlope, image.RescaleIntercept = 1, INTERCEPT
    _pixels(image, values[np.newaxis])
    change(image, **elements)
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
    return image


def ct_series(values: NDArray[np.integer[Any]], **options: Any) -> list[FileDataset]:
    """One `ct_slice` per slice of [slices, rows, columns]."""
    return [ct_slice(plane, index, **options) for index, plane in enumerate(values)]


def enhanced_ct(
    values: NDArray[np.integer[Any]], *, spacing: float = 2.5, per_frame: bool = True, **elements: Any
) -> FileDataset:
    """A multi-frame CT image with functional groups.

    Args:
        per_frame: repeat orientation, measures and rescale in every frame instead of sharing them.
    """
    image = _dataset(EnhancedCTImageStorage, f"{SERIES_UID}.1000")
    _common(image, SERIES_UID)
    image.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    image.NumberOfFrames = len(values)
    constant = Dataset()
    constant.PlaneOrientationSequence = [_item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])]
    constant.PixelMeasuresSequence = [_item(PixelSpacing=[0.7, 0.8], SliceThickness=spacing)]
    constant.PixelValueTransformationSequence = [_item(RescaleSlope=1, RescaleIntercept=INTERCEPT, RescaleType="HU")]
    constant.CTImageFrameTypeSequence = [_item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])]
    frames = []
    for index in range(len(values)):
        frame = Dataset()
        frame.PlanePositionSequence = [_item(ImagePositionPatient=[-30, -20, -100 + index * spacing])]
        if per_frame:
            frame.update(constant)
        frames.append(frame)
    image.SharedFunctionalGroupsSequence = [Dataset() if per_frame else constant]
    image.PerFrameFunctionalGroupsSequence = frames
    _pixels(image, values)
    change(image, **elements)
    return image


def change(image: Dataset, **elements: Any) -> Dataset:
    """Set elements by keyword; None removes one."""
    for keyword, value in elements.items():
        if value is None:
            delattr(image, keyword)
        else:
            setattr(image, keyword, value)
    return image


def relay(image: FileDataset, values: NDArray[np.integer[Any]], bits: int, **elements: Any) -> FileDataset:
    """Store raw values as they are; their type gives the sign, `bits` the depth."""
    image.Rows, image.Columns = values.shape[-2:]
    image.BitsStored, image.HighBit = bits, bits - 1
    image.PixelRepresentation = int(values.dtype.kind == "i")
    image.PixelData = values.astype(values.dtype.newbyteorder("<")).tobytes()
    change(image, **elements)
    return image


def raw(image: FileDataset) -> NDArray[np.uint16]:
    """The stored values of an image as `ct_slice` makes it, [rows, columns]."""
    return np.frombuffer(image.PixelData, "<u2").reshape(image.Rows, image.Columns)


def compress(image: FileDataset, syntax: str) -> FileDataset:
    """The image in another transfer syntax; lossless, but for JPEG-LS near-lossless (2) and JPEG 2000 (20 : 1)."""
    if syntax in (JPEGLossless, JPEGLosslessSV1):
        return _by_gdcm(image, syntax)
    if syntax == HTJ2KLossless:
        return _constant_htj2k(image)
    if syntax == JPEGLSNearLossless:
        image.compress(syntax, jls_error=2)
    elif syntax == JPEG2000:
        image.compress(syntax, j2k_cr=[20])
    elif UID(syntax).is_encapsulated:
        image.compress(syntax)
    else:
        if syntax == ExplicitVRBigEndian:
            image.PixelData = np.frombuffer(image.PixelData, "<u2").astype(">u2").tobytes()
        image.file_meta.TransferSyntaxUID = syntax
    return image


def _by_gdcm(image: FileDataset, syntax: str) -> FileDataset:
    """pydicom has no encoder for JPEG lossless."""
    import gdcm

    with TemporaryDirectory() as folder:
        plain, packed = Path(folder) / "plain", Path(folder) / "packed"
        write(image, plain)
        reader, changer, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(plain))
        process = "JPEGLosslessProcess14_1" if syntax == JPEGLosslessSV1 else "JPEGLosslessProcess14"
        changer.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, process)))
        if not reader.Read():
            raise ValueError("gdcm cannot read the image")
        changer.SetInput(reader.GetImage())
        if not changer.Change():
            raise ValueError("gdcm cannot encode the image")
        writer.SetFile(reader.GetFile())
        writer.SetImage(changer.GetOutput())
        writer.SetFileName(str(packed))
        if not writer.Write():
            raise ValueError("gdcm cannot write the image")
        image.PixelData = dcmread(packed).PixelData  # gdcm changes the header, too
        image.file_meta.TransferSyntaxUID = syntax
        return image


def _constant_htj2k(image: FileDataset) -> FileDataset:
    """A slice of the middle value, 2048, as HTJ2K.

    Nothing here encodes HTJ2K. A JPEG 2000 stream of that value has no coded block at all, so that it
    becomes HTJ2K by its header: capability 15 in SIZ and CAP (ISO/IEC 15444-15 A.2, A.3), and the
    high-throughput bit of the block style in COD.
    """
    image.PixelData = np.full((image.Rows, image.Columns), 2048, "<u2").tobytes()
    image.compress(JPEG2000Lossless)
    stream = bytearray(next(generate_frames(image.PixelData, number_of_frames=1)))
    stream[6] |= 0x40
    stream[stream.index(b"\xff\x52") + 12] |= 0x40
    after_siz = 4 + int.from_bytes(stream[4:6], "big")
    stream[after_siz:after_siz] = bytes.fromhex("ff500008000200000000")
    image.PixelData = encapsulate([bytes(stream)])
    image.file_meta.TransferSyntaxUID = HTJ2KLossless
    return image


def save(images: FileDataset | Iterable[FileDataset], folder: Path, pattern: str = "IM{:04d}") -> Path:
    """Write images into a folder, numbered as they come; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate([images] if isinstance(images, FileDataset) else images):
        write(image, folder / pattern.format(number))
    return folder


def write(image: FileDataset, path: Path) -> Path:
    """Write one DICOM file, in the encoding that its transfer syntax asks for."""
    syntax = UID(image.file_meta.TransferSyntaxUID)
    if syntax.is_encapsulated:
        image["PixelData"].is_undefined_length = True
    dcmwrite(path, image, enforce_file_format=True)
    return path


def save_zip(folder: Path, path: Path, prefix: str = "", compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """Pack a folder's files."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, f"{prefix}{file.relative_to(folder)}")
    return path


def save_dicomdir(path: Path, images: Sequence[Sequence[str]]) -> Path:
    """A DICOMDIR whose IMAGE records name these files, each as its components."""
    directory = _dataset(MediaStorageDirectoryStorage, f"{_ROOT}.9")
    directory.FileSetID = "TEST"
    directory.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 0
    directory.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = 0
    directory.FileSetConsistencyFlag = 0
    parents = [_item(DirectoryRecordType=kind) for kind in ("PATIENT", "STUDY", "SERIES")]
    records = [_item(DirectoryRecordType="IMAGE", ReferencedFileID=list(image)) for image in images]
    directory.DirectoryRecordSequence = parents + records
    return write(directory, path)


def _dataset(sop_class: UID, sop_instance: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, UID(sop_instance)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    if sop_class != MediaStorageDirectoryStorage:
        image.SOPClassUID, image.SOPInstanceUID = sop_class, UID(sop_instance)
    return image


def _common(image: Dataset, series_uid: str) -> None:
    change(image, **PHI)
    image.PatientSex, image.PatientAge, image.PatientWeight = "F", "063Y", 71.5
    image.StudyDate = "20240506"
    image.StudyInstanceUID, image.SeriesInstanceUID = STUDY_UID, series_uid
    image.FrameOfReferenceUID = f"{STUDY_UID}.3"
    image.Modality, image.SeriesNumber = "CT", 2
    image.SeriesDescription = "Chest"


def _pixels(image: Dataset, values: NDArray[np.integer[Any]]) -> None:
    """Stored values as 12-bit unsigned, the usual form of CT."""
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows, image.Columns = values.shape[1:]
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
    image.PixelData = (values.astype(np.int32) - INTERCEPT).astype("<u2").tobytes()


def _item(**elements: Any) -> Dataset:
    item = Dataset()
    change(item, **elements)
    return item
