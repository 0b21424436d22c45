"""Which processes a service has, and how each shows that it lives."""

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from .answers import note
from .config import Config
from .database import transaction

log = logging.getLogger(__name__)

NOT_STARTED = "not-started"
"""The event that says why a process cannot start."""
SIGN_OF_LIFE_S = 2.0
SILENT_S = 10 * SIGN_OF_LIFE_S
"""Without a sign of life for so long, a process is taken for dead."""


def roles(config: Config) -> list[tuple[str, ...]]:
    """The processes of a configuration, the first to take images."""
    found: list[tuple[str, ...]] = [("receiver",)]
    found += [("runner", one.name) for one in config.bundle]
    if config.records.folder is not None or config.records.fhir_url is not None:
        found.append(("records",))
    if config.destination:
        found.append(("sender",))
    if config.http is not None:
        found.append(("web",))
    return found


def missing(memory: sqlite3.Connection, config: Config, now: float, *, since: float = 0.0) -> list[str]:
    """Processes of a configuration that do not run.

    Args:
        since: only those count that were ready at this time or later.
    """
    expected = [" ".join(role) for role in roles(config)]
    fresh = {row["role"] for row in memory.execute("select role from process where since >= ?", (since,)).fetchall()}
    return [role for role in expected if role not in fresh or not runs(memory, role, now)]


def runs(memory: sqlite3.Connection, role: str, now: float) -> bool:
    """Whether a process lives and is ready; of a runner, that its bundle passed its self-test.

    While it works on one study, or sends one, its lease is its sign of life.
    """
    row = memory.execute(
        "select 1 from process where role = :role and ready and (seen >= :since"
        " or exists(select 1 from answer where owner = :role and leased_until > :now)"
        " or exists(select 1 from delivery where owner = :role and leased_until > :now))",
        {"role": role, "since": now - SILENT_S, "now": now},
    )
    return row.fetchone() is not None


def tell_refused_to_start(memory: sqlite3.Connection, role: str, problem: str, now: float) -> None:
    """A process cannot start: kept for whoever looks, once until it has run."""
    detail = f"{role}: {problem}"
    with transaction(memory):
        told = memory.execute(
            "select 1 from event where state = ? and detail = ? and at >= "
            "coalesce((select since from process where role = ?), 0)",
            (NOT_STARTED, detail, role),
        ).fetchone()
        if told is None:
            note(memory, "", None, NOT_STARTED, now, detail)


@contextmanager
def alive(memory: sqlite3.Connection, role: str) -> Iterator[Callable[[], None]]:
    """A process is ready, and says now and then that it lives, by what this gives."""
    said = 0.0

    def sign() -> None:
        nonlocal said
        now = time.time()
        if abs(now - said) >= SIGN_OF_LIFE_S:  # Also where the clock was set back.
            said = now
            memory.execute("update process set seen = ? where role = ? and pid = ?", (now, role, os.getpid()))

    now = time.time()
    with transaction(memory):
        memory.execute("insert or replace into process values(?, ?, ?, 1, ?)", (role, os.getpid(), now, now))
    log.info("%s is ready", role)
    try:
        yield sign
    finally:
        with suppress(sqlite3.Error):  # Of a full disk; who looks sees that it says nothing more.
            memory.execute("update process set ready = 0 where role = ? and pid = ?", (role, os.getpid()))
