"""What a backup does not know, and what it knows and is gone: so that nothing acknowledged is lost by going back.

Of the spool that a backup is restored into, these are taken over: files that the backup names and does not hold;
results that were frozen since for answers which it has as still to be made, sent again as they are; images and records
that came since, received once more. A study whose images are nowhere waits for all of them.
"""

import hashlib
import json
import os
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import RecordError, StudyError
from .answers import Claimed, freeze, move, note
from .choice import lineup_of, read_choices
from .config import Config
from .database import FILE, transaction
from .disk import Reserve, make_folder, sync_folder
from .headers import identify
from .keys import spool_key
from .receipt import INCOMING, PART, Receipt
from .records import FOLDER, Given, keep_record, read_given
from .routing import destinations_of, route_of
from .runner import RESULT, RESULTS, frozen_object
from .states import OPEN

OWNER = SOURCE = "restore"
AGAIN = "Its images are not here since a restore: send all of the study again."


@dataclass(frozen=True)
class Reconciled:
    """What was done about the differences. linked: files that the old spool had; adopted: results that it had;
    images, records: that came after the backup; waiting: studies that must be sent again; pruned: answered studies
    whose images are gone.
    """

    linked: int = 0
    adopted: int = 0
    images: int = 0
    records: int = 0
    waiting: int = 0
    pruned: int = 0


def reconcile(connection: sqlite3.Connection, config: Config, staged: Path, now: float) -> Reconciled:
    """Make a memory that was unpacked fit what is there.

    Args:
        config: of the service; its spool, as it is today, is only read.
        staged: the folder that the memory lies in, with the files of the backup.
    """
    old = config.spool
    _release(connection, now)
    linked = _link(connection, staged, old)
    adopted = _adopt(connection, config.model_copy(update={"spool": staged}), old, now)
    waiting, pruned = _without_images(connection, staged, now)
    key = spool_key(staged)
    records = _records_since(connection, staged, old, key, now)
    images = _images_since(connection, staged, old, key)
    return Reconciled(linked, adopted, images, records, waiting, pruned)


def _release(connection: sqlite3.Connection, now: float) -> None:
    """No process holds anything."""
    with transaction(connection):
        connection.execute("delete from process")
        for row in connection.execute("select id from answer where state = 'running'").fetchall():
            move(connection, row["id"], "running", "queued", now, detail="restored")
        connection.execute("update answer set owner = null, leased_until = null")
        connection.execute("update delivery set owner = null, leased_until = null")
        note(connection, "", None, "restored", now)


def _link(connection: sqlite3.Connection, staged: Path, old: Path) -> int:
    """Files that the memory names, the backup does not hold, and the old spool does."""
    linked = 0
    rows = connection.execute(
        "select file from instance where file <> '' union select file from object where file <> '' "
        "union select file from record where file <> ''"
    )
    for row in rows.fetchall():
        here, there = staged / row["file"], old / row["file"]
        if not here.exists() and there.is_file():
            make_folder(here.parent)
            os.link(there, here)
            sync_folder(here.parent)
            linked += 1
    return linked


def _adopt(connection: sqlite3.Connection, config: Config, old: Path, now: float) -> int:
    """Results that were frozen since, and may have been sent: these bytes are the answer, and are sent again."""
    adopted, staged = 0, config.spool
    choices = read_choices(connection)
    marks = ", ".join("?" * len(OPEN))
    rows = connection.execute(f"select * from answer where state in ({marks})", tuple(OPEN)).fetchall()  # noqa: S608
    for row in rows:
        folder, line = _frozen_since(old, row), lineup_of(config, choices, row["bundle"])
        if folder is None or line is None:
            continue
        place = PurePosixPath(RESULTS, folder.name)
        make_folder(staged / place)
        objects = []
        for file in sorted(one for one in folder.iterdir() if not one.name.startswith(".")):
            os.link(file, staged / place / file.name)
            objects.append(frozen_object(place / file.name, file.read_bytes()))
        sync_folder(staged / place)
        result = (folder / RESULT).read_bytes()
        attempt = int(folder.name.partition("-")[2])
        with transaction(connection):
            move(connection, row["id"], "waiting-record", "queued", now)
            move(connection, row["id"], "queued", "running", now, {"owner": OWNER})
        claimed = Claimed(
            id=row["id"],
            study=row["study"],
            generation=row["generation"],
            bundle=row["bundle"],
            shadow=bool(row["shadow"]),
            record=row["record"],
            created=row["created"],
            attempt=attempt,
            replaces=row["replaces"],
        )
        adopted += freeze(
            connection,
            claimed,
            OWNER,
            now,
            objects,
            result_sha256=hashlib.sha256(result).hexdigest(),
            bundle_sha256=str(json.loads(result)["model"]["bundle_sha256"]),
            destinations=_destinations(config, connection, row, line.place, now),
        )
    return adopted


def _frozen_since(old: Path, row: sqlite3.Row) -> Path | None:
    """The folder of an answer that is whole: of the same study and time. Its result is written last."""
    folders = [one for one in (old / RESULTS).glob(f"{row['id']}-*") if one.name.partition("-")[2].isdecimal()]
    for folder in sorted(folders, key=lambda one: int(one.name.partition("-")[2]), reverse=True):
        with suppress(OSError, ValueError, KeyError, TypeError):
            result = json.loads((folder / RESULT).read_bytes())
            if result["created"] == row["created"] and result["study"]["uids"]["study"] == row["study"]:
                return folder
    return None


def _without_images(connection: sqlite3.Connection, staged: Path, now: float) -> tuple[int, int]:
    """Studies with images that are nowhere: those that wait for all of them now, and those that need none any more."""
    gone: dict[str, list[str]] = {}
    for row in connection.execute("select uid, study, file from instance where file <> ''").fetchall():
        if not (staged / row["file"]).exists():
            gone.setdefault(row["study"], []).append(row["uid"])
    waiting = 0
    for study, uids in gone.items():
        with transaction(connection):
            waiting += _expect_again(connection, study, uids, now)
    return waiting, len(gone) - waiting


def _expect_again(connection: sqlite3.Connection, study: str, uids: list[str], now: float) -> bool:
    """Within a transaction; False where every answer of the study was made, so that only its images are gone."""
    for uid in uids:
        connection.execute("update instance set file = '' where uid = ?", (uid,))
    state = connection.execute("select state from study where uid = ?", (study,)).fetchone()["state"]
    open_ones = [
        row["id"]
        for row in connection.execute("select id, state from answer where study = ?", (study,)).fetchall()
        if row["state"] in OPEN
    ]
    if state == "complete" and not open_ones:
        connection.execute("update instance set file = '' where study = ?", (study,))
        connection.execute("update study set pruned = coalesce(pruned, ?) where uid = ?", (now, study))
        return False
    for answer in open_ones:
        move(connection, answer, tuple(OPEN), "superseded", now, {"problem": AGAIN})
    connection.execute(
        "update study set state = 'received', generation = generation + (state = 'complete'), pruned = null, last = ?, "
        "problem = ?, expected = max(coalesce(expected, 0), (select count(*) from instance where study = study.uid)) "
        "where uid = ?",
        (now, AGAIN, study),
    )
    note(connection, study, None, "received", now, AGAIN)
    return True


def _records_since(connection: sqlite3.Connection, staged: Path, old: Path, key: bytes, now: float) -> int:
    """Records that came since; of which study, if that was said, stands in the old memory, where it can be read."""
    kept = 0
    known = {row["file"] for row in connection.execute("select file from record").fetchall()}
    for file in sorted((old / FOLDER).glob("[!.]*")):
        if f"{FOLDER}/{file.name}" in known or not file.is_file():
            continue
        content = file.read_bytes()
        for row in _of_record(old, f"{FOLDER}/{file.name}") or [{"study": None, "author": ""}]:
            given = Given(content, ending=file.suffix)
            with suppress(RecordError):  # A report alone names nobody; what is of another patient was refused before.
                given = read_given(content, key)
            with suppress(RecordError):
                keep_record(connection, staged, given, source=SOURCE, author=row["author"], study=row["study"], now=now)
                kept += 1
    return kept


def _destinations(
    config: Config, connection: sqlite3.Connection, row: sqlite3.Row, place: str, now: float
) -> list[tuple[str, float]]:
    """As its route says; where its images are gone, as the first route to its place does."""
    route = route_of(config, connection, row["study"], row["generation"], place)
    route = route or next((one for one in config.routes if one.bundle == place), None)
    return [] if route is None else destinations_of(config, route, now)


def _of_record(old: Path, file: str) -> list[dict[str, Any]]:
    """The studies that it was given for, as the old memory has it."""
    if not (old / FILE).is_file():
        return []
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{old / FILE}?mode=ro", uri=True)) as memory:
        memory.row_factory = sqlite3.Row
        rows = memory.execute("select study, author from record where file = ?", (file,))
        return [dict(row) for row in rows.fetchall()]
    return []


def _images_since(connection: sqlite3.Connection, staged: Path, old: Path, key: bytes) -> int:
    """Images that came since, and whose senders were told that they were stored."""
    known = {row["file"] for row in connection.execute("select file from instance").fetchall()}
    files = [
        file
        for file in sorted((old / INCOMING).glob("*/[!.]*"))
        if str(file.relative_to(old)) not in known and not file.name.endswith(PART) and file.is_file()
    ]
    if not files:
        return 0
    taken = 0
    with Receipt(staged, Reserve(0, 0), OWNER) as receipt:
        for file in files:
            with suppress(StudyError):  # It is moved aside with the rest.
                taken += receipt.receive(identify(file.read_bytes(), "An image", SOURCE, key)).kept == "new"
    return taken
