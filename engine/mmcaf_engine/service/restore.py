"""A backup takes the place of what a spool holds, which is moved aside whole; a crash in between is finished later.

The archive is unpacked and reconciled in a folder of the spool. A mark says that this is done; from then on only names
are changed, each at most once, and whoever finds the mark goes on where the last one ended.
"""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..errors import Remedy, ServiceError
from .alone import only_service
from .config import Config
from .database import FILE, open_database
from .disk import make_folder, sync_folder, write_synced
from .keys import FILE as KEY
from .keys import spool_key
from .newer import Reconciled, reconcile
from .unpack import KEPT, unpack

STAGED, READY = ".restore", "ready"
ASIDE = "before-restore"
_WITH_DATABASE = (f"{FILE}-wal", f"{FILE}-shm")


@dataclass(frozen=True)
class Restored:
    """What a restore brought back. made: when the archive was, UTC; aside: what the spool held before lies there."""

    made: str
    studies: int
    answers: int
    aside: str | None
    reconciled: Reconciled


def restore(config: Config, archive: Path, now: float) -> Restored:
    """Bring a backup back into a spool that no service runs with; what it held is moved aside.

    Raises:
        ServiceError: a service runs with it; the archive is none, damaged or of a newer version; it cannot be written.
    """
    spool = config.spool
    with only_service(spool):
        finish_restore(spool)
        staged = spool / STAGED
        try:
            make_folder(staged)
            contents = unpack(archive, staged)
            spool_key(staged)
            with closing(open_database(staged)) as memory:
                reconciled = reconcile(memory, config, staged, now)
                studies = memory.execute("select count(*) from study").fetchone()[0]
                answers = memory.execute("select count(*) from answer").fetchone()[0]
            _fold(staged / FILE)
            aside = _new_name(spool, now) if any((spool / name).exists() for name in (*KEPT, KEY, FILE)) else None
            sync_folder(staged)
            write_synced(staged / READY, (aside or "").encode())
        except OSError as failure:
            shutil.rmtree(staged, ignore_errors=True)
            raise ServiceError(
                f"{spool} cannot be written: {failure.strerror}; it is as it was.",
                Remedy("Make room there, or restore to another spool"),
            ) from None
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        finish_restore(spool)
    return Restored(contents.created, studies, answers, aside, reconciled)


def finish_restore(spool: Path) -> None:
    """What a restore that was interrupted has left: finished where it was ready, else removed. For `only_service`."""
    staged = spool / STAGED
    if not (staged / READY).exists():
        shutil.rmtree(staged, ignore_errors=True)
        return
    sync_folder(staged)
    aside = (staged / READY).read_text()
    for name in (*KEPT, KEY):
        _take_place(staged / name, spool, aside)
    if (staged / FILE).exists():
        for name in _WITH_DATABASE:
            _put_aside(spool / name, spool, aside)
    _take_place(staged / FILE, spool, aside)
    sync_folder(spool)
    (staged / READY).unlink()
    shutil.rmtree(staged)


def _take_place(new: Path, spool: Path, aside: str) -> None:
    if new.exists():
        _put_aside(spool / new.name, spool, aside)
        new.rename(spool / new.name)


def _put_aside(old: Path, spool: Path, aside: str) -> None:
    if old.exists() and aside:
        make_folder(spool / aside)
        old.rename(spool / aside / old.name)
        sync_folder(spool / aside)


def _fold(file: Path) -> None:
    """The memory as one file."""
    with closing(sqlite3.connect(file)) as memory:
        memory.execute("pragma wal_checkpoint(truncate)")
    for end in ("-wal", "-shm"):
        file.with_name(file.name + end).unlink(missing_ok=True)


def _new_name(spool: Path, now: float) -> str:
    made = f"{ASIDE}-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}"
    names = [made, *(f"{made}-{number}" for number in range(2, 1000))]
    return next(name for name in names if not (spool / name).exists())
