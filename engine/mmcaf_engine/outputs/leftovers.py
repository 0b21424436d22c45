"""What killed processes left behind: told from what a living one works on, removed, or put back.

Who writes under a name of ours holds a lock on it, which the kernel takes away when the process ends, however it ends.
So nothing is guessed from an age, except on file systems that know no locks.
"""

import logging
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EACCES, EAGAIN
from functools import lru_cache
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_STAGING = re.compile(r"\.mmcaf-[0-9a-f]{32}\.staging")
_ASIDE = re.compile(r"\.mmcaf-[0-9a-f]{32}\.aside")
_UNLOCKED_SECONDS = 86400
"""Where there are no locks, what is older than this is of nobody any more."""

_TAKEN = (EAGAIN, EACCES)
"""How the system says that another process holds a lock."""

_held: dict[Path, int] = {}
_log = logging.getLogger(__name__)


def staging_path(folder: Path) -> Path:
    """A name in a folder for one use, unlike that of any other process or thread."""
    return folder / f".mmcaf-{secrets.token_hex(16)}.staging"


def aside_path(folder: Path) -> Path:
    """A name for a folder that keeps what is being replaced, under its own name, until its successor stands."""
    return folder / f".mmcaf-{secrets.token_hex(16)}.aside"


def is_staging(name: str) -> bool:
    """Whether a file or folder of this name was being written; one that stays is of a process that was killed."""
    return _STAGING.fullmatch(name) is not None


def lock(descriptor: int) -> bool:
    """Hold an open file or folder until it is closed; False if a process that sweeps has it, which removes it."""
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as failure:
            return failure.errno not in _TAKEN  # Others: a file system without locks.
    return True


def hold(folder: Path) -> bool:
    """Hold a folder until `let_go`, or until this process ends; False if it is gone or about to go."""
    if fcntl is None:
        return True
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        held = lock(descriptor) and os.path.samestat(os.fstat(descriptor), folder.lstat())
    except FileNotFoundError:
        held = False
    if held:
        _held[folder] = descriptor
    else:
        os.close(descriptor)
    return held


def let_go(folder: Path) -> None:
    """Hold it no longer, if it was held."""
    descriptor = _held.pop(folder, None)
    if descriptor is not None:
        os.close(descriptor)


def remove(path: Path) -> bool:
    """Remove a file or folder, or a link in its place but not what it leads to; False if that failed.

    A folder disappears at once, so that nobody finds half of it.
    """
    try:
        if path.is_dir() and not path.is_symlink():
            if path not in _held:
                hold(path)
            doomed = path.rename(staging_path(path.parent))
            shutil.rmtree(doomed)
        else:
            path.unlink(missing_ok=True)
    except OSError:
        return False
    finally:
        let_go(path)
    return True


@lru_cache(maxsize=256)
def sweep_once(folder: Path) -> None:
    """`sweep`, the first time that this process writes there."""
    sweep(folder)


def sweep(folder: Path) -> None:
    """Remove from a folder what killed processes of this user left half written, and put back what they had put aside
    and not replaced. Each is said in the log.
    """
    for path in _named(folder, _STAGING):
        with _abandoned(path) as abandoned:
            if abandoned and remove(path):
                _log.warning("%s: removed; an interrupted run had left it behind", path)
    for aside in _named(folder, _ASIDE):
        _put_back(aside)


def remove_left(path: Path) -> bool:
    """Remove what was left half written; False if that failed, or a living process works on it."""
    with _abandoned(path) as abandoned:
        return abandoned and remove(path)


def restore(path: Path) -> bool:
    """Put back what a killed process had put aside to replace it, if nothing stands at its place; whether it did."""
    for aside in _named(path.parent, _ASIDE):
        if (aside / path.name).exists():
            _put_back(aside)
    return path.exists()


def _put_back(aside: Path) -> None:
    with _abandoned(aside) as abandoned, suppress(OSError):
        for old in aside.iterdir() if abandoned else ():
            place = aside.parent / old.name
            if os.path.lexists(place):
                _log.warning("%s: an older %s, put aside by an interrupted run; remove it", old, place)
            else:
                old.rename(place)
                _log.warning("%s: put back; an interrupted run was about to replace it", place)
        if abandoned:
            aside.rmdir()  # Which fails if it is not empty.


def _named(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if pattern.fullmatch(path.name))
    except (OSError, ValueError):
        return []


@contextmanager
def _abandoned(path: Path) -> Iterator[bool]:
    """Whether no process works on it any more; if so, none takes it up within the block."""
    descriptor: int | None = None
    try:
        found = path.lstat()
        own = os.name != "posix" or found.st_uid == os.geteuid()
        abandoned = own and (stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode))
        if abandoned and fcntl is None:
            abandoned = _is_old(found)
        elif abandoned:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as failure:
                abandoned = failure.errno not in _TAKEN and _is_old(found)
    except OSError:
        abandoned = False
    try:
        yield abandoned
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _is_old(found: os.stat_result) -> bool:
    return time.time() - found.st_mtime > _UNLOCKED_SECONDS
