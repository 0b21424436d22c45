"""Where derived files live: one folder per user, never a patient's data."""

import json
import os
import re
import shlex
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

from ..errors import Remedy, UsageError
from ..outputs import is_staging
from ..settings import read_settings

CacheKind = Literal["engines", "self-tests", "tuning", "kernels", "bundles"]
KINDS: tuple[CacheKind, ...] = get_args(CacheKind)

_NAMES = {
    "engines": re.compile(r"[0-9a-f]{64}"),
    "self-tests": re.compile(r"[0-9a-f]{32}\.json"),
    "tuning": re.compile(r"[0-9a-f]{64}\.json"),
    "kernels": re.compile(r"[0-9a-f]{64}\.bin"),
    "bundles": re.compile(r"[0-9a-f]{64}"),
}

_OTHER_FOLDER = Remedy("Name a folder of your own", command="export MMCAF_CACHE=/path/to/folder")
MAKE_ROOM = replace(_OTHER_FOLDER, text="Make room there, or name another folder")


@dataclass(frozen=True)
class CachedItem:
    """One thing in the cache: a kept engine, a passed self-test, a tuning, a GPU's kernels, or the unpacked copy of a
    zipped bundle.

    what: in words; size: bytes on disk; last_used: seconds since 1970.
    """

    kind: CacheKind
    what: str
    size: int
    last_used: float
    path: Path


def cache_folder(kind: CacheKind) -> Path:
    """The folder of one kind of cached file, made if missing.

    What lies there is trusted as much as this program is, so nobody else may own the folder or write to it.

    Raises:
        UsageError: as `cache_root`; it cannot be made, is a link, belongs to another user, or others may write to it.
    """
    folder = cache_root() / kind
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as failure:
        raise UsageError(
            f"{folder}: cannot make the cache folder: {failure.strerror}.",
            _OTHER_FOLDER,
        ) from None
    if stat.S_ISLNK(found.st_mode):
        raise UsageError(
            f"{folder}: a link; the cache folder must be a real one.", "Name its place with MMCAF_CACHE instead."
        )
    if not _is_own(found):
        raise UsageError(
            f"{folder}: the cache folder belongs to another user (id {found.st_uid}).",
            _OTHER_FOLDER,
        )
    if os.name == "posix" and found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UsageError(
            f"{folder}: other users may write to the cache folder (mode {stat.S_IMODE(found.st_mode):o}).",
            Remedy("Empty it and take that right away", command=shlex.join(["chmod", "go-w", str(folder)])),
        )
    return folder


def cache_root() -> Path:
    """The folder above those of each kind; it may not exist. See `settings`.

    Raises:
        UsageError: there is none, since this user has no home folder; or as `read_settings`.
    """
    root = read_settings().cache
    if root is None:
        raise UsageError("Nothing can be kept between runs: this user has no home folder.", _OTHER_FOLDER)
    return root


def open_own(path: Path) -> BinaryIO:
    """Open a cached file to read it, if it is a regular file of this user and no link.

    Raises:
        OSError: it cannot be opened, or is not such a file.
    """
    flags = (getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
    descriptor = os.open(path, os.O_RDONLY | sum(flags))
    stream = os.fdopen(descriptor, "rb")
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and _is_own(found):
        return stream
    stream.close()
    raise PermissionError(f"{path.name} is not a file of this user")


def mark_used(path: Path) -> None:
    """Note that a cached thing was used now, which keeps it from being removed first."""
    with suppress(OSError):  # It still serves; it only looks older than it is.
        os.utime(path)


def cached_items(kinds: Iterable[CacheKind] = KINDS) -> list[CachedItem]:
    """Everything that this program keeps, the least recently used first.

    Raises:
        UsageError: a folder is not this user's; see `cache_folder`.
    """
    items = []
    for kind in kinds:
        if not (cache_root() / kind).exists():
            continue
        for path in cache_folder(kind).iterdir():
            if is_staging(path.name) or _NAMES[kind].fullmatch(path.name):
                items += _item(kind, path)
    return sorted(items, key=lambda item: (item.last_used, item.path))


def _item(kind: CacheKind, path: Path) -> list[CachedItem]:
    """The item at this path; none if another process has just removed it."""
    try:
        found = path.lstat()
        files = [file.lstat() for file in path.rglob("*")] if stat.S_ISDIR(found.st_mode) else [found]
    except FileNotFoundError:
        return []
    size = sum(file.st_size for file in files if stat.S_ISREG(file.st_mode))
    return [CachedItem(kind, _describe(kind, path), size, found.st_mtime, path)]


def _describe(kind: CacheKind, path: Path) -> str:
    if is_staging(path.name):
        return "left behind by an interrupted process"
    try:
        match kind:
            case "engines":
                entry = _read(path / "entry.json")
                facts = entry["facts"]
                place = f"{facts['threads']} threads" if "threads" in facts else facts["compute_capability"]
                return f"{entry['bundle']}, {facts['runtime']} {facts['precision']}, {place}"
            case "self-tests":
                stamp = _read(path)
                return f"{stamp['bundle']}, {stamp['backend']} {stamp['precision']}"
            case "tuning":
                record = _read(path)
                return f"{record['bundle']}, {len(record['timings'])} timed, {record['facts']['threads']} threads"
            case "kernels":
                return "what TensorRT measured or compiled for a GPU"
            case "bundles":
                return str(_read(path / "manifest.json")["name"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "not recognised"


def _read(path: Path) -> Any:
    with open_own(path) as stream:
        return json.loads(stream.read(4 * 1024 * 1024))


def _is_own(found: os.stat_result) -> bool:
    """Whether the user of this process owns it; Windows has no such numbers, and protects the user's profile."""
    return os.name != "posix" or found.st_uid == os.geteuid()
