"""Studies that come over HTTP: a DICOM file, a zip of them, or the parts of a STOW-RS request."""

import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

from ...errors import StudyError
from ..headers import identify
from ..receipt import Received
from .context import Context

MOST_MEMBERS = 20_000
MOST_RATIO = 200
"""A member of a zip that would grow by more is refused."""
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, NotImplementedError, RuntimeError),
    *(EOFError, ValueError, LookupError, OverflowError, OSError),
)
"""What zipfile raises of bytes that are no zip, or one that it cannot read."""
_BOUNDARY = re.compile(r'boundary="?([^";]{1,200})"?', re.IGNORECASE)


@dataclass(frozen=True)
class Uploaded:
    """What became of one file. reason: why it was not kept. full: the disk is.
    misled: it was sent to another study.
    """

    uid: str | None
    sop_class: str | None
    study: str | None
    kept: str | None
    reason: str | None = None
    full: bool = False
    misled: bool = False


def take(context: Context, content: bytes, source: str, study: str | None = None) -> Uploaded:
    """Keep one DICOM file, where it is of the study that was said; it is safe on the disk once this returns."""
    try:
        instance = identify(content, "The file", source, context.key)
    except StudyError as failure:
        return Uploaded(None, None, None, None, failure.problem)
    arrival = instance.arrival
    if study not in (None, arrival.study):
        why = "It is of another study than the request says."
        return Uploaded(arrival.uid, arrival.sop_class, arrival.study, None, why, misled=True)
    received: Received = context.receipt.receive(instance)
    reason = None
    if received.full:
        reason = "The service's disk is full."
    elif received.kept == "other":
        reason = "Its UID is that of another image that was received before."
    kept = None if reason else received.kept
    return Uploaded(arrival.uid, arrival.sop_class, arrival.study, kept, reason, received.full)


def files_of_zip(content: bytes) -> Iterator[bytes]:
    """The files in a zip.

    Raises:
        StudyError: it is none, is damaged, or would grow beyond what is expected of images.
    """
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if len(members) > MOST_MEMBERS:
                raise StudyError(f"The zip holds {len(members)} files; at most {MOST_MEMBERS} are taken.")
            for member in members:
                if member.file_size > MOST_RATIO * max(member.compress_size, 1024):
                    raise StudyError("A file of the zip would grow more than images do.", "Send it unpacked.")
                yield archive.read(member)
    except _DAMAGED:
        raise StudyError("The zip is damaged, or encrypted.", "Send it again, without a password.") from None


def parts_of(content: bytes, content_type: str) -> list[tuple[str, bytes]]:
    """Type and content of each part of a multipart/related body (RFC 2387, PS3.18 10.5).

    Raises:
        StudyError: it has no boundary, or no parts.
    """
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise StudyError("The request is not multipart/related with a boundary.", "Send it as PS3.18 10.5 has it.")
    mark = b"--" + found.group(1).encode("latin-1", "replace")
    body = content if content.startswith(mark) else content.partition(b"\r\n" + mark)[2]
    body = body.removeprefix(mark)
    parts = []
    for piece in body.split(b"\r\n" + mark):
        if piece.startswith(b"--"):
            break
        head, blank, rest = piece.partition(b"\r\n\r\n")
        if not blank:
            raise StudyError("A part of the request has no end of its header.", "Send it as PS3.18 10.5 has it.")
        kind = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-type:")), b"")
        parts.append((kind.partition(b":")[2].strip().decode("latin-1"), rest))
    if not parts:
        raise StudyError("The request has no part.", "Send it as PS3.18 10.5 has it.")
    return parts
