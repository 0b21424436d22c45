"""Where derived files live: one folder per user, never a patient's data."""

import os
import sys
from pathlib import Path

from .errors import UsageError


def cache_folder(kind: str) -> Path:
    """The folder of one kind of cached file, made if missing.

    $MMCAF_CACHE if set, else the platform's user cache: %LOCALAPPDATA%, ~/Library/Caches, or
    $XDG_CACHE_HOME (XDG Base Directory Specification), each with mmcaf-infer/ below it.

    Raises:
        UsageError: the folder cannot be made.
    """
    folder = _root() / kind
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        raise UsageError(
            f"{folder}: cannot make the cache folder: {failure.strerror}.",
            "Name a writable one: export MMCAF_CACHE=/path/to/folder",
        ) from None
    return folder


def _root() -> Path:
    if chosen := os.environ.get("MMCAF_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "mmcaf-infer"
