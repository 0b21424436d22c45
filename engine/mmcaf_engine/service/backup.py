"""A copy of what the service knows and keeps, as one tar archive, made while the service runs.

The memory is copied first, as it is at one moment. What it names never changes and is removed only after the memory
forgot it: so an archive that lacks nothing is of that moment, and one that does is begun again.
"""

import hashlib
import json
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from .database import FILE, back_up, schema_version
from .keys import FILE as KEY

MANIFEST = "manifest.json"
FORMAT = 1
MOST_TRIES = 3


@dataclass(frozen=True)
class Contents:
    """What an archive says of itself. files: name within the spool -> SHA-256. missing: what the memory names and the
    spool did not have. created: UTC.
    """

    created: str
    schema: int
    images: bool
    files: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    format: int = FORMAT


class _GoneError(Exception):
    """A file that the copy of the memory names was removed meanwhile."""


def write_backup(spool: Path, stream: BinaryIO, scratch: Path, *, images: bool, now: float) -> Contents:
    """Write the archive to a stream that can be wound back.

    Args:
        scratch: a folder for the copy of the memory, which the caller removes.
        images: with the images, too; without, studies that are not answered must be sent again after a restore.

    Raises:
        ServiceError: no service has run with this spool. OSError: it cannot be written.
    """
    for tries in range(MOST_TRIES):
        copy = scratch / f"{FILE}.{tries}"
        stream.seek(0)
        stream.truncate()
        try:
            return _write(spool, stream, copy, images=images, now=now, whole=tries < MOST_TRIES - 1)
        except _GoneError:
            continue
    raise AssertionError("the last try takes what is there")


def _write(spool: Path, stream: BinaryIO, copy: Path, *, images: bool, now: float, whole: bool) -> Contents:
    back_up(spool, copy)
    with closing(sqlite3.connect(copy)) as memory:
        memory.execute("pragma journal_mode = delete")
        made = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        contents = Contents(made, schema_version(memory), images)
        names = list(_named(memory, images=images))
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        contents.files[FILE] = _add(archive, FILE, copy)
        for name in [KEY, *names]:
            try:
                contents.files[name] = _add(archive, name, spool / name)
            except FileNotFoundError:
                if whole:
                    raise _GoneError from None
                contents.missing.append(name)
        _add_bytes(archive, MANIFEST, json.dumps(asdict(contents), indent=1).encode())
    return contents


def _named(memory: sqlite3.Connection, *, images: bool) -> Iterator[str]:
    """Every file that the memory names."""
    for table in ("record", "object", *(["instance"] if images else [])):
        for row in memory.execute(f"select distinct file from {table} where file <> '' order by file"):  # noqa: S608
            yield str(row[0])


def _add(archive: tarfile.TarFile, name: str, file: Path) -> str:
    """A file goes in as it is; its SHA-256."""
    with file.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
        size = source.tell()
        source.seek(0)
        archive.addfile(_member(name, size), source)
    return digest


def _add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    archive.addfile(_member(name, len(content)), BytesIO(content))


def _member(name: str, size: int) -> tarfile.TarInfo:
    member: Any = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    found: tarfile.TarInfo = member
    return found
