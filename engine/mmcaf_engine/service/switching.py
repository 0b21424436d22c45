"""Another bundle answers from now on, or the one from before again: one transaction, which a running service follows.

Studies whose answer was begun keep the bundle that began it. All others that wait for one, for a record too, are
answered by the bundle that was chosen: where it has answered them as a shadow already, that answer is sent. So each
study has one answer that is sent, of one bundle or the other.
"""

import sqlite3
from dataclasses import dataclass

from ..errors import Remedy, ServiceError, program
from .answers import dispatch, move, note
from .bundles import load
from .choice import Lineup, lineup_of, lineups, read_choices
from .config import Config
from .database import transaction
from .life import runs
from .routing import destinations_of, route_of
from .states import AnswerState


@dataclass(frozen=True)
class Switched:
    """What a switch changed. bundle: answers now; before: did until now, and is its shadow. queued: studies that
    waited, and are answered by `bundle`; sent: of these, those that it had answered already. kept: studies whose answer
    `before` had begun, and ends.
    """

    place: str
    bundle: str
    before: str
    queued: int
    sent: int
    kept: int


def switch(connection: sqlite3.Connection, config: Config, name: str, now: float) -> Switched:
    """A shadow answers from now on, and what answered becomes its shadow.

    Raises:
        ServiceError: it is no shadow, does not run, or never passed its self-test. BundleError: it cannot be loaded, or
            an older release of it is refused.
    """
    line = lineup_of(config, read_choices(connection), name)
    if line is None:
        known = ", ".join(one.name for one in config.bundle)
        raise ServiceError(f"The configuration has no bundle {name}; it has {known}.", "Choose one of these.")
    return _give_place(connection, config, line, name, back=False, now=now)


def roll_back(connection: sqlite3.Connection, config: Config, name: str | None, now: float) -> Switched:
    """What answered before the last switch answers again.

    Args:
        name: a bundle of the place that is meant; None where only one was switched.

    Raises:
        ServiceError: nothing was switched, or more than one place. As `switch` otherwise.
    """
    switched = [one for one in lineups(config, read_choices(connection)).values() if one.before is not None]
    if name is not None:
        switched = [one for one in switched if name in one.names]
    if not switched:
        raise ServiceError("There is nothing to roll back: the last switch was taken back, or there was none.")
    if len(switched) > 1:
        names = ", ".join(one.answers for one in switched)
        raise ServiceError(f"More than one bundle was switched to: {names}.", "Name the one that is to go.")
    [line] = switched
    return _give_place(connection, config, line, str(line.before), back=True, now=now)


def _give_place(
    connection: sqlite3.Connection, config: Config, line: Lineup, name: str, *, back: bool, now: float
) -> Switched:
    if name == line.answers:
        raise ServiceError(f"{name} answers already.")
    load(next(one for one in config.bundle if one.name == name))
    if not runs(connection, f"runner {name}", now):
        raise ServiceError(
            f"{name} does not run, or did not pass its self-test yet; {line.answers} goes on answering.",
            Remedy("Look at what is wrong with it", command=program("serve", "--check")),
        )
    with transaction(connection):
        now_answers = lineups(config, read_choices(connection))[line.place].answers
        if now_answers != line.answers:
            raise ServiceError(f"Somebody else has switched to {now_answers} meanwhile.")
        connection.execute(
            "insert or replace into choice(place, bundle, before, since) values(?, ?, ?, ?)",
            (line.place, name, None if back else line.answers, now),
        )
        queued, sent = _hand_over(connection, config, line, name, now)
        kept = connection.execute(
            "select count(*) from answer where bundle = ? and not shadow and state = 'running'", (line.answers,)
        ).fetchone()[0]
    return Switched(line.place, name, line.answers, queued, sent, kept)


def _hand_over(connection: sqlite3.Connection, config: Config, line: Lineup, name: str, now: float) -> tuple[int, int]:
    """Within the transaction: studies whose answer was not begun change bundles; how many, and how many are sent."""
    rows = connection.execute(
        "select * from answer where bundle = ? and not shadow and state in ('waiting-record', 'queued') order by id",
        (line.answers,),
    ).fetchall()
    queued = sent = 0
    for row in rows:
        other = connection.execute(
            "select * from answer where study = ? and generation = ? and bundle = ?",
            (row["study"], row["generation"], name),
        ).fetchone()
        written = other is not None and other["state"] == "written"
        route = route_of(config, connection, row["study"], row["generation"], line.place)
        if written and route is None:
            continue  # Nothing leads it anywhere any more: the bundle from before says so.
        connection.execute("update answer set shadow = 1 where id = ?", (row["id"],))
        if other is None:
            other = _copy(connection, row, name, now)
        connection.execute("update answer set shadow = 0 where id = ?", (other["id"],))
        if written and route is not None:
            dispatch(connection, other["id"], destinations_of(config, route, now), now)
        else:
            _begin_again(connection, other, row, now)
        note(connection, row["study"], other["id"], "switched", now, f"{name} answers instead of {line.answers}")
        queued, sent = queued + 1, sent + written
    return queued, sent


def _copy(connection: sqlite3.Connection, row: sqlite3.Row, name: str, now: float) -> sqlite3.Row:
    """The same answer, wanted of another bundle: of one that the configuration had not yet when the study came."""
    columns = "study, generation, state, rank, priority, record, created, deadline, replaces, options"
    made: sqlite3.Row = connection.execute(
        f"insert into answer(bundle, changed, {columns}) select ?, ?, {columns} from answer where id = ? returning *",  # noqa: S608
        (name, now, row["id"]),
    ).fetchone()
    return made


def _begin_again(connection: sqlite3.Connection, other: sqlite3.Row, row: sqlite3.Row, now: float) -> None:
    """What the shadow refused, or where it failed, is tried again, now that it counts."""
    ended: tuple[AnswerState, ...] = ("refused", "failed", "cancelled", "expired")
    fresh = {"problem": None, "remedies": None, "exit_code": None, "crashes": 0}
    fresh |= {"record": row["record"], "options": row["options"]}
    if move(connection, other["id"], ended, "queued", now, fresh) and row["state"] == "waiting-record":
        move(connection, other["id"], "queued", "waiting-record", now, {"deadline": row["deadline"]})
