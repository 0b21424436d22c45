"""How the service is: its processes, bundles, disk and destinations, as a page shows them."""

import shutil
import sqlite3
import time
from dataclasses import dataclass

from . import views
from .config import Config
from .life import missing, roles


@dataclass(frozen=True)
class ProcessCondition:
    """A process that the configuration asks for. since, seen: None where it has never run."""

    role: str
    ready: bool
    since: float | None = None
    seen: float | None = None


@dataclass(frozen=True)
class DestinationCondition:
    """Where answers go. waiting: that could not be sent yet; bad: given up; last: when one arrived."""

    name: str
    kind: str
    address: str
    sent: int = 0
    waiting: int = 0
    bad: int = 0
    last: float | None = None
    problem: str | None = None


@dataclass(frozen=True)
class DiskCondition:
    """The spool's disk, and what the memory takes of it, in bytes."""

    free: int
    whole: int
    reserve: int
    memory: int

    @property
    def is_enough(self) -> bool:
        """Whether images are taken."""
        return self.free >= self.reserve


def processes_of(connection: sqlite3.Connection, config: Config) -> list[ProcessCondition]:
    """Every process that is expected, and whether it is ready, as a runner is once its bundle passed its self-test."""
    found = {one.role: one for one in views.processes(connection)}
    lacking = missing(connection, config, time.time())
    conditions = []
    for role in (" ".join(role) for role in roles(config)):
        one = found.get(role)
        since, seen = (None, None) if one is None else (one.since, one.seen)
        conditions.append(ProcessCondition(role, role not in lacking, since, seen))
    return conditions


def deliveries_to(connection: sqlite3.Connection, config: Config) -> list[DestinationCondition]:
    """Every destination of the configuration, and how its deliveries stand."""
    conditions = []
    for one in config.destination:
        row = connection.execute(_DELIVERIES, (one.name,)).fetchone()
        last = connection.execute(
            "select problem from delivery where destination = ? and problem is not null and state <> 'done' "
            "order by changed desc limit 1",
            (one.name,),
        ).fetchone()
        address = one.url or f"{one.ae_title} at {one.host} port {one.port}"
        conditions.append(
            DestinationCondition(
                one.name,
                one.kind,
                address,
                row["sent"],
                row["waiting"],
                row["bad"],
                row["last"],
                None if last is None else last["problem"],
            )
        )
    return conditions


def disk_of(config: Config) -> DiskCondition:
    """The spool's disk."""
    usage = shutil.disk_usage(config.spool)
    return DiskCondition(usage.free, usage.total, config.disk.reserve_mib * 2**20, views.memory_bytes(config.spool))


_DELIVERIES = """
    select coalesce(sum(state in ('delivered', 'done')), 0) as sent, coalesce(sum(state = 'sending'), 0) as waiting,
        coalesce(sum(state in ('failed', 'expired')), 0) as bad,
        max(case when state in ('delivered', 'done') then changed end) as last
    from delivery where destination = ?
"""
