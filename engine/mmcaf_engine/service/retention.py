"""What is removed, and when: images some time after every answer of their study arrived; results long after."""

import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from .answers import move, note
from .config import RetentionSettings
from .database import transaction
from .receipt import INCOMING, PART
from .records import FOLDER
from .runner import RESULTS

_TOO_LATE = "The study's images were removed before its shadow answered."
ORPHAN_S = 24 * 3600.0
"""A file of the spool that no row names for so long is removed: its sender was told that it was not stored."""


@dataclass(frozen=True)
class Removed:
    """What a look removed."""

    studies: int = 0
    answers: int = 0
    orphans: int = 0


def prune(connection: sqlite3.Connection, spool: Path, settings: RetentionSettings, now: float) -> Removed:
    """Remove what is kept no longer.

    Images go `images_h` after the last answer of their study was committed, or delivered where no promise was asked
    for; never while an answer waits, runs, is being sent, was refused or has failed. A study that nothing answers goes
    `images_h` after it was complete. A shadow, which may not even run, holds no images for longer.
    """
    before = now - settings.images_h * 3600
    studies = 0
    for row in connection.execute(_FINISHED, (before, before)).fetchall():
        studies += remove_images(connection, spool, row["uid"], now)
    answers = 0
    for row in connection.execute(_OLD_RESULTS, (now - settings.results_h * 3600,)).fetchall():
        answers += _remove_result(connection, spool, row["id"])
    return Removed(studies, answers, _remove_orphans(connection, spool, now))


def remove_images(connection: sqlite3.Connection, spool: Path, study: str, now: float) -> bool:
    """A study's images, whatever became of its answers; False where they are gone already.

    That they were here stays known: what comes of the study later is no whole one without them.
    """
    with transaction(connection):
        rows = connection.execute("select file from instance where study = ? and file <> ''", (study,)).fetchall()
        if not rows:
            return False
        connection.execute("update instance set file = '' where study = ?", (study,))
        connection.execute("update study set pruned = ? where uid = ?", (now, study))
        for row in connection.execute("select id from answer where study = ? and shadow", (study,)).fetchall():
            move(connection, row["id"], ("waiting-record", "queued"), "cancelled", now, {"problem": _TOO_LATE})
        note(connection, study, None, "pruned", now, f"{len(rows)} images removed")
    for file in {Path(row["file"]) for row in rows}:
        (spool / file).unlink(missing_ok=True)
    return True


def _remove_result(connection: sqlite3.Connection, spool: Path, answer: int) -> bool:
    with transaction(connection):
        gone = connection.execute("update object set file = '' where answer = ? and file <> ''", (answer,)).rowcount
    for folder in (spool / RESULTS).glob(f"{answer}-*"):
        shutil.rmtree(folder, ignore_errors=True)
    return gone > 0


def _remove_orphans(connection: sqlite3.Connection, spool: Path, now: float) -> int:
    """Files that no row names: of a crash before their row, or of an answer that was no longer wanted."""
    removed = 0
    for file in (spool / INCOMING).glob("*/*"):
        if file.name.endswith(PART) or now - file.stat().st_mtime < ORPHAN_S:
            continue
        named = connection.execute("select 1 from instance where file = ?", (str(file.relative_to(spool)),)).fetchone()
        if named is None:
            file.unlink(missing_ok=True)
            removed += 1
    for folder in (spool / INCOMING).glob("*/"):
        if now - folder.stat().st_mtime >= ORPHAN_S:  # Not before: who receives images trusts that it is there.
            _remove_empty(folder)
    for folder in (spool / RESULTS).glob("*-*"):
        named = connection.execute(
            "select 1 from object where file glob ?", (f"{folder.relative_to(spool).as_posix()}/*",)
        ).fetchone()
        if named is None and now - folder.stat().st_mtime >= ORPHAN_S:
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
    for file in (spool / FOLDER).glob("*"):
        named = connection.execute("select 1 from record where file = ?", (f"{FOLDER}/{file.name}",)).fetchone()
        if named is None and now - file.stat().st_mtime >= ORPHAN_S:
            file.unlink(missing_ok=True)
            removed += 1
    return removed


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # Others lie in it.


ARRIVED = """
    answer.state = 'committed'
    or (answer.state = 'delivered'
        and not exists(select 1 from delivery where answer = answer.id and commitment is not null))
    or (answer.shadow and answer.state <> 'running')
    or answer.state in ('superseded', 'cancelled')
"""
"""Of an answer: it is where it belongs, or nobody wants it."""
_FINISHED = f"""
    select uid from study
    where state = 'complete' and pruned is null and last <= ?
        and not exists(select 1 from answer where study = study.uid and (not ({ARRIVED}) or changed > ?))
"""  # noqa: S608 - a constant
_OLD_RESULTS = f"""
    select distinct answer.id from answer join object on object.answer = answer.id
    where object.file <> '' and ({ARRIVED}) and answer.changed <= ?
"""  # noqa: S608 - a constant
