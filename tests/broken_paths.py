"""Paths that the file system refuses: some that it refuses to anybody, and some that are refused by a stand-in."""

import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest

FOR_ANYBODY = {
    "long": "File name too long",
    "below-a-file": "Not a directory",
    "circle-of-links": "Too many levels of symbolic links",
}
"""Kind of path -> what the system says of it."""


def broken_path(kind: str, folder: Path, suffix: str = "") -> Path:
    """A path of that kind within a folder."""
    if kind == "long":
        return folder / f"{'x' * 300}{suffix}"
    if kind == "below-a-file":
        (folder / "a-file").touch()
        return folder / "a-file" / f"below{suffix}"
    link = folder / f"circle{suffix}"
    link.symlink_to(link)
    return link


class Refusing:
    """Has the system refuse what is at a path or below it, as it does to users with fewer rights than these tests have.

    Args:
        code: the error's number.
        looking: whether it may not be looked at either, as below a folder that must not be searched.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path, code: int, *, looking: bool) -> None:
        self._below = str(path)
        self._code = code
        owners: list[tuple[Any, str]] = [(os, "open"), (io, "open"), (os, "listdir"), (os, "scandir")]
        owners += [(os, "stat"), (os, "lstat")] if looking else []
        for owner, name in owners:
            monkeypatch.setattr(owner, name, self._refusing(getattr(owner, name)))

    def _refusing(self, real: Any) -> Any:
        def call(path: Any = ".", *arguments: Any, **options: Any) -> Any:
            if isinstance(path, str | bytes | os.PathLike) and self._is_below(os.fsdecode(path)):
                raise OSError(self._code, os.strerror(self._code), os.fsdecode(path))
            return real(path, *arguments, **options)

        return call

    def _is_below(self, path: str) -> bool:
        return path == self._below or path.startswith(f"{self._below}{os.sep}")


BY_THE_SYSTEM = {
    "no-right-to-read": (errno.EACCES, False),
    "no-right-to-look": (errno.EACCES, True),
    "failing-disk": (errno.EIO, False),
}
"""What `Refusing` is given."""
