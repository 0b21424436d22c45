"""Files and folders that are first written under a name that nobody can guess, then renamed into place."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EBADF, EEXIST, EINVAL
from pathlib import Path
from typing import BinaryIO

from ..files import in_words
from .exchange import exchange
from .leftovers import aside_path, hold, let_go, lock, remove, staging_path, sweep_once

PRIVATE = 0o600
"""Rights of every file that is written here, whatever the umask: what it holds may be of a patient."""


class StagedFile:
    """A file under a name of its own beside `target`; `commit` moves it there, `discard` removes it.

    Args:
        replace: take the place of an older file; anything but a file is never replaced.

    Raises:
        OSError: it cannot be made, or what stands at `target` is not to be replaced.
    """

    def __init__(self, target: Path, *, replace: bool = True) -> None:
        self._replace = replace
        _refuse_in_the_way(target, replace)
        self._target = target
        self._lock: int | None = None
        self._staging, self.stream = _create_held(target.parent)
        if os.name == "posix":
            self._lock = os.dup(self.stream.fileno())  # The lock lasts until both are closed.

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
        _refuse_in_the_way(self._target, self._replace)
        self._staging.replace(self._target)
        self._let_go()
        _sync(self._target.parent)

    def discard(self) -> None:
        """Remove it, if it was not moved."""
        with suppress(OSError):
            self.stream.close()
        remove(self._staging)
        self._let_go()

    def _let_go(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


@contextmanager
def staged_file(target: Path) -> Iterator[BinaryIO]:
    """A stream to a file that takes the place of `target` when the block ends without an error.

    Raises:
        OSError: as `StagedFile`, or it cannot be written; then `target` is as it was.
    """
    staged = StagedFile(target)
    try:
        yield staged.stream
        staged.commit()
    finally:
        staged.discard()


def write_file(target: Path, content: str | bytes) -> None:
    """Write a file in one rename, text as UTF-8.

    Raises:
        OSError: as `staged_file`.
    """
    with staged_file(target) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


def new_staging_folder(parent: Path, mode: int = 0o700) -> Path:
    """An empty folder that `commit_folder` later moves to its place.

    Raises:
        OSError: it cannot be made.
    """
    sweep_once(parent)
    while True:
        folder = staging_path(parent)
        folder.mkdir(mode)
        if hold(folder):
            return folder


def commit_folder(staging: Path, target: Path, *, replace: bool = False) -> None:
    """Put everything below `staging` on the disk, then move it to `target` in one rename.

    What is replaced changes places with its successor where the system can do that in one step; else it is put aside
    first, under its own name in a folder that `restore` knows. It is removed only when its successor stands.

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
    is_folder = found is not None and stat.S_ISDIR(found.st_mode)
    if found is not None and not (is_folder or (replace and stat.S_ISREG(found.st_mode))):
        raise _in_the_way(target, found)
    if found is None or not replace:
        staging.rename(target)
    elif not (is_folder or staging.is_dir()):
        staging.replace(target)
    elif not exchange(staging, target):
        _replace_in_two_steps(staging, target)
    let_go(staging)
    _sync(target.parent)
    remove(staging)  # What was replaced, where the two have changed places.


def _replace_in_two_steps(staging: Path, target: Path) -> None:
    """For systems without the one step: at every moment the old one stands at its place or aside, or the new one does.

    Raises:
        OSError: the old one is at its place.
    """
    aside = aside_path(target.parent)
    aside.mkdir(0o700)
    hold(aside)
    try:
        target.rename(aside / target.name)
        _sync(aside)
        staging.rename(target)
    except BaseException:
        with suppress(FileNotFoundError):
            (aside / target.name).rename(target)
        with suppress(OSError):
            aside.rmdir()
        let_go(aside)
        raise
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


def create(path: Path) -> BinaryIO:
    """A new file of this user alone, open to be written; never one that stands there already, nor through a link."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, PRIVATE), "wb")


def _create_held(folder: Path) -> tuple[Path, BinaryIO]:
    """A new file that nobody takes for left behind, and its stream."""
    sweep_once(folder)
    while True:
        path = staging_path(folder)
        stream = create(path)
        if lock(stream.fileno()) and (os.name != "posix" or os.fstat(stream.fileno()).st_nlink):
            return path, stream
        stream.close()
        path.unlink(missing_ok=True)


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


def _refuse_in_the_way(target: Path, replace: bool) -> None:
    found = found_at(target)
    if found is not None and not (replace and stat.S_ISREG(found.st_mode)):
        raise _in_the_way(target, found)


def _in_the_way(target: Path, found: os.stat_result) -> FileExistsError:
    return FileExistsError(EEXIST, f"{in_words(found)} stands there", str(target))
