"""Where derived files live: one folder per user, never a patient's data."""

import json
import os
import re
import shlex
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import Remedy, UsageError
from ..files import look_at, reading, real_path
from ..outputs import is_staging
from ..settings import read_settings

OTHER_FOLDER = Remedy("Name a folder of your own", command="export MMCAF_CACHE=/path/to/folder")
MAKE_ROOM = replace(OTHER_FOLDER, text="Make room there, or name another folder")


@dataclass(frozen=True)
class CachedItem:
    """One thing in the cache: of what kind and what, in words; bytes on disk; last used, in seconds since 1970."""

    kind: str
    what: str
    size: int
    last_used: float
    path: Path


@dataclass(frozen=True)
class CacheKind:
    """One kind of thing that is kept between runs. The room that keeps it defines it; `checkup.kept` lists all.

    name: its folder's in the cache; noun: what one is called; pattern: of the names of its files or folders, a regular
    expression; describe: says in words what lies at a path, and may raise whatever a damaged file leads to.
    """

    name: str
    noun: str
    pattern: str
    describe: Callable[[Path], str]

    def folder(self) -> Path:
        """As `cache_folder`."""
        return cache_folder(self.name)

    def is_made(self) -> bool:
        """Whether its folder is there; nothing is made for that.

        Raises:
            UsageError: the cache cannot be looked at.
        """
        root = read_settings().cache
        return root is not None and look_at(root / self.name, UsageError) is not None

    def items(self, folder: Path | None = None) -> list[CachedItem]:
        """Everything of this kind, what was left behind half written included, the least recently used first.

        Args:
            folder: where to look; by default in this user's cache, of which nothing is made for that.

        Raises:
            UsageError: as `cache_folder`.
        """
        if folder is None:
            if not self.is_made():
                return []
            folder = self.folder()
        found = [self._item(path) for path in folder.iterdir() if self._fits(path.name)]
        return sorted((item for item in found if item is not None), key=lambda item: (item.last_used, item.path))

    def _fits(self, name: str) -> bool:
        return is_staging(name) or re.fullmatch(self.pattern, name) is not None

    def _item(self, path: Path) -> CachedItem | None:
        """The item at a path; None if another process has just removed it."""
        try:
            found = path.lstat()
            files = [file.lstat() for file in path.rglob("*")] if stat.S_ISDIR(found.st_mode) else [found]
        except FileNotFoundError:
            return None
        size = sum(file.st_size for file in files if stat.S_ISREG(file.st_mode))
        return CachedItem(self.name, self._what(path), size, found.st_mtime, path)

    def _what(self, path: Path) -> str:
        if is_staging(path.name):
            return "left behind by an interrupted process"
        try:
            what = self.describe(path)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return "not recognised"
        return "".join(letter if letter.isprintable() else "?" for letter in what)


def cache_folder(kind: str) -> Path:
    """The folder of one kind of cached file, made if missing.

    What lies there is trusted as much as this program is, so nobody else may own the folder or write to it, nor to a
    folder above it, where it could be exchanged.

    Raises:
        UsageError: as `cache_root`; it cannot be made, is a link, belongs to another user, or others may write to it
            or to a folder above it.
    """
    folder = cache_root() / kind
    make_private(folder, "cache folder", OTHER_FOLDER)
    return folder


def make_private(folder: Path, called: str, elsewhere: Remedy, *, roots: bool = False) -> None:
    """Make a folder if it is missing, for what is trusted as much as this program is; refuse it as `cache_folder` does.

    Args:
        called: what messages call it.
        elsewhere: how to have another one.
        roots: whether it may be of root.

    Raises:
        UsageError: it cannot be made, is a link, belongs to another user, or others may write to it or to a folder
            above it.
    """
    try:
        for missing in reversed([one for one in folder.parents if not one.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as failure:
        raise UsageError(f"{folder}: cannot make the {called}: {failure.strerror}.", elsewhere) from None
    if stat.S_ISLNK(found.st_mode):
        raise UsageError(f"{folder}: a link; the {called} must be a real one.", elsewhere)
    if not (is_own(found) or (roots and found.st_uid == 0)):
        raise UsageError(f"{folder}: the {called} belongs to another user (id {found.st_uid}).", elsewhere)
    if writable_by_others(found):
        raise UsageError(
            f"{folder}: other users may write to the {called} (mode {stat.S_IMODE(found.st_mode):o}).",
            Remedy("Empty it and take that right away", command=shlex.join(["chmod", "go-w", str(folder)])),
        )
    for above in dict.fromkeys((*folder.absolute().parents, *real_path(folder).parents)):
        _refuse_exchangeable(folder, above, called, elsewhere)


def writable_by_others(found: os.stat_result) -> bool:
    """Whether its mode lets its group or everybody write to it; Windows has no such modes."""
    return os.name == "posix" and bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _refuse_exchangeable(folder: Path, above: Path, called: str, elsewhere: Remedy) -> None:
    """Refuse a folder above one in which another user than root could put another one in its place."""
    if os.name != "posix":
        return
    with reading(above, UsageError):
        found = above.stat()
    if found.st_uid not in (0, os.geteuid()):
        what = f"belongs to another user (id {found.st_uid})"
    elif writable_by_others(found) and not found.st_mode & stat.S_ISVTX:
        what = f"can be written by other users (mode {stat.S_IMODE(found.st_mode):o})"
    else:
        return
    raise UsageError(f"{folder}: the folder {above} above this {called} {what}.", elsewhere)


def cache_root() -> Path:
    """The folder above those of each kind; it may not exist. See `settings`.

    Raises:
        UsageError: there is none, since this user has no home folder; or as `read_settings`.
    """
    root = read_settings().cache
    if root is None:
        raise UsageError("Nothing can be kept between runs: this user has no home folder.", OTHER_FOLDER)
    return root


def open_own(path: Path) -> BinaryIO:
    """Open a cached file to read it, if it is a regular file of this user and no link.

    Raises:
        OSError: it cannot be opened, or is not such a file.
    """
    flags = (getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
    descriptor = os.open(path, os.O_RDONLY | sum(flags))
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and is_own(found):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise PermissionError(f"{path.name} is not a file of this user")


def mark_used(path: Path) -> None:
    """Note that a cached thing was used now, which keeps it from being removed first."""
    with suppress(OSError):  # It still serves; it only looks older than it is.
        os.utime(path)


def read_own_json(path: Path) -> Any:
    """What a cached JSON file holds.

    Raises:
        OSError, ValueError, RecursionError: it is not this user's, or no JSON.
    """
    with open_own(path) as stream:
        return json.loads(stream.read(4 * 1024 * 1024))


def is_own(found: os.stat_result) -> bool:
    """Whether the user of this process owns it; Windows has no such numbers, and protects the user's profile."""
    return os.name != "posix" or found.st_uid == os.geteuid()
