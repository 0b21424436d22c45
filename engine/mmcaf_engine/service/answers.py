"""The answers that are wanted of complete studies: a queue by urgency, leases, and every step as one transaction."""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, Literal

from ..errors import Remedy, ServiceError
from .database import transaction
from .states import NEXT, AnswerState

Priority = Literal["stat", "routine", "batch"]

AHEAD_S: dict[Priority, float] = {"stat": 8 * 3600.0, "routine": 0.0, "batch": -24 * 3600.0}
"""Seconds by which one passes those that were queued before it; what waits for longer comes first all the same."""
NUMBERS: dict[Priority, int] = {"stat": 2, "routine": 1, "batch": 0}
MOST_CRASHES = 3
"""Processes that one study may end; then its answer has failed."""
LEASE_S = 60.0
"""After so long without a sign of life, another process may go on."""


ENDED_BADLY: tuple[AnswerState, ...] = ("refused", "failed", "cancelled", "expired")
"""What a person may try again."""
_FRESH: dict[str, object] = {"problem": None, "remedies": None, "exit_code": None, "crashes": 0}
_AFTER_CRASHES = Remedy("Try it again after an update; its images are kept")


@dataclass(frozen=True)
class Claimed:
    """An answer that one process works on until its lease ends.

    attempt: how many processes died over it before. replaces: the answer of the study's last generation.
    options: what is to be done otherwise than its route says.
    """

    id: int
    study: str
    generation: int
    bundle: str
    shadow: bool
    record: int | None
    created: str
    attempt: int
    replaces: int | None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FrozenObject:
    """A result object on the disk, whose bytes never change. file: in the spool. kind: as `--dicom-out` names it."""

    kind: str
    sop_class: str
    uid: str
    file: PurePosixPath
    sha256: str


def move(
    connection: sqlite3.Connection,
    answer: int,
    came_from: AnswerState | Sequence[AnswerState],
    to: AnswerState,
    now: float,
    columns: Mapping[str, object] = MappingProxyType({}),
    *,
    held_by: str | None = None,
    detail: str = "",
) -> bool:
    """Within a transaction, one step of an answer; False where it is no longer in that state, or another's.

    Args:
        columns: what to set besides.
        held_by: who must hold its lease.
        detail: of the event that is kept, without a word of the patient.

    Raises:
        ValueError: there is no such step.
    """
    states: tuple[AnswerState, ...] = (came_from,) if isinstance(came_from, str) else tuple(came_from)
    if wrong := [state for state in states if to not in NEXT[state]]:
        raise ValueError(f"no step leads from {wrong[0]} to {to}")
    set_to = {"state": to, "changed": now, **columns}
    names = ", ".join(f"{name} = ?" for name in set_to)
    marks = ", ".join("?" * len(states))
    held = "" if held_by is None else " and owner = ?"
    row = connection.execute(
        f"update answer set {names} where id = ? and state in ({marks}){held} returning study",  # noqa: S608 - names of ours
        (*set_to.values(), answer, *states, *([] if held_by is None else [held_by])),
    ).fetchone()
    if row is None:
        return False
    note(connection, row["study"], answer, to, now, detail)
    return True


def note(
    connection: sqlite3.Connection, study: str, answer: int | None, state: str, now: float, detail: str = ""
) -> None:
    """Keep within a transaction that something happened, for whoever follows the service."""
    connection.execute(
        "insert into event(at, study, answer, state, detail) values(?, ?, ?, ?, ?)", (now, study, answer, state, detail)
    )


def claim(connection: sqlite3.Connection, bundle: str, owner: str, now: float) -> Claimed | None:
    """The most urgent answer of a bundle that is queued, leased to `owner`; None where there is none.

    One that a dead process left behind is queued again first, or has failed where it ended too many.
    """
    if connection.execute(_ANY_QUEUED, {"bundle": bundle, "owner": owner, "now": now}).fetchone() is None:
        return None  # Without keeping those who write waiting.
    with transaction(connection):
        release_abandoned(connection, bundle, owner, now)
        row = connection.execute(
            "select * from answer where state = 'queued' and bundle = ? order by rank, id limit 1", (bundle,)
        ).fetchone()
        if row is None:
            return None
        lease = {"owner": owner, "leased_until": now + LEASE_S, "problem": None, "remedies": None, "exit_code": None}
        move(connection, row["id"], "queued", "running", now, lease)
        return Claimed(
            id=row["id"],
            study=row["study"],
            generation=row["generation"],
            bundle=bundle,
            shadow=bool(row["shadow"]),
            record=row["record"],
            created=row["created"],
            attempt=row["crashes"],
            replaces=row["replaces"],
            options=json.loads(row["options"] or "{}"),
        )


def release_abandoned(connection: sqlite3.Connection, bundle: str, owner: str, now: float) -> None:
    """Within a transaction: what `owner` held before it was started again, and whatever lease has ended."""
    rows = connection.execute(
        "select id, crashes from answer where state = 'running' and bundle = ? and (owner = ? or leased_until < ?)",
        (bundle, owner, now),
    ).fetchall()
    for row in rows:
        crashes = row["crashes"] + 1
        free = {"owner": None, "leased_until": None, "crashes": crashes}
        if crashes < MOST_CRASHES:
            move(connection, row["id"], "running", "queued", now, free, detail="its process died")
        else:
            problem = f"{crashes} processes died while they answered this study."
            said = {"problem": problem, "remedies": as_json([_AFTER_CRASHES])}
            move(connection, row["id"], "running", "failed", now, {**free, **said})


def renew(connection: sqlite3.Connection, claimed: Claimed, owner: str, now: float) -> bool:
    """A sign of life; False where the answer is no longer to be made, and work on it should end."""
    with transaction(connection):
        row = connection.execute(
            "update answer set leased_until = ? where id = ? and state = 'running' and owner = ? returning id",
            (now + LEASE_S, claimed.id, owner),
        ).fetchone()
    return row is not None


def put_back(connection: sqlite3.Connection, claimed: Claimed, owner: str, now: float) -> bool:
    """The process ends before it is done, and not by a crash: another one is to answer it."""
    with transaction(connection):
        free = {"owner": None, "leased_until": None}
        return move(connection, claimed.id, "running", "queued", now, free, held_by=owner, detail="put back")


def freeze(
    connection: sqlite3.Connection,
    claimed: Claimed,
    owner: str,
    now: float,
    objects: Sequence[FrozenObject],
    *,
    result_sha256: str,
    bundle_sha256: str,
    destinations: Sequence[tuple[str, float]],
) -> bool:
    """The answer is on the disk; False where it is no longer wanted, and its files are to be removed.

    Args:
        objects: written and synced.
        destinations: where they go, each with the time at which it is given up; a shadow's go nowhere, and whether it
            is one is what stands in the memory now: a person may have chosen another bundle meanwhile.

    Raises:
        ServiceError: an object's UID is that of an object with other bytes.
    """
    with transaction(connection):
        fields = {"owner": None, "leased_until": None, "result_sha256": result_sha256, "bundle_sha256": bundle_sha256}
        if not move(connection, claimed.id, "running", "written", now, fields, held_by=owner):
            return False
        for one in objects:
            other = connection.execute("select 1 from object where uid = ? and sha256 <> ?", (one.uid, one.sha256))
            if other.fetchone() is not None:
                raise ServiceError(f"An object with the UID {one.uid} was made before, of other content.")
            connection.execute(
                "insert into object values(?, ?, ?, ?, ?, ?)",
                (claimed.id, one.kind, one.sop_class, one.uid, str(one.file), one.sha256),
            )
        if not connection.execute("select shadow from answer where id = ?", (claimed.id,)).fetchone()["shadow"]:
            dispatch(connection, claimed.id, destinations, now)
    return True


def dispatch(
    connection: sqlite3.Connection, answer: int, destinations: Sequence[tuple[str, float]], now: float
) -> None:
    """Within a transaction: what is written goes to these destinations, to each until its time."""
    for name, until in destinations:
        connection.execute(
            "insert or ignore into delivery(answer, destination, state, due, until, changed) "
            "values(?, ?, 'sending', ?, ?, ?)",
            (answer, name, now, until, now),
        )
    if destinations:
        move(connection, answer, "written", "sending", now)


def give_up(
    connection: sqlite3.Connection,
    claimed: Claimed,
    owner: str,
    now: float,
    state: Literal["refused", "failed", "cancelled", "waiting-record"],
    *,
    problem: str,
    remedies: Sequence[Remedy],
    exit_code: int | None,
) -> bool:
    """It cannot be answered as it is; False where it is no longer ours."""
    with transaction(connection):
        said = {
            "problem": problem,
            "remedies": as_json(remedies),
            "exit_code": exit_code,
            "owner": None,
            "leased_until": None,
        }
        return move(connection, claimed.id, "running", state, now, said, held_by=owner, detail=problem)


def cancel(connection: sqlite3.Connection, answer: int, now: float) -> bool:
    """By a person; False where it has ended, or its objects may already be under way to an archive."""
    with transaction(connection):
        free = {"owner": None, "leased_until": None, "problem": "Cancelled by a person."}
        return move(connection, answer, ("waiting-record", "queued", "running"), "cancelled", now, free)


def retry(
    connection: sqlite3.Connection,
    answer: int,
    now: float,
    until: float,
    record: int | None = None,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> bool:
    """Again, by a person: the delivery where the objects are frozen, else all of it.

    False where it has not ended and no destination is waited for; where not all images of the study are here, as of a
    part nothing is answered; or where it is to be made otherwise, and is frozen.

    Args:
        until: when a delivery is given up.
        record: the newest of the study, which may be a better one than it was refused for.
        options: what is to be done otherwise than its route says, besides what was said before.
    """
    with transaction(connection):
        row = connection.execute(
            "select options, exists(select 1 from object where answer = answer.id) as frozen from answer where id = ?",
            (answer,),
        ).fetchone()
        if row is None or (row["frozen"] and options):
            return False
        if row["frozen"]:
            return _send_again(connection, answer, now, until)
        if not is_whole(connection, answer):
            return False
        fresh: dict[str, object] = {**_FRESH, **({} if record is None else {"record": record})}
        if options:
            fresh["options"] = json.dumps({**json.loads(row["options"] or "{}"), **options})
        said = ", ".join(f"{name}={value}" for name, value in options.items())
        return move(connection, answer, ENDED_BADLY, "queued", now, fresh, detail=f"by a person {said}".rstrip())


def _send_again(connection: sqlite3.Connection, answer: int, now: float, until: float) -> bool:
    """Within a transaction: what failed once more, what waits at once. False where all has arrived."""
    connection.execute(
        "update delivery set state = 'sending', tries = 0, due = ?, until = ?, problem = null, changed = ? "
        "where answer = ? and state in ('failed', 'expired')",
        (now, until, now, answer),
    )
    connection.execute(
        "update delivery set due = ?, tries = 0, until = max(until, ?) "
        "where answer = ? and state = 'sending' and due > ? and owner is null",
        (now, until, answer, now),
    )
    moved = move(connection, answer, ("failed", "cancelled", "expired"), "sending", now, _FRESH, detail="by a person")
    under_way = connection.execute(
        "select 1 from delivery where answer = ? and state = 'sending'", (answer,)
    ).fetchone()
    return moved or under_way is not None


def is_whole(connection: sqlite3.Connection, answer: int) -> bool:
    """Whether all images of the answer's study are here, and it is of all of them."""
    return connection.execute(_WHOLE, (answer,)).fetchone() is not None


def as_json(remedies: Iterable[Remedy]) -> str:
    """As the memory keeps them, and HTTP sends them."""
    return json.dumps([asdict(remedy) for remedy in remedies])


_WHOLE = """
    select 1 from answer join study on study.uid = answer.study
    where answer.id = ? and answer.generation = study.generation and study.state = 'complete'
        and (select count(*) from instance where study = study.uid and file <> '') >= max(1, coalesce(expected, 1))
"""
_ANY_QUEUED = """
    select 1 from answer where bundle = :bundle
        and (state = 'queued' or (state = 'running' and (owner = :owner or leased_until < :now))) limit 1
"""
