"""What is on a disk after its power was cut: what was synced, and any part of what was not.

A model of what POSIX promises and no more: the bytes of a file are there once it was synced, a name in a folder once
that folder was. Of the rest each write may be there, in part (by sectors of 512 bytes), or not, in any order.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from system_calls import Call

SECTOR = 512
FOLDER = -1
"""In place of a file's number."""


@dataclass
class _File:
    """synced: bytes on the disk; later: writes since, each with its place in the order of calls, and its offset."""

    synced: bytearray = field(default_factory=bytearray)
    live: int = 0
    later: list[tuple[int, int, bytes | None]] = field(default_factory=list)


@dataclass(frozen=True)
class _Change:
    """Of names in one folder. file: which name is now there; None where it is gone. was: the name before."""

    at: int
    name: str
    file: int | None
    was: str | None = None


class Disk:
    """Follows calls; paths that are not below `root` are not looked at."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._files: list[_File] = []
        self._names: dict[str, int] = {}
        self._durable: dict[str, int] = {}
        self._later: dict[str, list[_Change]] = {}

    def follow(self, call: Call) -> bool:
        """Take one call over; whether it changed anything that a cut would show."""
        paths = call.paths()
        if not any(path.startswith(self._root) for path in (call.target, *(paths[:1] if call.strings else []))):
            return False
        if call.name == "openat":
            return self._open(call, paths[0])
        if call.name in ("write", "pwrite64"):
            return self._write(call)
        if call.name == "ftruncate":
            return self._append(call, call.numbers[-1], None)
        if call.name in ("fsync", "fdatasync"):
            return self._sync(call)
        if call.name in ("mkdir", "mkdirat"):
            return self._change(_Change(call.ended, paths[-1], FOLDER))
        if call.name.startswith("rename"):
            return self._change(_Change(call.ended, paths[-1], self._names[paths[0]], paths[0]))
        if call.name.startswith("link"):
            return self._change(_Change(call.ended, paths[-1], self._names[paths[0]]))
        if call.name in ("unlink", "unlinkat", "rmdir"):
            return self._change(_Change(call.ended, paths[-1], None))
        return False

    def images(self, draw: random.Random | None = None) -> Iterator[tuple[str, bytes | None]]:
        """Paths with their bytes, None of a folder, as they would be found; what was not synced is drawn, or gone."""
        names = dict(self._durable)
        for changes in self._later.values():
            for change in changes:
                if draw is not None and draw.random() < 0.5:
                    _apply(names, change)
        contents: dict[int, bytes] = {}
        for path in sorted(names):
            file = names[path]
            if _above(path) != self._root and _above(path) not in names:
                continue  # Nobody finds it without its folder.
            if file != FOLDER and file not in contents:
                contents[file] = self._content(self._files[file], draw)
            yield path, contents.get(file)

    def _open(self, call: Call, path: str) -> bool:
        if "O_CREAT" in call.flags and path not in self._names:
            self._files.append(_File())
            return self._change(_Change(call.ended, path, len(self._files) - 1))
        return False

    def _write(self, call: Call) -> bool:
        file = self._files[self._names[call.target]]
        return self._append(call, call.numbers[-1] if call.name == "pwrite64" else file.live, call.strings[0])

    def _append(self, call: Call, offset: int, data: bytes | None) -> bool:
        file = self._files[self._names[call.target]]
        file.later.append((call.ended, offset, data))
        file.live = offset if data is None else max(file.live, offset + len(data))
        return True

    def _sync(self, call: Call) -> bool:
        file = self._names.get(call.target, FOLDER)
        if file != FOLDER:
            found = self._files[file]
            for _, offset, data in (one for one in found.later if one[0] < call.began):
                _put(found.synced, offset, data)
            found.later = [one for one in found.later if one[0] > call.began]
            return True
        changes = self._later.pop(call.target, [])
        for change in changes:
            if change.at < call.began:
                _apply(self._durable, change)
        self._later[call.target] = [change for change in changes if change.at > call.began]
        return bool(changes)

    def _change(self, change: _Change) -> bool:
        _apply(self._names, change)
        self._later.setdefault(_above(change.name), []).append(change)
        return True

    def _content(self, file: _File, draw: random.Random | None) -> bytes:
        content = bytearray(file.synced)
        for _, offset, data in file.later if draw is not None else []:
            assert draw is not None
            fate = draw.random()
            if fate < 0.4 or (fate < 0.7 and data is None):
                _put(content, offset, data)
            elif fate < 0.7 and data is not None:
                for at in range(0, len(data), SECTOR):
                    if draw.random() < 0.5:
                        _put(content, offset + at, data[at : at + SECTOR])
        return bytes(content)


def lay_out(
    disk: Disk, root: Path, folder: Path, draw: random.Random | None = None, *, without: Sequence[str] = ()
) -> None:
    """Write what would be found into an empty folder that takes the place of `root`."""
    for path, content in disk.images(draw):
        place = folder / Path(path).relative_to(root)
        if place.name in without:
            continue
        if content is None:
            place.mkdir(mode=0o700)
        else:
            place.write_bytes(content)


def _above(path: str) -> str:
    return path.rpartition("/")[0]


def _apply(names: dict[str, int], change: _Change) -> None:
    if change.was is not None:
        names.pop(change.was, None)
    if change.file is None:
        names.pop(change.name, None)
    else:
        names[change.name] = change.file


def _put(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        content.extend(bytes(max(0, offset - len(content))))
        return
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(data)] = data
