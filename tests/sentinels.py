"""A patient's data in every element that DICOM knows, so that a test finds out wherever some of it comes out.

Every value holds a mark: text says SENTINEL, a UID begins with a root of its own, and numbers, dates and times are ones
that nothing else says.
"""

import re
from collections.abc import Iterator

from pydicom.datadict import DicomDictionary
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

TEXT, UID_ROOT = "SENTINEL", "1.2.826.0.1.3680043.8.7777"
NUMBER, DATE, TIME, REAL = 77_717, "19171107", "071717", 7717.75
MARKS = (TEXT, TEXT.lower(), UID_ROOT, str(NUMBER), DATE, "1917-11-07", TIME, "07:17:17", "7717.75", "U0VOVElORU")
"""What is looked for; the last is Base64 of the text's beginning."""

_VALUES = {
    **dict.fromkeys(("AE", "CS", "SH", "LO", "ST", "LT", "UC", "UT"), TEXT),
    "PN": f"{TEXT}^{TEXT}=={TEXT}",
    "UR": f"https://{TEXT.lower()}.example/{TEXT}",
    "AS": "077Y",
    "DA": DATE,
    "TM": TIME,
    "DT": f"{DATE}{TIME}",
    "DS": str(REAL),
    "IS": str(NUMBER),
    **dict.fromkeys(("FD", "FL"), REAL),
    **dict.fromkeys(("UL", "SL", "UV", "SV"), NUMBER),
    **dict.fromkeys(("OB", "UN"), TEXT.encode()),
}
"""Value representation -> a value with a mark; US and SS are too small for one, and others are not a person's."""

_MEANT = {
    "file's form": (0x0000, 0x0002, 0x0004, 0x0006, 0x0028, 0x5400, 0x7FE0, 0x7FE1, 0x0022, 0x0048, 0x0052),
    "geometry and time of the images": (0x0018, 0x0020, 0x0054, 0x0066, 0x0068, 0x0070, 0x0072, 0x0062, 0x0064),
}
"""Groups of which only text is filled in, and why: other values would make another image."""

_KEPT = re.findall(
    r"\w+",
    """SpecificCharacterSet ImageType SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID Modality
    PatientOrientation PatientPosition FrameOfReferenceUID ImageLaterality Laterality PixelPresentation
    VolumetricProperties PatientSex PatientAge PatientWeight StudyDate SeriesDate AcquisitionDate ContentDate
    RequestedProcedurePriority LossyImageCompression RescaleType PhotometricInterpretation""",
)
"""Keywords that the engine looks at and refuses a study for, or that a service is meant to keep: the UIDs."""


def fields() -> Iterator[tuple[int, str]]:
    """Tag and value representation of every element of the dictionary that can hold a mark."""
    for tag, (vr, _, _, retired, keyword) in DicomDictionary.items():
        group = tag >> 16
        if keyword and keyword not in _KEPT and group not in _MEANT["file's form"] and not retired:
            of_images = group in _MEANT["geometry and time of the images"]
            known = vr in _TEXTS if of_images else vr in _VALUES
            if known or (vr in ("SQ", "UI") and group in _PEOPLE):
                yield tag, vr


_PEOPLE = (0x0008, 0x0010, 0x0032, 0x0040)
"""Groups that say who, where and why, whose sequences and UIDs are filled in, too."""
_TEXTS = ("SH", "LO", "ST", "LT", "UC", "UT", "PN")


def marked() -> Dataset:
    """Every element with its mark, in items of sequences and in private ones, too."""
    every = Dataset()
    for at, (tag, vr) in enumerate(fields()):
        every.add(element(tag, vr, at))
    block = every.private_block(0x0071, f"{TEXT} PRIVATE", create=True)
    for offset, vr in enumerate(("LO", "PN", "UT", "OB", "DA", "IS", "UN")):
        block.add_new(offset, vr, _VALUES[vr])
    return every


def fill(image: Dataset, every: Dataset, patient_id: str, accession: str) -> None:
    """Put a mark into every element that the image lacks."""
    for one in every:
        if one.tag not in image:
            image.add(one)
    image.PatientID, image.AccessionNumber = patient_id, accession


def element(tag: int, vr: str, number: int) -> DataElement:
    """One, with a value of its own where there is room."""
    if vr == "SQ":
        item = Dataset()
        item.PatientName, item.PatientID, item.StudyDate = f"{TEXT}^ITEM", f"{TEXT} ITEM", DATE
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = TEXT, f"99{TEXT}", f"{TEXT} {number}"
        return DataElement(tag, vr, Sequence([item]))
    if vr == "UI":
        return DataElement(tag, vr, f"{UID_ROOT}.{number}")
    value = _VALUES[vr]
    return DataElement(tag, vr, f"{value} {number}" if vr in ("SH", "LO", "LT", "ST", "UT", "UC") else value)


def found(content: bytes, *, allowed: tuple[str, ...] = ()) -> list[str]:
    """Which marks it holds, each with what stands around it."""
    text = content.decode("latin-1")
    for word in allowed:
        text = text.replace(word, "")
    return [f"{mark}: {text[max(0, at - 60) : at + 60]!r}" for mark in MARKS if (at := text.find(mark)) >= 0]
