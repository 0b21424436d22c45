"""Deliveries of frozen results: what is due, what became of each try, and when an answer has arrived everywhere."""

import random
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from ..errors import Remedy, program
from ..result.writers.dicom import NAMES
from .answers import as_json, move
from .config import Destination
from .database import transaction

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 600.0
"""Between tries: doubled each time, up to the longest."""
ASK_AGAIN_S = 3600.0
"""After so long without a report on its commitment, an archive is asked again."""

HELD_S = 1800.0
"""So long a delivery is its sender's, who may have a slow connection; one that is started again goes on at once."""
_LATE_DUE = "state in ('sending', 'delivered') and due > :now + iif(state = 'sending', :wait, :ask)"
_ANY_DUE = f"""
    select 1 where
        exists(select 1 from delivery where state in ('sending', 'delivered') and (due <= :now or until <= :now))
        or exists(select 1 from delivery where {_LATE_DUE})
        or exists(select 1 from answer where state = 'waiting-record' and deadline <= :now)
"""  # noqa: S608 - a constant
_BRING_BACK = f"update delivery set due = :now where {_LATE_DUE}"  # noqa: S608 - a constant
"""What is due later than anything is put off is of a clock that was set back since: it is tried at once."""


@dataclass(frozen=True)
class Sent:
    """What became of a try. retry: whether it may go better next time. reason: in words, of no patient."""

    state: Literal["delivered", "failed"]
    reason: str = ""
    retry: bool = False


DELIVERED = Sent("delivered")


@dataclass(frozen=True)
class Parcel:
    """An object to send, whose bytes are those that were frozen. kind: as `FrozenObject.kind`."""

    kind: str
    sop_class: str
    uid: str
    file: Path
    sha256: str


def takes(destination: Destination, kind: str) -> bool:
    """Whether it is sent objects of a kind, as `FrozenObject` has it."""
    names = ["fhir"] if destination.kind == "fhir" else [NAMES[one] for one in destination.objects]
    return any(kind == name or kind.startswith(f"{name}-") for name in names)


class Carrier(Protocol):
    """Takes parcels to one destination."""

    def send(self, parcels: Sequence[Parcel]) -> Sent:
        """All of them; what went before may be sent again, so that the destination must take it twice."""


@dataclass(frozen=True)
class Due:
    """One delivery that is due now, leased. tries: before this one. stored: it was sent; a promise is waited for."""

    answer: int
    destination: str
    tries: int
    until: float
    stored: bool
    parcels: tuple[Parcel, ...]


def claim_due(
    connection: sqlite3.Connection, spool: Path, destinations: Sequence[str], owner: str, now: float
) -> Due | None:
    """The delivery that has been due for longest; None where there is none. What has expired is given up first."""
    marks = ", ".join("?" * len(destinations))
    times = {"now": now, "wait": LONGEST_WAIT_S * 1.25, "ask": ASK_AGAIN_S}
    if connection.execute(_ANY_DUE, times).fetchone() is None:
        return None  # Without keeping those who write waiting.
    with transaction(connection):
        expire(connection, now)
        connection.execute(_BRING_BACK, times)
        row = connection.execute(
            f"select * from delivery where state in ('sending', 'delivered') and due <= ? and destination in ({marks}) "  # noqa: S608
            "and (owner is null or owner = ? or leased_until < ?) order by due limit 1",
            (now, *destinations, owner, now),
        ).fetchone()
        if row is None:
            return None
        connection.execute(
            "update delivery set owner = ?, leased_until = ? where answer = ? and destination = ?",
            (owner, now + HELD_S, row["answer"], row["destination"]),
        )
        objects = connection.execute("select * from object where answer = ? order by kind", (row["answer"],)).fetchall()
    parcels = tuple(
        Parcel(one["kind"], one["sop_class"], one["uid"], Path(spool, one["file"]), one["sha256"]) for one in objects
    )
    return Due(row["answer"], row["destination"], row["tries"], row["until"], row["state"] == "delivered", parcels)


def enter(connection: sqlite3.Connection, due: Due, owner: str, sent: Sent, now: float, *, committing: bool) -> None:
    """What became of a try, and of its answer with it.

    Args:
        committing: whether the destination was asked to promise that it keeps the objects.
    """
    with transaction(connection):
        if sent.state == "delivered":
            columns: dict[str, object] = {"problem": None, "state": "delivered" if committing else "done"}
            columns |= {"due": now + ASK_AGAIN_S} if committing else {}
        elif sent.retry:
            columns = {"problem": sent.reason, "due": now + wait_s(due.tries)}
        else:
            columns = {"state": "failed", "problem": sent.reason}
        columns |= {"owner": None, "leased_until": None, "changed": now, "tries": due.tries + 1}
        names = ", ".join(f"{name} = ?" for name in columns)
        changed = connection.execute(
            f"update delivery set {names} where answer = ? and destination = ? and owner = ? "  # noqa: S608 - names of ours
            "and state in ('sending', 'delivered') returning answer",
            (*columns.values(), due.answer, due.destination, owner),
        ).fetchone()
        if changed is not None:
            settle(connection, due.answer, now)


def ask(connection: sqlite3.Connection, due: Due, owner: str, commitment: str) -> None:
    """A promise is about to be asked for: its report may come before the answer to the question."""
    with transaction(connection):
        connection.execute(
            "update delivery set commitment = ? where answer = ? and destination = ? and owner = ?",
            (commitment, due.answer, due.destination, owner),
        )


def commit(connection: sqlite3.Connection, commitment: str, kept: int, lost: Sequence[str], now: float) -> bool:
    """An archive's report on a storage commitment (PS3.4 J.3.3); False where nobody asked for it.

    What it does not keep is sent again.

    Args:
        kept: how many objects. lost: SOPInstanceUIDs.
    """
    with transaction(connection):
        row = connection.execute("select * from delivery where commitment = ?", (commitment,)).fetchone()
        if row is None:
            return False
        if lost:
            problem = f"{row['destination']} does not keep {len(lost)} of {len(lost) + kept} objects; sent again."
            columns: dict[str, object] = {"state": "sending", "problem": problem, "due": now + wait_s(row["tries"])}
        else:
            columns = {"state": "done", "problem": None}
        names = ", ".join(f"{name} = ?" for name in columns)
        connection.execute(
            f"update delivery set {names}, changed = ? where answer = ? and destination = ?",  # noqa: S608 - names of ours
            (*columns.values(), now, row["answer"], row["destination"]),
        )
        settle(connection, row["answer"], now)
    return True


def expire(connection: sqlite3.Connection, now: float) -> None:
    """Within a transaction: give up what could not be delivered in its time, and records that nobody sent."""
    rows = connection.execute(
        "update delivery set state = 'expired', problem = coalesce(problem, 'It was never reached.'), changed = ? "
        "where state in ('sending', 'delivered') and until <= ? and (owner is null or leased_until < ?) "
        "returning answer",
        (now, now, now),
    ).fetchall()
    for answer in sorted({row["answer"] for row in rows}):
        settle(connection, answer, now)
    waiting = connection.execute(
        "select id, problem from answer where state = 'waiting-record' and deadline <= ?", (now,)
    ).fetchall()
    for row in waiting:
        problem = f"No record came for this study in time. {row['problem'] or ''}".rstrip()
        said = {"problem": problem, "remedies": as_json([_RECORD])}
        move(connection, row["id"], "waiting-record", "expired", now, said)


def settle(connection: sqlite3.Connection, answer: int, now: float) -> None:
    """Within a transaction: an answer's state, once each of its deliveries has one."""
    rows = connection.execute("select * from delivery where answer = ?", (answer,)).fetchall()
    states = {row["state"] for row in rows}
    current = connection.execute("select state from answer where id = ?", (answer,)).fetchone()["state"]
    bad = [row for row in rows if row["state"] in ("failed", "expired")]
    if states <= {"delivered", "done"} and current == "sending":
        move(connection, answer, "sending", "delivered", now)
        current = "delivered"
    if states == {"done"} and current == "delivered" and any(row["commitment"] is not None for row in rows):
        move(connection, answer, "delivered", "committed", now)
    elif bad and "sending" not in states and current in ("sending", "delivered"):
        problem = " ".join(f"{row['destination']}: {row['problem']}" for row in bad)
        to: Literal["expired", "failed"] = "failed" if any(row["state"] == "failed" for row in bad) else "expired"
        remedies = as_json([Remedy("Look at the destination", command=program("serve", "--check")), _RETRY])
        move(connection, answer, current, to, now, {"problem": problem, "remedies": remedies})


def wait_s(tries: int) -> float:
    """Until the next try, with a jitter, so that what failed together does not come back together."""
    return min(FIRST_WAIT_S * 2.0 ** min(tries, 20), LONGEST_WAIT_S) * random.uniform(0.75, 1.25)  # noqa: S311 - no secret


_RETRY = Remedy("Then send it again from its page")
_RECORD = Remedy("Give it on the study's page, then try again")
