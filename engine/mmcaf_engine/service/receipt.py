"""Instances become the service's: written, synced and entered before their sender is told that they were stored."""

import hashlib
import secrets
import sqlite3
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from queue import Empty, SimpleQueue

from .database import open_database
from .disk import Reserve, is_full, make_folder, sync_folder, sync_folders, write_synced
from .owed import owe
from .studies import Arrival, Kept, keep, replace_missing

INCOMING = "images"
PART = ".part"
MOST_AT_ONCE = 256
"""Instances of one transaction."""
OWED_S = 0.5
"""Between two tries to enter what was refused."""
TRUSTED_S = 3600.0
"""So long a folder's name is known to be on the disk; an empty folder is removed long after, see `retention`."""


@dataclass(frozen=True)
class Instance:
    """What a sender gave: a whole DICOM file, and what its data set says of where it belongs.

    body: where the data set begins in `content`: what stands before it, the meta information, is whose wrote it last.
    """

    content: bytes = field(repr=False)
    body: int
    arrival: Arrival


@dataclass(frozen=True)
class Received:
    """What became of an instance. full: nothing was kept, since the disk is too full."""

    kept: Kept | None
    full: bool = False


class Receipt:
    """Takes instances from any thread; those that come at once share their syncs and their transaction.

    Args:
        spool: the service's folder.
        reserve: of its disk.
        owner: the process that it belongs to; what one of this name left half written is removed.

    A context manager: leaving it waits for what is under way.

    Raises:
        ServiceError: the memory cannot be opened.
    """

    def __init__(self, spool: Path, reserve: Reserve, owner: str = "receiver") -> None:
        self.spool = spool
        self._reserve = reserve
        self._waiting: SimpleQueue[tuple[Path, Arrival, Future[Received]] | Arrival | None] = SimpleQueue()
        self._owed: dict[str, Arrival] = {}
        self._opened: Future[None] = Future()
        self._thread = threading.Thread(target=self._commit_all, name="receipt")
        self._owner = owner
        self._synced: dict[Path, float] = {}
        remove_parts(spool, owner)
        self._thread.start()
        self._opened.result()

    def __enter__(self) -> "Receipt":
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.put(None)
        self._thread.join()

    def receive(self, instance: Instance) -> Received:
        """Keep an instance; it is safe on the disk once this returns.

        Raises:
            OSError, sqlite3.Error: it could not be kept, for another reason than a full disk.
        """
        if self._reserve.room(self.spool, len(instance.content)) != "enough":
            self._waiting.put(instance.arrival)
            return Received(None, full=True)
        digest = hashlib.sha256(memoryview(instance.content)[instance.body :]).hexdigest()
        folder = self.spool / INCOMING / folder_of(instance.arrival.study)
        token = secrets.token_hex(16)
        part = folder / f".{self._owner}-{token}{PART}"
        try:
            make_folder(folder)
            write_synced(part, instance.content)
        except OSError as failure:
            if is_full(failure):
                self._waiting.put(instance.arrival)
                return Received(None, full=True)
            raise
        file = PurePosixPath(INCOMING, folder.name, f"{folder_of(instance.arrival.uid)}.{token[:16]}.dcm")
        arrival = replace(instance.arrival, sha256=digest, size=len(instance.content), file=str(file))
        outcome: Future[Received] = Future()
        self._waiting.put((part, arrival, outcome))
        return outcome.result()

    def _commit_all(self) -> None:
        try:
            connection = open_database(self.spool)
        except BaseException as failure:
            self._opened.set_exception(failure)
            return
        self._opened.set_result(None)
        try:
            ended = False
            while not ended:
                group = self._gathered()
                ended = None in group
                self._owe(connection, [one for one in group if isinstance(one, Arrival)])
                if mine := [one for one in group if isinstance(one, tuple)]:
                    self._commit(connection, mine)
        finally:
            connection.close()

    def _gathered(self) -> list[tuple[Path, Arrival, Future[Received]] | Arrival | None]:
        """What waits, at most so much as makes one transaction; nothing where what is owed is to be entered again."""
        try:
            group = [self._waiting.get(timeout=OWED_S if self._owed else None)]
        except Empty:
            return []
        while not self._waiting.empty() and len(group) < MOST_AT_ONCE:
            group.append(self._waiting.get())
        return group

    def _owe(self, connection: sqlite3.Connection, refused: list[Arrival]) -> None:
        """Enter what was refused since the disk is full, or later, where it is too full even for that."""
        self._owed |= {one.uid: one for one in refused}
        if self._owed:
            with suppress(sqlite3.Error):
                owe(connection, self._owed.values(), time.time())
                self._owed.clear()

    def _commit(self, connection: sqlite3.Connection, group: list[tuple[Path, Arrival, Future[Received]]]) -> None:
        """Names first, then rows: a crash between the two leaves a file that its sender sends again."""
        try:
            for part, arrival, _ in group:
                part.replace(self.spool / arrival.file)
            self._sync({part.parent for part, _, _ in group}, time.monotonic())
            kept = keep(connection, [arrival for _, arrival, _ in group], time.time())
        except Exception as failure:  # Whatever it is, every sender waits for an answer.
            for part, arrival, outcome in group:
                part.unlink(missing_ok=True)
                (self.spool / arrival.file).unlink(missing_ok=True)
                if is_full(failure):
                    self._owed[arrival.uid] = arrival
                    outcome.set_result(Received(None, full=True))
                else:
                    outcome.set_exception(failure)
            return
        for (_, arrival, outcome), one in zip(group, kept, strict=True):
            try:
                if one != "new" and not (one == "same" and replace_missing(connection, self.spool, arrival)):
                    (self.spool / arrival.file).unlink(missing_ok=True)
            except Exception as failure:
                outcome.set_exception(failure)
            else:
                outcome.set_result(Received(one))

    def _sync(self, folders: set[Path], now: float) -> None:
        """The names in these folders are on the disk, and those of the folders, whoever made them.

        Another thread or process may have made one, and not synced its name yet, or died before.
        """
        for folder in folders:
            sync_folder(folder)
        if unknown := {folder for folder in folders if now - self._synced.get(folder, -TRUSTED_S) >= TRUSTED_S}:
            sync_folders(self.spool / INCOMING, self.spool.parent)
            self._synced = {folder: at for folder, at in self._synced.items() if now - at < TRUSTED_S}
            self._synced |= dict.fromkeys(unknown, now)


def folder_of(uid: str) -> str:
    """A name that any file system takes for whatever a sender calls a UID; the UID itself where that is a valid one."""
    plain = 0 < len(uid) <= 64 and all(part.isdecimal() and part.isascii() for part in uid.split("."))
    return uid if plain else f"x{hashlib.sha256(uid.encode('utf-8', 'surrogatepass')).hexdigest()[:40]}"


def remove_parts(spool: Path, owner: str) -> None:
    """What a process that died had begun to write; another's may be under way."""
    for part in (spool / INCOMING).glob(f"*/.{owner}-*{PART}"):
        part.unlink(missing_ok=True)
