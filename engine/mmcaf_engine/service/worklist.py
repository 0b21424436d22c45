"""The worklist: studies in an order, of a state, a page at a time; what is up with each in one word."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from . import views
from .keys import keyed
from .states import ANSWER_STATES
from .views import AnswerView, StudyView

Order = Literal["last", "first", "state", "priority"]
ORDERS: dict[Order, str] = {
    "last": "last desc",
    "first": "first",
    "state": "problematic desc, last desc",
    "priority": "priority desc, last desc",
}
"""Each from what is wanted first; then by UID, so that no study is on two pages."""
TODO = "todo"
"""Somebody should look: a record is missing, or an answer was refused, has failed, expired or cannot be sent."""
ON_A_PAGE = 25
MOST_FOUND = 100

# A plus keeps SQLite from an index by state, in which it would look through all answers for each study.
_CURRENT = "select 1 from answer where study = study.uid and generation = study.generation"
_DELAYED = "exists(select 1 from delivery where answer = answer.id and problem is not null and state = 'sending')"
_TODO = (
    f"((study.state = 'received' and study.problem is not null) or exists({_CURRENT} and (+answer.state in "
    f"('waiting-record', 'refused', 'failed', 'expired') or (answer.state = 'sending' and {_DELAYED}))))"
)


@dataclass(frozen=True)
class Listed:
    """A page of the worklist. number: of all studies that fit; counts: how many there are of each state."""

    studies: list[StudyView]
    number: int
    counts: dict[str, int]


def worklist(
    connection: sqlite3.Connection, *, state: str | None, order: Order, page: int, size: int = ON_A_PAGE
) -> Listed:
    """One page.

    Args:
        state: of the study or of an answer of its newest generation; TODO; or None for all.
        page: from 1.
    """
    where, values = _where(state)
    number = int(connection.execute(f"select count(*) from study where {where}", values).fetchone()[0])  # noqa: S608
    uids = [
        row["uid"]
        for row in connection.execute(
            f"select uid, {_TODO} as problematic from study where {where} order by {ORDERS[order]}, uid limit ? offset ?",  # noqa: S608, E501 - parts of ours
            (*values, size, (page - 1) * size),
        ).fetchall()
    ]
    found = [view for uid in uids if (view := views.find_study(connection, uid)) is not None]
    return Listed(found, number, _counts(connection))


def of_patient(connection: sqlite3.Connection, key: bytes, identifier: str) -> Listed:
    """The newest studies of a patient's ID or of an accession number, which are known here by their digests alone."""
    digests = keyed(key, "patient", identifier), keyed(key, "accession", identifier)
    rows = connection.execute(
        "select uid from study where patient = ? or accession = ? order by last desc, uid limit ?",
        (*digests, MOST_FOUND),
    ).fetchall()
    found = [view for row in rows if (view := views.find_study(connection, row["uid"])) is not None]
    return Listed(found, len(found), {})


def summary(study: StudyView) -> list[str]:
    """Its state, or those of the answers of its newest generation; of what is sent, whether it cannot be."""
    answers = [one for one in study.answers if one.generation == study.generation and not one.shadow]
    if study.state == "received" or not answers:
        return [study.state]
    return [state_of(one) for one in answers]


def state_of(answer: AnswerView) -> str:
    """Its state; "delayed" where it cannot be sent for now."""
    waits = answer.state == "sending" and any(one.problem and one.state == "sending" for one in answer.deliveries)
    return "delayed" if waits else answer.state


def _where(state: str | None) -> tuple[str, Sequence[object]]:
    if state is None:
        return "1", ()
    if state == TODO:
        return _TODO, ()
    if state in ("received", "complete"):
        return "study.state = ?", (state,)
    return f"exists({_CURRENT} and +answer.state = ?)", (state,)


def _counts(connection: sqlite3.Connection) -> dict[str, int]:
    found = {"": int(connection.execute("select count(*) from study").fetchone()[0])}
    found[TODO] = int(connection.execute(f"select count(*) from study where {_TODO}").fetchone()[0])  # noqa: S608
    found["received"] = int(connection.execute("select count(*) from study where state = 'received'").fetchone()[0])
    rows = connection.execute(
        "select answer.state, count(distinct study.uid) as number from answer join study on study.uid = answer.study "
        "and answer.generation = study.generation group by answer.state"
    ).fetchall()
    by_state = {row["state"]: int(row["number"]) for row in rows}
    return found | {state: by_state[state] for state in ANSWER_STATES if state in by_state}
