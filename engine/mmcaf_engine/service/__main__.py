"""One process of the service: python -m mmcaf_engine.service ROLE [BUNDLE] CONFIG; the supervisor starts them."""

import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

from ..errors import MmcafError
from .config import read_config
from .processes import answer, find_records, make_spool, receive, send, serve_http

log = logging.getLogger(__name__)

PARENT_S = 0.5


def main(arguments: list[str]) -> int:
    """Its exit code: 0 where it was told to end."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # Its log names patients.
    logging.getLogger("highdicom").setLevel(logging.WARNING)
    role, *named, file = arguments
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Of the whole group: the supervisor tells us.
    threading.Thread(target=_end_with, args=(os.getppid(), ended), daemon=True, name="parent").start()
    try:
        config = read_config(Path(file))
        make_spool(config.spool)
        if role == "receiver":
            receive(config, ended)
        elif role == "runner":
            answer(config, named[0], ended)
        elif role == "records":
            find_records(config, ended)
        elif role == "sender":
            send(config, ended)
        else:
            serve_http(config, ended)
    except MmcafError as refusal:
        log.error("%s", refusal)
        return refusal.exit_code
    return 0


def _end_with(parent: int, ended: threading.Event) -> None:
    """Nobody supervises us any more: end, so that the next service finds nobody at work."""
    while not ended.is_set():
        if os.getppid() != parent:
            ended.set()
        time.sleep(PARENT_S)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
