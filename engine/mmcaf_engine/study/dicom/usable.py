"""Values of a header as an object may hold them: what their value representation (PS3.5 6.2) forbids is put right, or
left out."""

import math
import re
from collections.abc import Sequence
from datetime import datetime

from pydicom.datadict import dictionary_VM
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.valuerep import DS, MAX_VALUE_LEN, STR_VR_REGEXES

IDENTIFYING = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "StudyInstanceUID", "StudyID", "AccessionNumber"),
    *("SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID", "FrameOfReferenceUID", "ReferringPhysicianName"),
)
"""Taken over as they were sent, however long: a study is found by them, and with another value another one is."""

_TERMS = {
    "PatientSex": re.compile("[MFO]"),
    "TimezoneOffsetFromUTC": re.compile(r"[+-](0\d|1[0-4])[0-5]\d"),
    "VOILUTFunction": re.compile("LINEAR|LINEAR_EXACT|SIGMOID"),
}
"""What is no more than text or code by its value representation, and of which objects allow but these."""


def usable(element: DataElement) -> DataElement | None:
    """The element as an object may hold it; None where no value is left.

    Dates and times in the form before DICOM, such as 2026.11.30, are written as DICOM does; a number that is written
    too long is rounded to what fits, and a text that is too long is cut, but those of `IDENTIFYING` are not.
    """
    if element.VR == "SQ" or element.is_empty:
        return element
    values = list(element.value) if element.VM > 1 else [element.value]
    single = dictionary_VM(element.tag) == "1"
    if element.keyword in IDENTIFYING:
        return None if element.VR == "PN" and len(values) > 1 else element  # a name of several values is none
    found = [_as_allowed(element.VR, element.keyword, value) for value in values]
    if None in found or (single and len(found) > 1):
        return None
    return DataElement(element.tag, element.VR, found[0] if len(found) == 1 else found)


def drop_unusable_window(header: Dataset) -> None:
    """Leave out a grey-value window that shows nothing, or whose centres have no widths (PS3.3 C.11.2.1.2)."""
    centres, widths = (_numbers(header, keyword) for keyword in ("WindowCenter", "WindowWidth"))
    if len(centres) != len(widths) or not all(width > 0 for width in widths):
        for keyword in ("WindowCenter", "WindowWidth"):
            header.pop(keyword, None)


def _numbers(header: Dataset, keyword: str) -> list[float]:
    value = header.get(keyword)
    if value is None:
        return []
    return [float(one) for one in value] if isinstance(value, Sequence) else [float(value)]


def _as_allowed(representation: str, keyword: str, value: object) -> object | None:
    """One value; None where it is none of its value representation."""
    text = str(value).strip(" ")
    term = _TERMS.get(keyword)
    if term is not None:
        return text if term.fullmatch(text) else None
    match representation:
        case "DA":
            return _date(text)
        case "TM":
            text = text.replace(":", "")
            return text if _is_allowed("TM", text) else None
        case "DS":
            return _decimal(text)
        case "AS" | "CS" | "IS":
            return value if _is_allowed(representation, text) else None
        case "LO" | "SH" | "ST" | "LT":
            return text[: MAX_VALUE_LEN.get(representation)].rstrip(" ")
    return value


def _is_allowed(representation: str, text: str) -> bool:
    longest = MAX_VALUE_LEN.get(representation, len(text))
    return len(text) <= longest and STR_VR_REGEXES[representation].match(text) is not None


def _date(text: str) -> str | None:
    digits = text.replace(".", "") if re.fullmatch(r"\d{4}\.\d\d\.\d\d", text) else text
    if not re.fullmatch(r"\d{8}", digits, re.ASCII):
        return None
    try:
        datetime.strptime(digits, "%Y%m%d")
    except ValueError:
        return None
    return digits


def _decimal(text: str) -> str | None:
    number = float(text)
    if not math.isfinite(number):
        return None
    return text if len(text) <= 16 else str(DS(number, auto_format=True))
