"""What has arrived: instances, the studies that they belong to, and when one of those is complete."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..errors import Remedy
from .answers import AHEAD_S, NUMBERS, Priority, as_json, move, note
from .beside import has_images, is_beside
from .choice import Chosen, read_choices
from .database import transaction
from .states import OPEN

AHEAD_OF_US_S = 5.0
"""Times that lie further in the future are of a clock that was set back since."""
Kept = Literal["new", "same", "other"]
"""Of an instance that arrives: not known before; known with the same bytes; known with others, so it is refused."""


_SEND_THE_REST = Remedy("Send the images that are missing: the study is then looked at again by itself")


@dataclass(frozen=True)
class Arrival:
    """One instance, written and synced.

    file: within the spool. source: who sent it, as events name it. patient, accession: keyed digests, see `keys`.
    """

    uid: str
    study: str
    series: str
    sop_class: str
    sha256: str
    size: int
    file: str
    source: str
    patient: str | None = None
    accession: str | None = None
    priority: Priority = "routine"


def keep(connection: sqlite3.Connection, arrivals: Sequence[Arrival], now: float) -> list[Kept]:
    """Enter instances, all in one transaction: once this returns they are received, whatever happens.

    A new instance of a study that was complete opens its next generation, unless it only stands beside the images: an
    archive may send everything on, and two services would answer each other's answers without end. What is a result of
    ours is here, whatever an archive has changed in it.
    """
    kept: list[Kept] = []
    with transaction(connection):
        for one in arrivals:
            kept.append(_keep(connection, one, now))
            connection.execute("delete from owed where uid = ?", (one.uid,))
    return kept


def known(connection: sqlite3.Connection, uid: str) -> str | None:
    """The SHA-256 of an instance that is here already."""
    row = connection.execute("select sha256 from instance where uid = ?", (uid,)).fetchone()
    return None if row is None else str(row["sha256"])


def replace_missing(connection: sqlite3.Connection, spool: Path, one: Arrival) -> bool:
    """Whether the file of an instance that is here already was gone, so that this one of the same bytes is now it."""
    with transaction(connection):
        row = connection.execute("select file from instance where uid = ?", (one.uid,)).fetchone()
        if row is None or not row["file"] or (spool / row["file"]).exists():
            return False
        connection.execute("update instance set file = ?, size = ? where uid = ?", (one.file, one.size, one.uid))
    return True


def _keep(connection: sqlite3.Connection, one: Arrival, now: float) -> Kept:
    if connection.execute("select 1 from object where uid = ?", (one.uid,)).fetchone() is not None:
        return "same"
    digest = known(connection, one.uid)
    if digest is not None and not _is_wanted_again(connection, one):
        connection.execute("update study set last = ? where uid = ? and state = 'received'", (now, one.study))
        return "same" if digest == one.sha256 else "other"
    study = connection.execute("select * from study where uid = ?", (one.study,)).fetchone()
    if study is None:
        connection.execute(
            "insert into study(uid, source, patient, accession, priority, first, last) values(?, ?, ?, ?, ?, ?, ?)",
            (one.study, one.source, one.patient, one.accession, NUMBERS[one.priority], now, now),
        )
        note(connection, one.study, None, "received", now, f"from {one.source}")
    elif study["state"] == "complete" and is_beside(one.sop_class) and has_images(connection, one.study):
        kept = one if study["pruned"] is None else replace(one, file="")  # As the images that it was made of.
        _enter(connection, kept, study["generation"] + 1, now)
        return "new" if kept is one else "same"
    elif study["state"] == "complete":
        _reopen(connection, one.study, study["generation"], now)
        if study["pruned"] is not None:
            _expect_all_again(connection, one)
    connection.execute(
        "update study set last = ?, problem = null, closed = null, priority = max(priority, ?) where uid = ?",
        (now, NUMBERS[one.priority], one.study),
    )
    opened = connection.execute("select generation from study where uid = ?", (one.study,)).fetchone()
    _enter(connection, one, opened["generation"], now)
    return "new"


def _enter(connection: sqlite3.Connection, one: Arrival, generation: int, now: float) -> None:
    connection.execute(
        "insert into instance(uid, study, series, sop_class, generation, sha256, size, file, source, arrived) "
        "values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (one.uid, one.study, one.series, one.sop_class, generation) + (one.sha256, one.size, one.file, one.source, now),
    )


def _is_wanted_again(connection: sqlite3.Connection, one: Arrival) -> bool:
    """Whether an instance was removed, and its study has been opened again since: then all of it is needed."""
    row = connection.execute(
        "select instance.file, study.pruned, instance.sha256 from instance join study on study.uid = instance.study "
        "where instance.uid = ?",
        (one.uid,),
    ).fetchone()
    if row["file"] or row["pruned"] is not None or row["sha256"] != one.sha256:
        return False
    connection.execute("delete from instance where uid = ?", (one.uid,))
    return True


def _expect_all_again(connection: sqlite3.Connection, one: Arrival) -> None:
    """A new image of a study whose others were removed: it is whole with as many as there were, and this one."""
    connection.execute(
        "update study set pruned = null, expected = 1 + (select count(*) from instance where study = ?) where uid = ?",
        (one.study, one.study),
    )


def _reopen(connection: sqlite3.Connection, study: str, generation: int, now: float) -> None:
    """Answers of the generation before that no object was made of are no longer wanted."""
    connection.execute("update study set state = 'received', generation = generation + 1 where uid = ?", (study,))
    states = tuple(OPEN)
    marks = ", ".join("?" * len(states))
    rows = connection.execute(
        f"select id from answer where study = ? and generation = ? and state in ({marks})",  # noqa: S608 - marks alone
        (study, generation, *states),
    ).fetchall()
    for row in rows:
        free = {"owner": None, "leased_until": None, "problem": "Further images of the study came."}
        move(connection, row["id"], states, "superseded", now, free)
    note(connection, study, None, "received", now, f"further images: generation {generation + 1}")


def expect(connection: sqlite3.Connection, study: str, instances: int | None) -> None:
    """How many instances an archive says that a study has."""
    with transaction(connection):
        connection.execute("update study set expected = ? where uid = ?", (instances, study))


@dataclass(frozen=True)
class Quiet:
    """A study of which nothing came for a while.

    instances: that are here; expected: by an archive, if one said it; owed: that were refused for want of room; closed:
    when a person said that nothing more comes.
    """

    uid: str
    generation: int
    source: str
    first: float
    last: float
    instances: int
    expected: int | None
    problem: str | None
    owed: int = 0
    closed: float | None = None


def quiet(connection: sqlite3.Connection, now: float, least_s: float) -> list[Quiet]:
    """Studies that are not complete, of which nothing came for `least_s` seconds."""
    rows = connection.execute(
        "select study.*, (select count(*) from instance where study = study.uid and file <> '') as instances, "
        "(select count(*) from owed where owed.study = study.uid) as owed "
        "from study where state = 'received' and last <= ? and instances > 0 order by last",
        (now - least_s,),
    ).fetchall()
    names = ("uid", "generation", "source", "first", "last", "instances", "expected", "problem", "owed", "closed")
    return [Quiet(**{name: row[name] for name in names}) for row in rows]


def bring_back(connection: sqlite3.Connection, now: float) -> None:
    """What came at a time that is still to come, since the clock was set back: its silence begins now."""
    if connection.execute(
        "select 1 from study where state = 'received' and last > ?", (now + AHEAD_OF_US_S,)
    ).fetchone():
        with transaction(connection):
            connection.execute(
                "update study set last = ? where state = 'received' and last > ?", (now, now + AHEAD_OF_US_S)
            )


def doubt(connection: sqlite3.Connection, study: Quiet, problem: str) -> None:
    """Why a study is not taken for complete, in words, for whoever looks."""
    with transaction(connection):
        connection.execute(
            "update study set problem = ? where uid = ? and generation = ? and last = ?",
            (problem, study.uid, study.generation, study.last),
        )


def close(connection: sqlite3.Connection, study: str, now: float) -> bool:
    """Nothing more comes, by a person: what is missing is waited for no longer. False where nothing was waited for.

    What comes all the same opens the study again.
    """
    with transaction(connection):
        row = connection.execute(
            "update study set closed = ? where uid = ? and state = 'received' and problem is not null "
            "and closed is null returning uid",
            (now, study),
        ).fetchone()
        if row is not None:
            note(connection, study, None, "received", now, "a person waits for nothing more")
    return row is not None


@dataclass(frozen=True)
class Wanted:
    """An answer that routing asks for.

    deadline: until when a record is waited for; None where it needs none. refused: why it is not even tried, in words.
    beside: the other bundles of its place, of which one may have answered the study's last generation.
    """

    bundle: str
    beside: tuple[str, ...] = ()
    shadow: bool = False
    record: int | None = None
    deadline: float | None = None
    refused: str | None = None


def complete(
    connection: sqlite3.Connection,
    study: Quiet,
    wanted: Sequence[Wanted],
    created: str,
    now: float,
    *,
    choices: Mapping[str, Chosen] | None = None,
) -> bool:
    """All of a study is here: queue the answers that are wanted of it.

    False where more has come meanwhile, or where another bundle was chosen to answer: then it is looked at again.

    Args:
        created: of their results, fixed here, so that each step after it can be made again with the same bytes.
        choices: those that `wanted` was made with.
    """
    with transaction(connection):
        if choices is not None and read_choices(connection) != choices:
            return False
        row = connection.execute(
            "update study set state = 'complete', problem = null "
            "where uid = ? and generation = ? and state = 'received' and last = ? returning priority",
            (study.uid, study.generation, study.last),
        ).fetchone()
        if row is None:
            return False
        connection.execute("delete from owed where study = ?", (study.uid,))
        note(connection, study.uid, None, "complete", now, f"{study.instances} instances")
        urgency: Priority = next(name for name, number in NUMBERS.items() if number == row["priority"])
        for one in wanted:
            waits = one.record is None and one.deadline is not None
            before = connection.execute(
                f"select id from answer where study = ? and bundle in ({', '.join('?' * (1 + len(one.beside)))}) "  # noqa: S608
                "and not shadow and generation < ? and result_sha256 is not null order by generation desc limit 1",
                (study.uid, one.bundle, *one.beside, study.generation),
            ).fetchone()
            state = "refused" if one.refused is not None else "waiting-record" if waits else "queued"
            remedies = None if one.refused is None else as_json([_SEND_THE_REST])
            answer = connection.execute(
                "insert into answer(study, generation, bundle, shadow, state, rank, priority, record, created, "
                "deadline, problem, remedies, replaces, changed) "
                "values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) returning id",
                (study.uid, study.generation, one.bundle, one.shadow, state, now - AHEAD_S[urgency], row["priority"])
                + (one.record, created, one.deadline, one.refused, remedies)
                + (None if before is None else before["id"], now),
            ).fetchone()["id"]
            note(connection, study.uid, answer, state, now)
    return True
