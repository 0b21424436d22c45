"""What the service's memory says of studies and answers, for whoever looks: no data of a patient."""

import itertools
import json
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .actions import Action, actions_of
from .answers import ENDED_BADLY, is_whole
from .database import FILE
from .states import ANSWER_STATES

MOST_LISTED = 1000


@dataclass(frozen=True)
class ObjectView:
    """A frozen object. kind: its file's name without the ending."""

    kind: str
    sop_class: str
    uid: str
    sha256: str


@dataclass(frozen=True)
class DeliveryView:
    """An answer's way to one destination. due: when it is tried next."""

    destination: str
    state: str
    tries: int
    due: float
    until: float
    problem: str | None


@dataclass(frozen=True)
class AnswerView:
    """An answer that is wanted of a study. Times are seconds since 1970.

    options: what is done otherwise than its route says. actions: what may be done about it now.
    """

    id: int
    study: str
    generation: int
    bundle: str
    shadow: bool
    state: str
    priority: int
    created: str
    changed: float
    deadline: float | None
    problem: str | None
    remedies: list[dict[str, Any]]
    exit_code: int | None
    record: int | None
    replaces: int | None
    options: dict[str, Any] = field(default_factory=dict)
    objects: list[ObjectView] = field(default_factory=list)
    deliveries: list[DeliveryView] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)


@dataclass(frozen=True)
class StudyView:
    """A study. problem: why it is not taken for whole. closed: when a person said that nothing more comes."""

    uid: str
    generation: int
    state: str
    source: str
    priority: int
    first: float
    last: float
    instances: int
    expected: int | None
    problem: str | None
    pruned: float | None
    closed: float | None
    answers: list[AnswerView] = field(default_factory=list)


@dataclass(frozen=True)
class EventView:
    """Something that happened."""

    id: int
    at: float
    study: str
    answer: int | None
    state: str
    detail: str


@dataclass(frozen=True)
class ProcessView:
    """A process of the service. seen: its last sign of life."""

    role: str
    ready: bool
    since: float
    seen: float


def list_studies(
    connection: sqlite3.Connection, *, state: str | None = None, limit: int = 100, before: float | None = None
) -> list[StudyView]:
    """The newest first.

    Args:
        state: only studies in this state, or with an answer in it.
        before: only those whose last image came before this time.
    """
    rows = connection.execute(
        f"select study.*, {_COUNT} from study where (? is null or state = ? or exists("  # noqa: S608 - a constant
        "select 1 from answer where study = study.uid and generation = study.generation and state = ?)) "
        "and (? is null or last < ?) order by last desc, uid limit ?",
        (state, state, state, before, before, min(limit, MOST_LISTED)),
    )
    return [_study(connection, row) for row in rows.fetchall()]


def find_study(connection: sqlite3.Connection, uid: str) -> StudyView | None:
    """One study, with the answers of all its generations."""
    row = connection.execute(f"select study.*, {_COUNT} from study where uid = ?", (uid,)).fetchone()  # noqa: S608 - a constant
    return None if row is None else _study(connection, row)


def find_answer(connection: sqlite3.Connection, answer: int) -> AnswerView | None:
    """One answer."""
    row = connection.execute("select * from answer where id = ?", (answer,)).fetchone()
    return None if row is None else _answer(connection, row)


def object_file(connection: sqlite3.Connection, spool: Path, answer: int, kind: str) -> Path | None:
    """Where a frozen object lies; None where there is none, or it was removed."""
    row = connection.execute(
        "select file from object where answer = ? and kind = ? and file <> ''", (answer, kind)
    ).fetchone()
    return None if row is None else Path(spool, row["file"])


def events_after(connection: sqlite3.Connection, last: int, *, limit: int = 500) -> list[EventView]:
    """What happened after an event, in its order."""
    rows = connection.execute("select * from event where id > ? order by id limit ?", (last, limit)).fetchall()
    return [EventView(**dict(row)) for row in rows]


def newest_events(connection: sqlite3.Connection, *states: str, limit: int) -> list[EventView]:
    """The latest of these kinds, the newest first."""
    marks = ", ".join("?" * len(states))
    rows = connection.execute(
        f"select * from event where state in ({marks}) order by id desc limit ?",  # noqa: S608 - marks alone
        (*states, limit),
    ).fetchall()
    return [EventView(**dict(row)) for row in rows]


def last_event(connection: sqlite3.Connection) -> int:
    """The number of the newest event; 0 without any."""
    return int(connection.execute("select coalesce(max(id), 0) from event").fetchone()[0])


def processes(connection: sqlite3.Connection) -> list[ProcessView]:
    """Every process that has run."""
    rows = connection.execute("select role, ready, since, seen from process order by role").fetchall()
    return [ProcessView(row["role"], bool(row["ready"]), row["since"], row["seen"]) for row in rows]


def counts(connection: sqlite3.Connection) -> dict[str, int]:
    """How many answers are in each state; 0 is said too."""
    found = dict.fromkeys(ANSWER_STATES, 0)
    for row in connection.execute("select state, count(*) as number from answer group by state"):
        found[row["state"]] = row["number"]
    return {str(state): number for state, number in found.items()}


def memory_bytes(spool: Path) -> int:
    """What the memory takes on the disk."""
    return sum(file.stat().st_size for file in spool.glob(f"{FILE}*"))


def _study(connection: sqlite3.Connection, row: sqlite3.Row) -> StudyView:
    answers = connection.execute("select * from answer where study = ? order by id", (row["uid"],)).fetchall()
    names = ("uid", "generation", "state", "source", "priority", "first", "last", "instances", "expected")
    return StudyView(
        **{name: row[name] for name in names},
        problem=row["problem"],
        pruned=row["pruned"],
        closed=row["closed"],
        answers=[_answer(connection, one) for one in answers],
    )


def _answer(connection: sqlite3.Connection, row: sqlite3.Row) -> AnswerView:
    objects = connection.execute(
        "select kind, sop_class, uid, sha256 from object where answer = ? order by kind", (row["id"],)
    ).fetchall()
    deliveries = connection.execute(
        "select destination, state, tries, due, until, problem from delivery where answer = ? order by destination",
        (row["id"],),
    ).fetchall()
    names = ("id", "study", "generation", "bundle", "state", "priority", "created", "changed", "deadline", "problem")
    more = ("exit_code", "record", "replaces")
    remedies = json.loads(row["remedies"] or "[]")
    delayed = any(one["state"] != "done" and one["problem"] is not None for one in deliveries)
    whole = row["state"] in ENDED_BADLY and is_whole(connection, row["id"])
    actions = actions_of(row["state"], remedies, row["exit_code"], frozen=bool(objects), whole=whole, delayed=delayed)
    return AnswerView(
        **{name: row[name] for name in (*names, *more)},
        shadow=bool(row["shadow"]),
        remedies=remedies,
        options=json.loads(row["options"] or "{}"),
        objects=[ObjectView(**dict(one)) for one in objects],
        deliveries=[DeliveryView(**dict(one)) for one in deliveries],
        actions=list(actions),
    )


_COUNT = "(select count(*) from instance where study = study.uid and file <> '') as instances"


_STAGES = {
    ("queued", "running"): "queued",
    ("running", "written"): "running",
    ("running", "refused"): "running",
    ("running", "failed"): "running",
    ("sending", "delivered"): "sending",
    ("delivered", "committed"): "committing",
}


def stage_times(connection: sqlite3.Connection, *, latest: int = 10_000) -> list[tuple[str, float]]:
    """Stage and seconds of each step between two states, over the latest events."""
    rows = connection.execute(
        "select answer, state, at from (select * from event where answer is not null order by id desc limit ?) "
        "order by answer, id",
        (latest,),
    ).fetchall()
    found = []
    for before, after in itertools.pairwise(rows):
        stage = _STAGES.get((before["state"], after["state"]))
        if before["answer"] == after["answer"] and stage is not None:
            found.append((stage, after["at"] - before["at"]))
    return found
