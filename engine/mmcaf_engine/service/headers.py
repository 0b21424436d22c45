"""What a received DICOM file says of where it belongs: identifiers and the elements that routes look at."""

import struct
from collections.abc import Iterable, Mapping, MutableSequence
from fnmatch import fnmatchcase
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import StudyError, printable
from ..study.dicom.transfer_syntaxes import TRANSFER_SYNTAXES
from ..study.selection.series import SLICES
from .answers import Priority
from .cut import LONG_FORMS, is_cut
from .keys import keyed
from .receipt import Instance
from .studies import Arrival

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.tag import BaseTag

_IDENTIFYING = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "PatientID",
    "AccessionNumber",
    "RequestedProcedurePriority",
)
_URGENT: dict[str, Priority] = {"STAT": "stat", "HIGH": "stat", "LOW": "batch"}
"""Requested Procedure Priority (0040,1003), its defined terms; all others are routine."""
_IMAGES = SLICES | {
    f"1.2.840.10008.5.1.4.1.1.{last}" for last in ("1", "1.1", "1.1.1", "7", "7.1", "7.2", "7.3", "7.4")
}
"""SOP classes of which each instance has pixels (PS3.4 B.5)."""
_IMPLICIT = "1.2.840.10008.1.2"
_DEFLATED, _BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
_PLAIN = frozenset(TRANSFER_SYNTAXES) - {_DEFLATED, _BIG_ENDIAN}
"""Transfer syntaxes in which a data set is little endian, and not deflated as a whole."""


class CutOffError(StudyError):
    """A file that is a part of one: more may come of it."""


def read_header(content: bytes, name: str, keywords: Iterable[str]) -> tuple["Dataset", int]:
    """Some elements of a DICOM file, and where its data set begins.

    Raises:
        StudyError: it is no DICOM file (PS3.10), or a value cannot be read.
    """
    from pydicom import config, dcmread
    from pydicom.filereader import read_dataset

    try:
        body, syntax = _meta_information(content)
        with config.disable_value_validation():
            if syntax not in _PLAIN:
                return dcmread(BytesIO(content), specific_tags=list(keywords), stop_before_pixels=True), body
            wanted, last = _tags(tuple(keywords))
            stream = BytesIO(content)  # Shares the bytes, without a copy of them.
            stream.seek(body)
            header = read_dataset(
                stream,
                is_implicit_VR=syntax == _IMPLICIT,
                is_little_endian=True,
                stop_when=lambda tag, vr, length: tag > last,
                specific_tags=list(wanted),
            )
    except Exception:  # Whatever pydicom raises of bytes from elsewhere; its words may quote them.
        raise StudyError(f"{name} is no DICOM file that can be read.", "Send it again.") from None
    return header, body


@cache
def _tags(keywords: tuple[str, ...]) -> "tuple[tuple[BaseTag, ...], int]":
    """Tags of keywords, and the last that need be looked at: what stands behind it, pixels and all, is not."""
    from pydicom.tag import Tag

    tags = tuple(map(Tag, keywords))
    return tags, max([*tags, 0x00080005])


def _meta_information(content: bytes) -> tuple[int, str]:
    """Where the data set begins, behind group 2, which is in Explicit VR Little Endian (PS3.10 7.1); and in what it is.

    Raises:
        ValueError, struct.error: there is no such group, or it does not end.
    """
    if content[128:132] != b"DICM":
        raise ValueError("no DICOM prefix")
    at, syntax = 132, b""
    while content[at : at + 2] == b"\x02\x00":
        if content[at + 4 : at + 6] in LONG_FORMS:
            at += 12 + struct.unpack_from("<I", content, at + 8)[0]
        else:
            begin = at + 8
            is_syntax = content[at + 2 : at + 4] == b"\x10\x00"
            at = begin + struct.unpack_from("<H", content, at + 6)[0]
            syntax = content[begin:at] if is_syntax else syntax
    if not 132 < at <= len(content):
        raise ValueError("no group 2, or not all of it")
    return at, syntax.strip(b"\0 ").decode("ascii", "replace")


def identify(content: bytes, name: str, source: str, key: bytes, priority: Priority = "routine") -> Instance:
    """A received file, with what it belongs to.

    Args:
        name: how messages call it; of no patient.
        source: who sent it.
        key: of the spool, with which identifiers become digests.
        priority: of whoever sent it; a file that says it is urgent is so all the same.

    Raises:
        StudyError: it is no DICOM file, or lacks a UID. CutOffError: it is a part of one.
    """
    cut = CutOffError(f"{name} is cut off: it ends before its last element does.", "Send it again.")
    try:
        header, body = read_header(content, name, _IDENTIFYING)
    except StudyError:
        if _is_cut(content):
            raise cut from None
        raise
    uids = {keyword: text_of(header, keyword) for keyword in _IDENTIFYING[:4]}
    lacking = next((keyword for keyword, uid in uids.items() if not uid), None)
    is_cut_off = _is_cut(content, pixels=lacking is not None or uids["SOPClassUID"] in _IMAGES)
    if lacking is not None:
        kind = CutOffError if is_cut_off else StudyError
        raise kind(f"{name} has no {lacking}.", "Send it from a system that writes one.")
    if is_cut_off:
        raise cut
    said = _URGENT.get(text_of(header, "RequestedProcedurePriority").upper())
    arrival = Arrival(
        uid=uids["SOPInstanceUID"],
        study=uids["StudyInstanceUID"],
        series=uids["SeriesInstanceUID"],
        sop_class=uids["SOPClassUID"],
        sha256="",
        size=len(content),
        file="",
        source=source,
        patient=keyed(key, "patient", text_of(header, "PatientID")),
        accession=keyed(key, "accession", text_of(header, "AccessionNumber")),
        priority=priority if said is None else said,
    )
    return Instance(content, body, arrival)


def _is_cut(content: bytes, *, pixels: bool = False) -> bool:
    """Whether it begins as a DICOM file does, or not at all, and is not whole; an image has pixels."""
    if len(content) < 132 or content[128:132] != b"DICM":
        return not content[:128].strip(b"\0") and b"DICM".startswith(content[128:132])
    try:
        body, syntax = _meta_information(content)
    except (ValueError, struct.error):
        return True
    if syntax == _DEFLATED:
        return False  # Read as a whole, or not at all.
    return is_cut(content, body, implicit=syntax == _IMPLICIT, little=syntax != _BIG_ENDIAN, pixels=pixels)


def text_of(header: "Dataset", keyword: str) -> str:
    """A value as text, without its padding; several as DICOM writes them, with a backslash between."""
    try:
        value: Any = header.get(keyword)
    except Exception:  # A value that cannot be converted is none.
        return ""
    if value is None:
        return ""
    several = isinstance(value, list | tuple | MutableSequence)  # A PersonName can be iterated, and is one value.
    return "\\".join(map(str, value)) if several else str(value).strip(" \0")


def matches(header: "Dataset", patterns: Mapping[str, str]) -> bool:
    """Whether every element has a value that its pattern fits, * for any characters and ? for one, in either case."""
    for keyword, pattern in patterns.items():
        values = text_of(header, keyword).split("\\")
        if not any(fnmatchcase(value.casefold(), pattern.casefold()) for value in values):
            return False
    return True


def series_header(file: Path, keywords: Iterable[str]) -> "Dataset":
    """Of one file of a series, what routes look at.

    Raises:
        StudyError: it cannot be read.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(1024 * 1024)
    except OSError as failure:
        raise StudyError(f"{printable(file.name, 80)} cannot be read: {failure.strerror}.") from None
    return read_header(content, "An image of the spool", keywords)[0]
