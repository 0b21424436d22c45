"""Which processes a service has, and how each shows that it lives."""

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .config import Config
from .database import transaction

log = logging.getLogger(__name__)

SIGN_OF_LIFE_S = 2.0


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


@contextmanager
def alive(memory: sqlite3.Connection, role: str) -> Iterator[Callable[[], None]]:
    """A process is ready, and says now and then that it lives, by what this gives."""
    said = 0.0

    def sign() -> None:
        nonlocal said
        now = time.time()
        if now - said >= SIGN_OF_LIFE_S:
            said = now
            memory.execute("update process set seen = ? where role = ?", (now, role))

    now = time.time()
    with transaction(memory):
        memory.execute("insert or replace into process values(?, ?, ?, 1, ?)", (role, os.getpid(), now, now))
    log.info("%s is ready", role)
    try:
        yield sign
    finally:
        memory.execute("update process set ready = 0 where role = ?", (role,))
