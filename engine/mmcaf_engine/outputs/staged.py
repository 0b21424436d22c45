"""Files and folders that are first written under a name that nobody can guess, then renamed into place."""

import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EBADF, EEXIST, EINVAL
from pathlib import Path
from typing import BinaryIO

from ..files import in_words

PRIVATE = 0o600
"""Rights of a file that this program keeps for itself."""

PUBLIC = 0o666
"""Rights of a file that somebody asked for: those that the umask leaves, or those of the file that it replaces."""

_STAGING = re.compile(r"\.mmcaf-[0-9a-f]{32}\.staging")


class StagedFile:
    """A file under a name of its own beside `target`; `commit` moves it there, `discard` removes it.

    Args:
        mode: its rights: PRIVATE, or PUBLIC.
        replace: take the place of an older file; anything but a file is never replaced.

    Raises:
        OSError: it cannot be made, or what stands at `target` is not to be replaced.
    """

    def __init__(self, target: Path, mode: int = PRIVATE, *, replace: bool = True) -> None:
        self._replace = replace
        found = _replaceable(target, replace)
        if mode == PUBLIC and found is not None:
            mode = stat.S_IMODE(found.st_mode) & 0o777
        self._target = target
        self._staging = staging_path(target.parent)
        self.stream = create(self._staging, mode)

    def finish(self) -> None:
        """Put what was written on the disk.

        Raises:
            OSError: that failed.
        """
        if not self.stream.closed:
            with self.stream:
                self.stream.flush()
                os.fsync(self.stream.fileno())

    def commit(self) -> None:
        """Move it to its place.

        Raises:
            OSError: it cannot be written or moved, or something has come to stand there that is not to be replaced.
        """
        self.finish()
        _replaceable(self._target, self._replace)
        self._staging.replace(self._target)
        _sync(self._target.parent)

    def discard(self) -> None:
        """Remove it, if it was not moved."""
        with suppress(OSError):
            self.stream.close()
        remove(self._staging)


@contextmanager
def staged_file(target: Path, mode: int = PRIVATE) -> Iterator[BinaryIO]:
    """A stream to a file that takes the place of `target` when the block ends without an error.

    Raises:
        OSError: as `StagedFile`, or it cannot be written; then `target` is as it was.
    """
    staged = StagedFile(target, mode)
    try:
        yield staged.stream
        staged.commit()
    finally:
        staged.discard()


def write_file(target: Path, content: str | bytes, mode: int = PRIVATE) -> None:
    """Write a file in one rename, text as UTF-8.

    Raises:
        OSError: as `staged_file`.
    """
    with staged_file(target, mode) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


def new_staging_folder(parent: Path, mode: int = 0o700) -> Path:
    """An empty folder that `commit_folder` later moves to its place.

    Raises:
        OSError: it cannot be made.
    """
    folder = staging_path(parent)
    folder.mkdir(mode)
    return folder


def commit_folder(staging: Path, target: Path, *, replace: bool = False) -> None:
    """Put everything below `staging` on the disk, then move it to `target` in one rename.

    What is replaced is first moved aside, and removed only when its successor stands: it is never lost.

    Args:
        staging: a folder, or the archive of one, on the file system of `target`.
        replace: take the place of an older file or folder; else of nothing but an empty folder.

    Raises:
        OSError: it cannot be moved, or something else stands there; `target` is then as it was.
    """
    for path in (*staging.rglob("*"), staging):
        if not path.is_symlink():
            _sync(path)
    found = found_at(target)
    aside: Path | None = None
    if found is not None:
        is_folder = stat.S_ISDIR(found.st_mode)
        if not (is_folder or (replace and stat.S_ISREG(found.st_mode))):
            raise _in_the_way(target, found)
        if replace:
            aside = target.rename(staging_path(target.parent))
    try:
        staging.rename(target)
    except BaseException:
        if aside is not None:
            aside.rename(target)
        raise
    _sync(target.parent)
    if aside is not None:
        remove(aside)


@contextmanager
def scratch_folder(parent: Path, mode: int = 0o700) -> Iterator[Path]:
    """A folder that is gone after the block, unless `commit_folder` has moved it.

    Raises:
        OSError: it cannot be made.
    """
    folder = new_staging_folder(parent, mode)
    try:
        yield folder
    finally:
        remove(folder)


@contextmanager
def staged_folder(target: Path, *, replace: bool = False, mode: int = 0o700) -> Iterator[Path]:
    """A folder that takes the place of `target` when the block ends without an error.

    Args:
        replace: as `commit_folder`.
        mode: its rights, of which the umask may take some.

    Raises:
        OSError: as `commit_folder`.
    """
    with scratch_folder(target.parent, mode) as folder:
        yield folder
        commit_folder(folder, target, replace=replace)


def is_staging(name: str) -> bool:
    """Whether a file or folder of this name was being written; one that stays is of a process that was killed."""
    return _STAGING.fullmatch(name) is not None


def remove(path: Path) -> bool:
    """Remove a file or folder, or a link in its place but not what it leads to; False if that failed.

    A folder disappears at once, so that nobody finds half of it.
    """
    try:
        if path.is_dir() and not path.is_symlink():
            doomed = path.rename(staging_path(path.parent))
            shutil.rmtree(doomed)
        else:
            path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def staging_path(folder: Path) -> Path:
    """A name in a folder for one use, unlike that of any other process or thread."""
    return folder / f".mmcaf-{secrets.token_hex(16)}.staging"


def create(path: Path, mode: int) -> BinaryIO:
    """A new file, open to be written; never one that stands there already, nor through a link."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, mode), "wb")


def _sync(path: Path) -> None:
    """Put a file, or the names in a folder, on the disk. Windows cannot do that of a folder; some file systems too."""
    is_folder = path.is_dir()
    if is_folder and os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError as failure:
        if not (is_folder and failure.errno in (EBADF, EINVAL)):
            raise
    finally:
        os.close(descriptor)


def found_at(path: Path) -> os.stat_result | None:
    """What stands at a path, links themselves included; None for nothing."""
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def _replaceable(target: Path, replace: bool) -> os.stat_result | None:
    """The file that is replaced; None for none."""
    found = found_at(target)
    if found is not None and not (replace and stat.S_ISREG(found.st_mode)):
        raise _in_the_way(target, found)
    return found


def _in_the_way(target: Path, found: os.stat_result) -> FileExistsError:
    return FileExistsError(EEXIST, f"{in_words(found)} stands there", str(target))
