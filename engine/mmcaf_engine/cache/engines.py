"""Engines that a runtime built from a model, kept so that the next process need not build them again.

An entry is a folder named after the SHA-256 of the facts that the engine depends on. It holds the engine and
entry.json: its size and SHA-256, the facts in clear, when it was made and for which bundle; nothing of a patient.
Loading an engine is close to running code, so only an entry of this user, in a folder that nobody else may write
to, and whose every byte has the recorded SHA-256, is loaded. This module handles files and imports no runtime.
"""

import hashlib
import io
import json
import mmap
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from errno import EACCES
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import BackendError
from ..files import reason
from ..outputs import PRIVATE, commit_folder, create, is_staging, new_staging_folder, remove
from ..settings import read_settings
from ..strict_json import parse_json
from .cache import CacheKind, mark_used, open_own, read_own_json

ENTRY_FORMAT = 1
"""Part of every key: entries of another format are never found."""

_ENGINE_NAME = "engine.bin"
_ENTRY_NAME = "entry.json"
_MAX_ENTRY_BYTES = 256 * 1024
_MAX_NOTE_BYTES = 64 * 2**20

Facts = dict[str, Any]
"""What an engine depends on, as JSON: model, runtime, precision, shapes, device, and what else matters to it."""


@dataclass(frozen=True)
class KeptEngine:
    """A verified engine, mapped into memory copy-on-write: what is not touched costs no memory.

    kernels: of this project that it holds -> how many layers each is; None where that was not recorded.
    """

    blob: mmap.mmap
    sha256: str
    kernels: dict[str, int] | None = None


@dataclass(frozen=True)
class Draft:
    """An engine that was written but not yet made visible: `EngineCache.keep` or `EngineCache.discard` ends it."""

    folder: Path
    key: str
    sha256: str


def _describe(entry: Path) -> str:
    facts = (document := read_own_json(entry / _ENTRY_NAME))["facts"]
    place = f"{facts['threads']} threads" if "threads" in facts else facts["compute_capability"]
    return f"{document['bundle']}, {facts['runtime']} {facts['precision']}, {place}"


ENGINES = CacheKind("engines", "engine", "[0-9a-f]{64}", _describe)


class EngineTooLargeError(OSError):
    """An engine exceeds the limit of the whole cache."""


class EngineCache:
    """The engines in one folder, together at most `limit` bytes; several processes may use it at once."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit

    def load(self, facts: Facts) -> KeptEngine | None:
        """The engine kept for these facts, after checking its owner, size and SHA-256; None if there is none.

        Raises:
            BackendError: there is one that must not be used.
        """
        entry = self._entry(facts)
        try:
            found = entry.lstat()
        except FileNotFoundError:
            return None
        except OSError as failure:
            raise _unfit(reason(failure)) from None
        try:
            engine = _read(entry, found, facts)
        except BackendError:
            if _is_replaced(entry, found):
                return None  # Another process removed it while it was read.
            raise
        mark_used(entry)
        return engine

    def draft(
        self,
        facts: Facts,
        bundle: str,
        write: Callable[[BinaryIO], object],
        *,
        origin: str = "built here",
        notes: Mapping[str, str] | None = None,
        kernels: Mapping[str, int] | None = None,
    ) -> Draft:
        """Have `write` put an engine into a file that no other process sees yet.

        Args:
            bundle: the bundle's name, for people who look into the cache; so `origin`.
            notes: name -> text of further files about the engine, which loading it does not read.
            kernels: as of `KeptEngine`, where the runtime need not be asked for them when it is loaded.

        Raises:
            EngineTooLargeError: it would not fit the cache even alone.
            OSError: it cannot be written.
        """
        folder = new_staging_folder(self.folder)
        try:
            with io.BufferedWriter(_Bounded(folder / _ENGINE_NAME, self.limit)) as output:
                write(output)
            with (folder / _ENGINE_NAME).open("rb") as stream:
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            size = (folder / _ENGINE_NAME).stat().st_size
            entry = {
                "format": ENTRY_FORMAT,
                "sha256": sha256,
                "size": size,
                "bundle": bundle,
                "origin": origin,
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "facts": facts,
                **({} if kernels is None else {"kernels": dict(kernels)}),
            }
            for name, text in {**(notes or {}), _ENTRY_NAME: json.dumps(entry, indent=2) + "\n"}.items():
                with create(folder / name) as stream:
                    stream.write(text.encode())
        except BaseException:
            remove(folder)
            raise
        return Draft(folder, engine_key(facts), sha256)

    def keep(self, draft: Draft) -> None:
        """Make a draft the entry of its facts, and remove what was not used for longest until all fits the limit.

        If another process has kept one for the same facts in the meantime, that one stays.
        """
        final = self.folder / draft.key
        try:
            commit_folder(draft.folder, final)
        except OSError:  # A folder that is not empty is never replaced.
            self.discard(draft)
        mark_used(final)
        self._make_room(final)

    def replace(self, draft: Draft) -> None:
        """As `keep`, but instead of what is kept for the same facts.

        Raises:
            PermissionError: that cannot be removed.
        """
        final = self.folder / draft.key
        if not remove(final):
            self.discard(draft)
            raise PermissionError(EACCES, "the engine that is kept there cannot be removed", str(final))
        self.keep(draft)

    def discard(self, draft: Draft) -> None:
        """Remove a draft."""
        remove(draft.folder)

    def note(self, facts: Facts, name: str) -> str | None:
        """A further file about an engine, as `draft` was given it; None if there is none that is this user's."""
        try:
            with open_own(self._entry(facts) / name) as stream:
                return stream.read(_MAX_NOTE_BYTES).decode("utf-8", errors="replace")
        except OSError:
            return None

    def remove(self, facts: Facts) -> bool:
        """Remove the entry of these facts, sound or not; False if that failed."""
        return remove(self._entry(facts))

    def _entry(self, facts: Facts) -> Path:
        return self.folder / engine_key(facts)

    def _make_room(self, newest: Path) -> None:
        """Remove the least recently used engines until all fit."""
        items = ENGINES.items(self.folder)
        total = sum(item.size for item in items)
        for item in items:
            surplus = total > self.limit and item.path != newest and not is_staging(item.path.name)
            if surplus and remove(item.path):
                total -= item.size


def engine_key(facts: Facts) -> str:
    """SHA-256 of the facts as canonical JSON, together with the entries' format."""
    document = {"format": ENTRY_FORMAT, **facts}
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def cache_limit() -> int:
    """Bytes that cached engines may take together; with 0, none is cached or loaded.

    Raises:
        UsageError: as `read_settings`.
    """
    return read_settings().cache_limit


def switched_off() -> str:
    """What is said where that is 0."""
    return f"switched off: cache_limit is 0 ({read_settings().origins['cache_limit']})"


def _read(entry: Path, found: os.stat_result, facts: Facts) -> KeptEngine:
    try:
        if not stat.S_ISDIR(found.st_mode):
            raise PermissionError("its entry is no folder")
        with open_own(entry / _ENTRY_NAME) as stream:
            sha256, size, kernels = _read_entry(stream, facts)
        with open_own(entry / _ENGINE_NAME) as stream:
            return KeptEngine(_map(stream, sha256, size), sha256, kernels)
    except FileNotFoundError as failure:
        raise _unfit(f"{Path(str(failure.filename)).name} is missing") from None
    except OSError as failure:
        file = f"{Path(str(failure.filename)).name}: " if failure.filename else ""
        raise _unfit(f"{file}{failure.strerror or failure}") from None


def _is_replaced(entry: Path, found: os.stat_result) -> bool:
    try:
        return entry.lstat().st_ino != found.st_ino
    except FileNotFoundError:
        return True


def _read_entry(stream: BinaryIO, facts: Facts) -> tuple[str, int, dict[str, int] | None]:
    """SHA-256, size and kernels of the engine, from an entry that was made for exactly these facts."""
    data = stream.read(_MAX_ENTRY_BYTES + 1)
    entry = parse_json(data, name="The kept engine's entry.json", error=BackendError, max_bytes=_MAX_ENTRY_BYTES)
    if not isinstance(entry, dict) or entry.get("format") != ENTRY_FORMAT or entry.get("facts") != facts:
        raise _unfit("its entry.json was made for something else")
    sha256, size = entry.get("sha256"), entry.get("size")
    if not isinstance(sha256, str) or not isinstance(size, int):
        raise _unfit("its entry.json does not say its size and SHA-256")
    kernels = entry.get("kernels")
    if kernels is not None and not _are_counts(kernels):
        raise _unfit("its entry.json does not say how many layers are kernels")
    return sha256, size, kernels


def _are_counts(found: Any) -> bool:
    return isinstance(found, dict) and all(type(count) is int and count >= 0 for count in found.values())


def _map(stream: BinaryIO, sha256: str, size: int) -> mmap.mmap:
    found = os.fstat(stream.fileno()).st_size
    if found != size or size == 0:
        raise _unfit(f"it has {found} bytes; {size} are recorded")
    blob = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
    digest = hashlib.sha256(blob).hexdigest()
    if digest != sha256:
        blob.close()
        raise _unfit(f"its SHA-256 is {digest[:16]}..., {sha256[:16]}... is recorded")
    return blob


class _Bounded(io.FileIO):
    """A new file that refuses to grow beyond `limit` bytes."""

    def __init__(self, path: Path, limit: int) -> None:
        super().__init__(path, "xb", opener=lambda name, flags: os.open(name, flags, PRIVATE))
        self._limit = limit

    def write(self, data: Any) -> int:
        if self.tell() + memoryview(data).nbytes > self._limit:
            raise EngineTooLargeError(f"it exceeds the cache's limit of {self._limit / 2**20:g} MiB")
        return super().write(data)


def _unfit(reason: str) -> BackendError:
    return BackendError(f"The kept engine cannot be used: {reason}.")
