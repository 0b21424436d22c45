"""Reads an archive of `backup` into a new folder, and believes nothing of it that its digests do not bear out."""

import hashlib
import json
import re
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

from ..errors import ServiceError, printable
from ..files import require_file
from .backup import FORMAT, MANIFEST, Contents
from .database import FILE
from .disk import make_folder, sync_folders
from .keys import FILE as KEY
from .receipt import INCOMING
from .records import FOLDER
from .runner import RESULTS

KEPT = (INCOMING, FOLDER, RESULTS)
"""Folders of the spool that an archive may hold files of."""
MOST_MANIFEST_BYTES = 256 * 2**20
_NAME = re.compile(
    rf"({re.escape(FILE)}|{KEY}|{MANIFEST}|({'|'.join(KEPT)})(/[A-Za-z0-9_-][A-Za-z0-9._-]{{0,199}}){{1,2}})"
)
_BLOCK = 1024 * 1024


def unpack(archive: Path, folder: Path) -> Contents:
    """All of an archive, synced, in a folder that is empty.

    Raises:
        ServiceError: it is no such archive, is damaged, or of a newer version. OSError: it cannot be written.
    """
    require_file(archive, error=ServiceError)
    for name in KEPT:
        make_folder(folder / name)
    found: dict[str, str] = {}
    manifest = b""
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                if not member.isreg() or not _NAME.fullmatch(member.name) or member.name in found:
                    raise ServiceError(f"{archive} holds {printable(member.name)!r}, which no backup does.")
                stream = tar.extractfile(member)
                if stream is None:
                    raise tarfile.ReadError("no data")
                if member.name == MANIFEST:
                    manifest = stream.read(MOST_MANIFEST_BYTES)
                else:
                    found[member.name] = _copy(stream, folder / member.name, member.size)
    except (tarfile.TarError, EOFError, UnicodeDecodeError):
        raise ServiceError(f"{archive} is no archive, or is damaged.", "Take another copy.") from None
    contents = _contents(archive, manifest)
    if wrong := sorted(set(found.items()) ^ set(contents.files.items())):
        raise ServiceError(
            f"{archive} is damaged: {printable(wrong[0][0])} is not what was written.", "Take another copy."
        )
    if not {FILE, KEY} <= found.keys():
        raise ServiceError(f"{archive} is no backup of a service: it lacks {FILE} or {KEY}.", "Take another copy.")
    _refuse_damaged(archive, folder / FILE)
    for place in {(folder / name).parent for name in found}:
        sync_folders(place, folder)
    return contents


def _copy(stream: Any, file: Path, size: int) -> str:
    """Its SHA-256."""
    import os

    digest = hashlib.sha256()
    make_folder(file.parent)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as target:
        left = size
        while block := stream.read(min(_BLOCK, left)):
            digest.update(block)
            target.write(block)
            left -= len(block)
        target.flush()
        os.fsync(target.fileno())
    if left:
        raise tarfile.ReadError("cut off")
    return digest.hexdigest()


def _contents(archive: Path, manifest: bytes) -> Contents:
    try:
        document = json.loads(manifest)
        if document["format"] > FORMAT:
            raise ServiceError(f"{archive} is of a newer version of mmcaf-infer.", "Restore it with that.")
        names = ("created", "schema", "images", "files", "missing", "format")
        contents = Contents(**{name: document[name] for name in names})
    except (ValueError, KeyError, TypeError):
        raise ServiceError(f"{archive} is no backup of a service, or was cut off.", "Take another copy.") from None
    return contents


def _refuse_damaged(archive: Path, file: Path) -> None:
    try:
        with closing(sqlite3.connect(file)) as memory:
            said = [row[0] for row in memory.execute("pragma integrity_check(1)")]
            astray = memory.execute("pragma foreign_key_check").fetchone()
    except sqlite3.Error as failure:
        said, astray = [str(failure)], None
    if said != ["ok"] or astray is not None:
        raise ServiceError(f"{archive}: its {FILE} is damaged ({said[0]}).", "Take another copy.")
