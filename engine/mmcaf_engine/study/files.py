"""From a path to the files that may hold images: one file, a directory, or a zip read in memory."""

import os
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BufferedReader, BytesIO, RawIOBase
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from ..cancel import check
from ..errors import StudyError
from ..files import in_words, look_at, real_path, shown_path
from .faults import doing, printable

MAX_FILES = 50_000
"""Files in a directory, or members of a zip."""
MAX_MEMBER_BYTES = 2 * 1024**3
"""One zip member, unpacked."""
MAX_UNPACKED_BYTES = 16 * 1024**3
"""All zip members together, unpacked."""
MAX_RATIO = 200
"""Unpacked to packed bytes of a whole zip; looked at from RATIO_FROM_BYTES on. CT slices pack about 2 : 1."""
RATIO_FROM_BYTES = 64 * 1024**2

HEADER_CHUNK = 64 * 1024
"""Bytes of a zip member that are unpacked at a time while its header is read."""


@dataclass(frozen=True)
class Source:
    """A file, or a member of a zip, that is opened when it is needed.

    name: its last path component, as messages say it; folders may be named after a patient.
    size: bytes.
    open: the whole file, seekable.
    open_header: the same, for reading from the start only as far as needed.
    """

    name: str
    size: int
    open: Callable[[], BinaryIO]
    open_header: Callable[[], BinaryIO]


@dataclass(frozen=True)
class Found:
    """What lies at a path. skipped_links: symbolic links in a directory that lead out of it."""

    kind: str
    sources: tuple[Source, ...]
    skipped_links: int = 0


@contextmanager
def open_path(path: Path) -> Iterator[Found]:
    """List the files at a path; sources may be opened until the block ends.

    Raises:
        StudyError: nothing there, not a file or directory, unreadable, or over the limits above.
    """
    with ExitStack() as stack:
        with doing(f"{path}: opening the study", remedy="Send it again."):
            found = _list(path, stack)
        yield found


def _list(path: Path, stack: ExitStack) -> Found:
    found = look_at(path, StudyError)
    if found is None:
        raise StudyError(f"{shown_path(path)}: no such file or directory.", "Check the path.")
    if stat.S_ISDIR(found.st_mode):
        return _directory(path)
    if not stat.S_ISREG(found.st_mode):
        raise StudyError(
            f"{path}: neither a file nor a directory, but {in_words(found)}.",
            "Give a DICOM file, a directory or a zip.",
        )
    if _starts_as_zip(path):
        return _members(stack.enter_context(zipfile.ZipFile(path)), path)
    return Found("file", (file_source(path),))


def file_source(path: Path) -> Source:
    """A file on disk."""

    def opened() -> BinaryIO:
        return path.open("rb")

    return Source(printable(path.name, 128), path.stat().st_size, opened, opened)


def _starts_as_zip(path: Path) -> bool:
    """Whether a file is a zip; one with "DICM" after 128 bytes is DICOM whatever else it may be."""
    with path.open("rb") as stream:
        head = stream.read(132)
    return head[:4] in (b"PK\x03\x04", b"PK\x05\x06") and head[128:] != b"DICM"


def _directory(root: Path) -> Found:
    sources: list[Source] = []
    inside = real_path(root)
    leaving = 0

    def refuse(failure: OSError) -> None:
        raise failure

    for folder, folders, names in os.walk(root, onerror=refuse, followlinks=False):
        check()
        folders.sort()  # the order of descent
        for path in sorted(Path(folder) / name for name in names + folders):
            if path.is_symlink():
                # What a link inside the tree leads to is read at its own place.
                leaving += not real_path(path).is_relative_to(inside)
            elif path.is_file():
                sources.append(file_source(path))
        if len(sources) > MAX_FILES:
            raise StudyError(
                f"{root}: more than {MAX_FILES} files; one study was expected.", "Give the directory of one study."
            )
    return Found("directory", tuple(sources), leaving)


def _members(archive: zipfile.ZipFile, path: Path) -> Found:
    members = [member for member in archive.infolist() if not member.is_dir()]
    unpacked = sum(member.file_size for member in members)
    packed = max(sum(member.compress_size for member in members), 1)
    largest = max((member.file_size for member in members), default=0)
    remedy = "Unpack it yourself and give the directory."
    if len(members) > MAX_FILES:
        raise StudyError(f"{path}: {len(members)} members in the zip; at most {MAX_FILES} are read.", remedy)
    if largest > MAX_MEMBER_BYTES:
        raise StudyError(
            f"{path}: a zip member unpacks to {largest} bytes; at most {MAX_MEMBER_BYTES} are read.", remedy
        )
    if unpacked > MAX_UNPACKED_BYTES:
        raise StudyError(f"{path}: the zip unpacks to {unpacked} bytes; at most {MAX_UNPACKED_BYTES} are read.", remedy)
    if unpacked > RATIO_FROM_BYTES and unpacked > MAX_RATIO * packed:
        raise StudyError(
            f"{path}: the zip unpacks to {unpacked // packed} times its size; at most {MAX_RATIO} times is read.",
            remedy,
        )
    if any(member.flag_bits & 1 for member in members):
        raise StudyError(f"{path}: the zip is encrypted.", remedy)
    return Found("zip", tuple(_member_source(archive, member) for member in members))


def _member_source(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Source:
    def whole() -> BinaryIO:
        return BytesIO(archive.read(member))

    def from_start() -> BinaryIO:
        return BufferedReader(cast(RawIOBase, archive.open(member)), HEADER_CHUNK)

    name = PurePosixPath(member.filename.replace("\\", "/")).name
    return Source(printable(name, 128), member.file_size, whole, from_start)
