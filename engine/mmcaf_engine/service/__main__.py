"""One process of the service: python -m mmcaf_engine.service ROLE [BUNDLE] CONFIG PARENT.

The supervisor starts them, and is the parent without whom they end.
"""

import logging
import os
import signal
import sqlite3
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

from ..errors import MmcafError
from .accepted import read_accepted
from .alone import at_work, make_spool
from .config import Config
from .database import open_database
from .life import tell_refused_to_start
from .processes import answer, find_records, receive, send, serve_http

log = logging.getLogger(__name__)

PARENT_S = 0.5


def main(arguments: list[str]) -> int:
    """Its exit code: 0 where it was told to end."""
    role, *named, file, parent = arguments
    if os.getppid() != int(parent):
        return 0  # It was killed meanwhile.
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # Its log names patients.
    logging.getLogger("highdicom").setLevel(logging.WARNING)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Of the whole group: the supervisor tells us.
    threading.Thread(target=_end_with, args=(int(parent), ended), daemon=True, name="parent").start()
    return run(role, named[0] if named else "", Path(file), ended)


def run(role: str, bundle: str, file: Path, ended: threading.Event) -> int:
    """One process until it is told to end; its exit code. Why it cannot start is in the log, and kept."""
    config = None
    try:
        config = read_accepted(file)
        make_spool(config.spool)
        with at_work(config.spool):
            _work(role, bundle, config, ended)
    except MmcafError as refusal:
        log.error("%s", refusal)
        if config is not None:
            with suppress(MmcafError, sqlite3.Error, OSError), closing(open_database(config.spool)) as memory:
                tell_refused_to_start(memory, f"{role} {bundle}".strip(), refusal.discreet, time.time())
        return refusal.exit_code
    return 0


def _work(role: str, bundle: str, config: Config, ended: threading.Event) -> None:
    if role == "receiver":
        receive(config, ended)
    elif role == "runner":
        answer(config, bundle, ended)
    elif role == "records":
        find_records(config, ended)
    elif role == "sender":
        send(config, ended)
    else:
        serve_http(config, ended)


def _end_with(parent: int, ended: threading.Event) -> None:
    """Nobody supervises us any more: end, so that the next service finds nobody at work."""
    while not ended.is_set():
        if os.getppid() != parent:
            ended.set()
        time.sleep(PARENT_S)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
