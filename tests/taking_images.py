"""The service's receiver and web process as one program, for a test that watches it: python taking_images.py serve.toml

It says on stdout that it is ready, and ends when stdin does. With `early` as the second argument it answers before what
it was sent is on the disk, which must be found out; with `unsynced`, before the names in a folder are.
"""

import sqlite3
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

from mmcaf_engine.service import database, receipt
from mmcaf_engine.service.alone import make_spool
from mmcaf_engine.service.config import Config, read_config
from mmcaf_engine.service.database import open_database
from mmcaf_engine.service.processes import receive, serve_http
from mmcaf_engine.service.receipt import Instance, Receipt, Received


def checkpoint_often() -> None:
    """So that the short run has what a long one has: pages go from the log into the file, and the log begins anew."""
    use_wal = database._use_wal

    def small(connection: sqlite3.Connection) -> None:
        use_wal(connection)
        connection.execute("pragma wal_autocheckpoint = 12")

    database._use_wal = small


def answer_early() -> None:
    """What is not on the disk is called received."""
    kept = Receipt.receive

    def early(self: Receipt, instance: Instance) -> Received:
        late = threading.Timer(0.2, kept, (self, instance))
        late.daemon = True
        late.start()
        return Received("new")

    Receipt.receive = early  # type: ignore[method-assign]


def leave_names_unsynced() -> None:
    """A folder's names are never synced."""
    receipt.sync_folder = receipt.sync_folders = lambda *_: None  # type: ignore[assignment]


def ready(config: Config) -> bool:
    """Whether both processes say so."""
    with closing(open_database(config.spool)) as memory:
        return memory.execute("select count(*) from process where ready = 1").fetchone()[0] == 2


def main(file: str, fault: str = "") -> None:
    """Run both."""
    config = read_config(Path(file))
    make_spool(config.spool)
    checkpoint_often()
    if fault:
        {"early": answer_early, "unsynced": leave_names_unsynced}[fault]()
    open_database(config.spool).close()
    ended = threading.Event()
    threads = [threading.Thread(target=work, args=(config, ended)) for work in (receive, serve_http)]
    for thread in threads:
        thread.start()
    while not ready(config):
        time.sleep(0.02)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
