"""What objects made of a result take over from a source image's header; read of one image alone, when it is chosen."""

from collections.abc import Iterator
from contextlib import suppress

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.tag import BaseTag

from ...timing import span
from ...volume import SourceHeader
from .instance import Instance, read_elements
from .usable import drop_unusable_window, usable

KEYWORDS = (
    # SOP Common, General Image, Image Plane (PS3.3 C.12.1, C.7.6.1, C.7.6.2)
    *("SOPClassUID", "SOPInstanceUID", "TimezoneOffsetFromUTC", "ImageType", "InstanceNumber", "PatientOrientation"),
    *("AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "ContentDate", "ContentTime", "AcquisitionNumber"),
    *("ImageLaterality", "ViewPosition", "AnatomicRegionSequence", "BurnedInAnnotation", "LossyImageCompression"),
    *("Rows", "Columns", "NumberOfFrames", "PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"),
    "ImageOrientationPatient",
    *("ImagePositionPatient", "SliceThickness", "SpacingBetweenSlices"),
    # How grey values are shown: Image Pixel, Modality LUT, VOI LUT (C.7.6.3, C.11.1, C.11.2)
    *("PhotometricInterpretation", "RescaleIntercept", "RescaleSlope", "RescaleType", "WindowCenter", "WindowWidth"),
    "VOILUTFunction",
    # Patient (C.7.1.1)
    *("PatientName", "PatientID", "IssuerOfPatientID", "TypeOfPatientID", "PatientBirthDate", "PatientSex"),
    *("PatientIdentityRemoved", "DeidentificationMethod"),
    # General Study, Patient Study (C.7.2.1, C.7.2.2)
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "StudyDescription", "AccessionNumber"),
    *("IssuerOfAccessionNumberSequence", "ReferringPhysicianName", "ProcedureCodeSequence", "ReferencedStudySequence"),
    *("PatientAge", "PatientSize", "PatientWeight", "AdmissionID", "IssuerOfAdmissionIDSequence"),
    # General Series, its request and its step (C.7.3.1)
    *("Modality", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "SeriesDate", "SeriesTime", "Laterality"),
    *("BodyPartExamined", "PatientPosition", "ProtocolName", "RequestAttributesSequence"),
    *("ReferencedPerformedProcedureStepSequence", "RequestedProcedureDescription", "RequestedProcedureCodeSequence"),
    # Frame of Reference, General Equipment (C.7.4.1, C.7.5.1)
    *("FrameOfReferenceUID", "PositionReferenceIndicator", "Manufacturer", "ManufacturerModelName"),
    *("DeviceSerialNumber", "SoftwareVersions", "StationName", "InstitutionName", "InstitutionalDepartmentName"),
)
"""Every element that is taken over."""

MAX_BYTES = 64 * 1024
"""Of one element; what has more is none of these."""

_TAGS = sorted(tag_for_keyword(keyword) or 0 for keyword in KEYWORDS)
_END = _TAGS[-1] + 1
_UTF_8 = "ISO_IR 192"


def read_source_header(instance: Instance) -> SourceHeader | None:
    """The elements above, as far as they can be read and an object may hold them (`usable`).

    None of a file that is gone or damaged by now.
    """
    with span("read"):
        return _taken_over(instance)


def _taken_over(instance: Instance) -> SourceHeader | None:
    try:
        header = read_elements(instance, _TAGS, _END)
    except Exception:  # whatever pydicom makes of a file; its pixels are read by others, who say so
        return None
    kept = Dataset()
    kept.SpecificCharacterSet = _UTF_8
    for element in _readable(header):
        if (allowed := usable(element)) is not None:
            kept.add(allowed)
    drop_unusable_window(kept)
    return SourceHeader(_encoded(kept))


def _readable(header: Dataset) -> Iterator[DataElement]:
    """Each element that can be decoded and encoded again."""
    for tag in map(BaseTag, _TAGS):
        held = header.get_item(tag)
        if held is None or (isinstance(held, RawDataElement) and len(held.value or b"") > MAX_BYTES):
            continue
        with suppress(Exception):  # as pydicom's converters raise; the value is nobody's to quote
            alone = Dataset()
            alone.add(header[tag])
            alone.walk(lambda data_set, element: None)  # decodes what lies in sequences, too
            _encoded(alone)
            if _is_number(alone[tag]):
                yield alone[tag]


def _is_number(element: DataElement) -> bool:
    """False where it should be one and is not: pydicom gives the text then."""
    values = element.value if element.VM > 1 else [element.value]
    return element.VR not in ("DS", "IS") or not any(isinstance(value, str) and value for value in values)


def _encoded(data_set: Dataset) -> bytes:
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_dataset(stream, data_set, parent_encoding="utf8")
    found: bytes = stream.getvalue()
    return found
