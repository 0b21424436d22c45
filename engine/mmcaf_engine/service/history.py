"""What happened to a study, and which records were given for it."""

import sqlite3
from dataclasses import dataclass

from .views import EventView

MOST_EVENTS = 200


@dataclass(frozen=True)
class RecordView:
    """A record. source: how it came. author: who typed it. answers: those that are, or are to be, made with it."""

    id: int
    author: str
    source: str
    arrived: float
    answers: tuple[int, ...]


def events_of(connection: sqlite3.Connection, study: str) -> list[EventView]:
    """The latest of a study, the oldest of these first."""
    rows = connection.execute(
        "select * from (select * from event where study = ? order by id desc limit ?) order by id", (study, MOST_EVENTS)
    ).fetchall()
    return [EventView(**dict(row)) for row in rows]


def records_of(connection: sqlite3.Connection, study: str) -> list[RecordView]:
    """Those that were given for it, or found for one of its answers; the newest first."""
    rows = connection.execute(
        "select * from record where study = ? or id in (select record from answer where study = ?) order by id desc",
        (study, study),
    ).fetchall()
    used = connection.execute("select id, record from answer where study = ? order by id", (study,)).fetchall()
    return [
        RecordView(
            row["id"],
            row["author"],
            row["source"],
            row["arrived"],
            tuple(one["id"] for one in used if one["record"] == row["id"]),
        )
        for row in rows
    ]
