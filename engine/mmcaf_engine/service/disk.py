"""The spool's disk: what is written there is on it before anybody is told, and some of it stays free."""

import errno
import os
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Room = Literal["enough", "low", "none"]
"""low: below the reserve, nothing more is taken. none: below the hard limit, nobody is even listened to."""


@dataclass(frozen=True)
class Reserve:
    """Bytes that stay free on the spool's disk. hard: below it, not even associations are accepted."""

    bytes: int
    hard: int

    def room(self, spool: Path, coming: int = 0) -> Room:
        """How much there is once so many bytes more were written."""
        free = shutil.disk_usage(spool).free - coming
        if free < self.hard:
            return "none"
        return "low" if free < self.bytes else "enough"


def sync_folder(folder: Path) -> None:
    """Names in a folder are on the disk, too."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folders(folder: Path, top: Path) -> None:
    """Names in a folder are on the disk, and those of the folder and of all up to `top`, whoever made them.

    Somebody else may have made one a moment ago, or died before it was synced.
    """
    sync_folder(folder)
    while folder != top:
        folder = folder.parent
        sync_folder(folder)


def write_synced(file: Path, content: bytes) -> None:
    """A new file, of which the bytes are on the disk, its name perhaps not; nothing is left where that fails.

    Raises:
        OSError: it exists, or the disk is full.
    """
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def is_full(failure: BaseException) -> bool:
    """Whether it says that the disk, or the user's part of it, is full."""
    if isinstance(failure, sqlite3.Error):
        return getattr(failure, "sqlite_errorname", "") == "SQLITE_FULL"
    return isinstance(failure, OSError) and failure.errno in (errno.ENOSPC, errno.EDQUOT)


def make_folder(folder: Path) -> bool:
    """A folder and those above it, their names on the disk; False where it was there."""
    if folder.is_dir():
        return False
    make_folder(folder.parent)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return False
    sync_folder(folder.parent)
    return True
