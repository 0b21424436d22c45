"""One study is removed for good, with all that the service has of it; a crash in between leaves a study to purge again.

First the memory says that its files are gone and that nothing is wanted of it, then the files go, its rows last.
"""

import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from ..errors import Remedy, ServiceError
from .answers import move, note
from .database import transaction
from .receipt import INCOMING, folder_of
from .retention import ARRIVED
from .runner import RESULTS
from .states import OPEN


@dataclass(frozen=True)
class Purged:
    """How much of a study was removed. records: those that are of no other study."""

    images: int
    answers: int
    results: int
    records: int


def purge_study(connection: sqlite3.Connection, spool: Path, study: str, now: float, *, force: bool) -> Purged:
    """Remove a study's images, results and records, and every row on it.

    What comes of it later is a study that was never here.

    Args:
        force: also where an answer of it has not arrived everywhere, or was refused or failed.

    Raises:
        ServiceError: there is none; it has not arrived; or it is being answered or sent at this moment.
    """
    with transaction(connection):
        if connection.execute("select 1 from study where uid = ?", (study,)).fetchone() is None:
            raise ServiceError("No study of this UID is here.", "Compare it with the worklist.")
        _refuse_busy(connection, study, now)
        if not force:
            _refuse_undelivered(connection, study)
        found = _forget(connection, study, now)
    images = connection.execute("select count(*) from instance where study = ?", (study,)).fetchone()[0]
    answers = [row["id"] for row in connection.execute("select id from answer where study = ?", (study,))]
    shutil.rmtree(spool / INCOMING / folder_of(study), ignore_errors=True)
    results = 0
    for answer in answers:
        for folder in (spool / RESULTS).glob(f"{answer}-*"):
            shutil.rmtree(folder, ignore_errors=True)
            results += 1
    for file in found:
        (spool / file).unlink(missing_ok=True)
    with transaction(connection):
        records = _remove_rows(connection, study)
        note(connection, "", None, "purged", now, f"a study with {images} images and {len(answers)} answers")
    return Purged(images, len(answers), results, records)


def _refuse_busy(connection: sqlite3.Connection, study: str, now: float) -> None:
    row = connection.execute(
        "select 1 from answer where study = :study and state = 'running' and leased_until > :now union all "
        "select 1 from delivery join answer on answer.id = delivery.answer where study = :study "
        "and delivery.leased_until > :now and delivery.owner is not null",
        {"study": study, "now": now},
    ).fetchone()
    if row is not None:
        raise ServiceError("The study is being answered or sent at this moment.", "Try again when that has ended.")


def _refuse_undelivered(connection: sqlite3.Connection, study: str) -> None:
    force = Remedy("Remove it all the same", option="force")
    if connection.execute("select state from study where uid = ?", (study,)).fetchone()["state"] == "received":
        raise ServiceError("The study is still coming, and was not answered.", force)
    row = connection.execute(
        f"select id, state from answer where study = ? and not ({ARRIVED}) "  # noqa: S608 - a constant
        "and not (state = 'written' and not exists(select 1 from delivery where answer = answer.id)) order by id",
        (study,),
    ).fetchone()
    if row is not None:
        raise ServiceError(f"Answer {row['id']} of the study is {row['state']}: it has not arrived everywhere.", force)


def _forget(connection: sqlite3.Connection, study: str, now: float) -> list[Path]:
    """Within a transaction: no row names a file of it any more; the records' files that go."""
    for row in connection.execute("select id from answer where study = ?", (study,)).fetchall():
        move(connection, row["id"], tuple(OPEN), "cancelled", now, {"owner": None, "leased_until": None})
    connection.execute("update instance set file = '' where study = ?", (study,))
    connection.execute("update study set pruned = ? where uid = ?", (now, study))
    connection.execute("update object set file = '' where answer in (select id from answer where study = ?)", (study,))
    rows = connection.execute(f"select id, file from record where id in ({_RECORDS})", {"study": study}).fetchall()  # noqa: S608
    files = []
    for row in rows:
        connection.execute("update record set file = '' where id = ?", (row["id"],))
        others = connection.execute("select 1 from record where file = ?", (row["file"],)).fetchone()
        if row["file"] and others is None:
            files.append(Path(row["file"]))
    return files


def _remove_rows(connection: sqlite3.Connection, study: str) -> int:
    """Within a transaction: all of them; how many records."""
    records = [row["id"] for row in connection.execute(_RECORDS, {"study": study}).fetchall()]
    for statement in _REMOVE:
        connection.execute(statement, {"study": study})
    for record in records:
        connection.execute("delete from record_key where record = ?", (record,))
        connection.execute("delete from record where id = ?", (record,))
    connection.execute("delete from study where uid = ?", (study,))
    return len(records)


_RECORDS = """
    select id from record where (study = :study or (study is null
        and exists(select 1 from answer where record = record.id and study = :study)))
    and not exists(select 1 from answer where record = record.id and study <> :study)
"""
"""Records that were given for a study or are its answers', and are of no other study's answer."""

_REMOVE = (
    "delete from comparison where shadow in (select id from answer where study = :study)",
    "delete from comparison where answer in (select id from answer where study = :study)",
    "delete from delivery where answer in (select id from answer where study = :study)",
    "delete from object where answer in (select id from answer where study = :study)",
    "delete from answer where study = :study",
    "delete from instance where study = :study",
    "delete from event where study = :study",
)
