"""One DICOM file: its transfer syntax, the header elements that matter here, and where its pixels lie."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pydicom.valuerep import STANDARD_VR

from ...errors import StudyError
from ..faults import doing, shown_text
from ..files import MAX_RATIO, RATIO_FROM_BYTES, Source
from .acquisition import OF_ACQUISITION
from .diffusion import PRIVATE, SIEMENS
from .functional_groups import GROUPS, UNDEFINED_LENGTH, read_groups, refuse_twice
from .tags import Known, Tags, describe

MAX_INFLATED_BYTES = 2 * 1024**3
"""A deflated file (PS3.5 A.5) may not grow beyond this."""

PREAMBLE_BYTES = 128
MAGIC = b"DICM"
"""PS3.10 section 7.1: 128 bytes of anything, then this."""

KEYWORDS = (
    *("ImageType", "RecognitionCode", "SOPClassUID", "SOPInstanceUID", "StudyDate", "Modality", "SeriesDescription"),
    *("ProtocolName", "SequenceName", "DiffusionBValue", "EchoTime", "ContrastBolusAgent"),
    *(
        "AcquisitionDateTime",
        "AcquisitionDate",
        "AcquisitionTime",
        "TemporalPositionIdentifier",
        "ContrastBolusAgentSequence",
    ),
    *("PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "PatientWeight"),
    *("BodyPartExamined", "AnatomicRegionSequence", "ProcedureCodeSequence", "RequestedProcedureCodeSequence"),
    *("PerformedProtocolCodeSequence", "RequestAttributesSequence"),
    *("StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "FrameOfReferenceUID"),
    *("AcquisitionNumber", "InstanceNumber", "ConvolutionKernel", "KVP"),
    *("ConcatenationUID", "InConcatenationNumber", "InConcatenationTotalNumber"),
    *("ConcatenationFrameOffsetNumber", "SOPInstanceUIDOfConcatenationSource"),
    *("SliceThickness", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "LossyImageCompression"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence"),
    *("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction", "PresentationLUTShape"),
    *("PresentationIntentType", "BurnedInAnnotation", "ShutterShape", "ImagerPixelSpacing"),
    *("ViewPosition", "ViewCodeSequence", "PatientOrientation"),
    *("PatientName", "IssuerOfPatientID", "DimensionIndexSequence", "ImagesInAcquisition"),
    *OF_ACQUISITION,
    *GROUPS,
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths", "DirectoryRecordSequence"),
)
"""Every element that is read; the rest of a header is skipped unseen."""

IMAGES_IN_MOSAIC = (0x0019100A, SIEMENS, "US")
"""NumberOfImagesInMosaic, of which files tell that lost the word in their ImageType."""

_OF_VENDORS = [
    tag
    for element, _, _ in (*PRIVATE, IMAGES_IN_MOSAIC)
    for tag in (element & 0xFFFF0000 | element >> 8 & 0xFF, element)
]
_TAGS: list[BaseTag | int] = [*(tag_for_keyword(keyword) or 0 for keyword in KEYWORDS), *_OF_VENDORS]
_WANTED = frozenset(map(int, _TAGS))
_PIXEL_KEYWORDS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}
_FIRST_PIXEL_TAG = min(_PIXEL_KEYWORDS)
_GROUP_8 = (b"\x08\x00", b"\x00\x08")
"""Of the first element of a data set, little endian and big endian."""
_BARE = {
    (True, True): ExplicitVRLittleEndian,
    (True, False): ExplicitVRBigEndian,
    (False, True): ImplicitVRLittleEndian,
}
"""Transfer syntaxes by (explicit, little endian); DICOM has none for the fourth."""
_GROUPS = frozenset(tag_for_keyword(keyword) or 0 for keyword in GROUPS)
_ELEMENT_HEAD, _LONG_HEAD = 8, 12
"""Bytes before the value of an element, and of a sequence in explicit VR (PS3.5 7.1.2, 7.1.3)."""


@dataclass(frozen=True)
class PixelElement:
    """Where the pixel element's value lies.

    offset: its first byte in the file, or in the inflated file where that is deflated.
    length: declared bytes; None for encapsulated frames.
    available: bytes from `offset` to the end of the file.
    """

    keyword: str
    vr: str
    offset: int
    length: int | None
    available: int


@dataclass(frozen=True)
class Instance:
    """A parsed header, and where the pixels lie, which stay in the file until `open_pixels`.

    legacy: the file lacks the preamble, and `syntax` is what its first bytes look like.
    """

    source: Source
    syntax: UID
    media_class: str
    tags: Tags
    pixels: PixelElement | None
    legacy: bool = False

    @property
    def name(self) -> str:
        return self.source.name

    def open_pixels(self) -> BinaryIO:
        """The whole file, positioned at the first byte of the pixel element's value."""
        stream = self.source.open()
        if self.syntax == DeflatedExplicitVRLittleEndian:
            with stream:
                _file_meta(stream)
                stream = _inflated(stream, self.name)
        if self.pixels is not None:
            stream.seek(self.pixels.offset)
        return stream


def read_instance(source: Source, known: Known) -> Instance | None:
    """Parse a file up to its pixels.

    Args:
        known: shared by the files of one study.

    Returns:
        None for a file that is not DICOM: one without "DICM" after its 128-byte preamble that is not a
        bare data set of a known SOP class either.

    Raises:
        StudyError: a DICOM file that is damaged, or cannot be read; or an image in the encoding of ACR-NEMA.
    """
    with doing(f"{source.name}: reading its header"), source.open_header() as stream:
        head = stream.read(PREAMBLE_BYTES + len(MAGIC))
        if head[PREAMBLE_BYTES:] != MAGIC:
            return _bare_data_set(source, stream, head, known)
        stream.seek(0)
        meta = Tags(_file_meta(stream), source.name, known)
        syntax = UID(meta.text("TransferSyntaxUID"))
        if not syntax:
            raise StudyError(
                f"{source.name}: {describe('TransferSyntaxUID')} is missing, so its encoding is unknown.",
                "Export the study again as DICOM files (PS3.10).",
            )
        size = source.size
        body: BinaryIO = stream
        if syntax == DeflatedExplicitVRLittleEndian:
            body = _inflated(stream, source.name)
            size = body.seek(0, 2)
            body.seek(0)
        header, pixels = _header(body, syntax, size)
        tags = Tags(header, source.name, known)
        return Instance(source, syntax, meta.text("MediaStorageSOPClassUID"), tags, pixels)


def _bare_data_set(source: Source, stream: BinaryIO, head: bytes, known: Known) -> Instance | None:
    """A data set without preamble and file meta, as network dumps and files before PS3.10 are; else None.

    It begins with group 0008. Its SOP class must be a known one, so that no other file passes for it.
    """
    if head[:2] not in _GROUP_8 or len(head) <= PREAMBLE_BYTES:
        return None
    little = head[:2] == _GROUP_8[0]
    explicit = head[4:6].decode("latin-1") in STANDARD_VR
    stream.seek(0)
    try:
        header, pixels = _elements(stream, implicit=not explicit, little=little, size=source.size)
        tags = Tags(header, source.name, known)
        sop_class, recognised = tags.text("SOPClassUID"), tags.text_or("RecognitionCode", "")
    except Exception:  # whatever a parser makes of a file that is no DICOM
        return None
    known_class = UID(sop_class).type == "SOP Class"
    if known_class and (explicit, little) in _BARE:
        return Instance(source, _BARE[explicit, little], sop_class, tags, pixels, legacy=True)
    if known_class or recognised.startswith("ACR-NEMA"):
        what = shown_text(recognised) or "implicit VR big endian"
        raise StudyError(
            f"{source.name}: a data set without file meta in a form from before DICOM ({what}), which is not read; a "
            "DICOM file was expected.",
            "Convert it to DICOM, for example with dcmconv of DCMTK.",
        )
    return None


def _file_meta(stream: BinaryIO) -> Dataset:
    """Group 0002 (PS3.10 section 7.1), always explicit little endian; leaves the stream at the data set."""
    stream.seek(PREAMBLE_BYTES + len(MAGIC))
    return read_dataset(stream, False, True, stop_when=_beyond_file_meta)


def _beyond_file_meta(tag: BaseTag, vr: str | None, length: int) -> bool:
    return int(tag) >> 16 != 2


def _header(stream: BinaryIO, syntax: UID, size: int) -> tuple[Dataset, PixelElement | None]:
    implicit, little = _encoding(syntax)
    return _elements(stream, implicit=implicit, little=little, size=size)


def _encoding(syntax: UID) -> tuple[bool, bool]:
    """Whether a data set is in implicit VR, and whether in little endian.

    A transfer syntax unknown to pydicom is explicit little endian, as all since 1993 are (PS3.5 A.4).
    """
    known = syntax.is_transfer_syntax and not syntax.is_private
    return (syntax.is_implicit_VR, syntax.is_little_endian) if known else (False, True)


def read_elements(instance: Instance, tags: Sequence[int], end: int) -> Dataset:
    """Further elements of a parsed file, as pydicom reads them; it raises what that does.

    Args:
        tags: which. end: tag at which reading stops.
    """
    with instance.source.open_header() as stream:
        if not instance.legacy:
            _file_meta(stream)
        body = _inflated(stream, instance.name) if instance.syntax == DeflatedExplicitVRLittleEndian else stream
        implicit, little = _encoding(instance.syntax)
        wanted: list[BaseTag | int] = [*tags]
        return read_dataset(
            body, implicit, little, stop_when=lambda tag, vr, length: int(tag) >= end, specific_tags=wanted
        )


def _elements(stream: BinaryIO, *, implicit: bool, little: bool, size: int) -> tuple[Dataset, PixelElement | None]:
    """What is read of a data set, up to its pixels; they and the functional groups are not pydicom's to read."""
    found: list[PixelElement] = []
    groups: list[tuple[BaseTag, str | None, int]] = []
    seen: set[int] = set()
    begin = stream.tell()

    def at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
        number, offset = int(tag), stream.tell()
        if offset - begin < _ELEMENT_HEAD:  # pydicom looks at the form of the first element, before it reads that
            return number >= _FIRST_PIXEL_TAG
        refuse_twice(number, _WANTED, seen)
        if number in _PIXEL_KEYWORDS:
            declared = None if length == UNDEFINED_LENGTH else length
            found.append(PixelElement(_PIXEL_KEYWORDS[number], vr or "OW", offset, declared, max(size - offset, 0)))
        elif number in _GROUPS and vr in ("SQ", None):
            groups.append((tag, vr, length))
            return True
        return number >= _FIRST_PIXEL_TAG

    header: Dataset | None = None
    while True:
        part = read_dataset(stream, implicit, little, stop_when=at_pixels, specific_tags=_TAGS)
        if header is None:
            header = part
        else:
            header.update(part)
        if not groups:
            return header, found[0] if found else None
        tag, vr, length = groups.pop()
        stream.seek(_ELEMENT_HEAD if vr is None else _LONG_HEAD, 1)
        encoding = header.original_character_set
        items = read_groups(stream, length, implicit=vr is None, little=little, encoding=encoding)
        header.add(DataElement(tag, "SQ", items))
        begin = stream.tell()


def _inflated(stream: BinaryIO, name: str) -> BytesIO:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    packed = stream.read()
    limit = min(MAX_INFLATED_BYTES, max(RATIO_FROM_BYTES, MAX_RATIO * len(packed)))
    data = inflater.decompress(packed, limit)
    if inflater.unconsumed_tail:
        raise StudyError(
            f"{name}: {len(packed)} deflated bytes inflate to more than {limit}, the most that is read of so many.",
            "Export the study again without deflating it.",
        )
    return BytesIO(data)
