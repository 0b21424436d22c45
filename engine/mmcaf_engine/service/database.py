"""The service's memory: one SQLite file in WAL mode, synced at every commit, with a schema that has a version.

It holds no data of a patient: UIDs, states, digests and times. Names, numbers and records lie in the spool alone, and
what matches a record to its study is a keyed digest.
"""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from ..errors import Remedy, ServiceError, program
from .disk import is_full

FILE = "state.db"
BUSY_S = 30.0
"""How long a writer waits for another."""

_FIRST = """
create table study(
    uid text primary key,
    generation integer not null default 1,
    state text not null default 'received',
    source text not null default '',
    patient text,
    accession text,
    priority integer not null default 1,
    first real not null,
    last real not null,
    expected integer,
    problem text,
    pruned real
);
create index study_state on study(state, last);
create table instance(
    uid text primary key,
    study text not null references study(uid),
    series text not null,
    sop_class text not null,
    generation integer not null,
    sha256 text not null,
    size integer not null,
    file text not null,
    source text not null,
    arrived real not null
);
create index instance_study on instance(study);
create table record(
    id integer primary key,
    study text,
    sha256 text not null,
    file text not null,
    source text not null,
    author text not null default '',
    arrived real not null
);
create table record_key(
    record integer not null references record(id),
    kind text not null,
    value text not null,
    primary key(record, kind, value)
);
create index record_key_value on record_key(kind, value);
create table answer(
    id integer primary key,
    study text not null references study(uid),
    generation integer not null,
    bundle text not null,
    shadow integer not null default 0,
    state text not null,
    rank real not null,
    priority integer not null,
    record integer references record(id),
    created text not null,
    deadline real,
    owner text,
    leased_until real,
    crashes integer not null default 0,
    problem text,
    remedies text,
    exit_code integer,
    bundle_sha256 text,
    result_sha256 text,
    replaces integer references answer(id),
    changed real not null,
    unique(study, generation, bundle)
);
create index answer_state on answer(state, rank);
create table object(
    answer integer not null references answer(id),
    kind text not null,
    sop_class text not null,
    uid text not null,
    file text not null,
    sha256 text not null,
    primary key(answer, kind)
);
create index object_uid on object(uid);
create table delivery(
    answer integer not null references answer(id),
    destination text not null,
    state text not null,
    tries integer not null default 0,
    due real not null,
    until real not null,
    owner text,
    leased_until real,
    problem text,
    commitment text unique,
    changed real not null,
    primary key(answer, destination)
);
create index delivery_state on delivery(state, due);
create table process(
    role text primary key,
    pid integer not null,
    since real not null,
    ready integer not null default 0,
    seen real not null
);
create table event(
    id integer primary key autoincrement,
    at real not null,
    study text not null,
    answer integer,
    state text not null,
    detail text not null default ''
);
create index event_study on event(study);
"""

_OPTIONS = "alter table answer add column options text"
"""JSON: what is to be done otherwise than the answer's route says, as a person accepted it."""

_SHADOWS = """
create table choice(
    place text primary key,
    bundle text not null,
    before text,
    since real not null
);
create table comparison(
    shadow integer primary key references answer(id),
    answer integer not null references answer(id),
    agrees integer not null,
    difference real
);
create index comparison_answer on comparison(answer)
"""

_BY_TIME = "create index event_at on event(at)"

_OWED = """
create table owed(
    uid text primary key,
    study text not null,
    since real not null
);
create index owed_study on owed(study)
"""

_CLOSED = "alter table study add column closed real"
"""When a person said that nothing more comes."""

MIGRATIONS: tuple[str, ...] = (_FIRST, _OPTIONS, _SHADOWS, _BY_TIME, _OWED, _CLOSED)
"""The statements that make each version of the schema from the one before; the first from nothing."""


def open_database(spool: Path, *, migrations: Sequence[str] = MIGRATIONS) -> sqlite3.Connection:
    """The service's memory, made or brought up to date where that is needed. For one thread.

    Raises:
        ServiceError: it is of a newer version of this program, damaged, or cannot be opened.
    """
    file = spool / FILE
    try:
        connection = sqlite3.connect(file, timeout=BUSY_S, isolation_level=None)
    except sqlite3.Error as failure:
        raise ServiceError(f"{file} cannot be opened: {failure}.", "Check the folder's rights and its disk.") from None
    try:
        connection.row_factory = sqlite3.Row
        _use_wal(connection)
        connection.execute("pragma synchronous = full")
        connection.execute("pragma foreign_keys = on")
        _migrate(connection, file, migrations)
    except sqlite3.Error as failure:
        connection.close()
        if is_full(failure):
            raise ServiceError(f"{file} cannot be opened: its disk is full.", "Free some of it.") from None
        raise ServiceError(
            f"{file} cannot be read: {failure}.",
            Remedy("Bring back a copy", command=program("serve", "restore", "BACKUP")),
        ) from None
    except BaseException:
        connection.close()
        raise
    return connection


def open_existing(spool: Path) -> sqlite3.Connection:
    """As `open_database`, of a service that has run.

    Raises:
        ServiceError: none has run with this spool.
    """
    if not (spool / FILE).is_file():
        raise ServiceError(f"{spool / FILE} is not there: no service has run with this spool.", "Start the service.")
    return open_database(spool)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All or nothing, on the disk when it ends; no other writer between its statements.

    Raises:
        sqlite3.Error: as it happened, also where the disk is full at the commit; the connection can be used again.
    """
    connection.execute("begin immediate")
    try:
        yield connection
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:  # Of some faults SQLite ends it by itself, as of a disk that is full.
            connection.execute("rollback")
        raise


def back_up(spool: Path, file: Path) -> None:
    """A copy of the memory as it is at one moment, while the service runs; `file` is new.

    Raises:
        ServiceError: there is none, or the copy cannot be written.
    """
    source = spool / FILE
    if not source.is_file():
        raise ServiceError(f"{source} is not there: no service has run with this spool.")
    try:
        with closing(sqlite3.connect(source, timeout=BUSY_S)) as live, closing(sqlite3.connect(file)) as copy:
            live.backup(copy)
    except sqlite3.Error as failure:
        raise ServiceError(f"{source} cannot be copied to {file}: {failure}.") from None


def schema_version(connection: sqlite3.Connection) -> int:
    """How many migrations it has seen; 0 of an empty file."""
    return int(connection.execute("pragma user_version").fetchone()[0])


def _use_wal(connection: sqlite3.Connection) -> None:
    """Where another process does the same at this moment, SQLite refuses at once instead of waiting."""
    ends = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("pragma journal_mode = wal")
            return
        except sqlite3.OperationalError as failure:
            if getattr(failure, "sqlite_errorname", "") != "SQLITE_BUSY" or time.monotonic() >= ends:
                raise
            time.sleep(0.01)


def _migrate(connection: sqlite3.Connection, file: Path, migrations: Sequence[str]) -> None:
    if schema_version(connection) == len(migrations):
        return
    with transaction(connection):
        found = schema_version(connection)  # Another process may have been first.
        if found > len(migrations):
            raise ServiceError(
                f"{file} has version {found} of the schema; this program knows {len(migrations)}.",
                "Start the newer version of mmcaf-infer again, or restore a copy from before it.",
            )
        for statements in migrations[found:]:
            for statement in statements.split(";"):
                connection.execute(statement)
        connection.execute(f"pragma user_version = {len(migrations)}")
