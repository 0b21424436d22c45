"""Who works in a spool: one service at a time, and it begins when the processes of the last one have ended."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import Remedy, ServiceError
from .disk import make_folder

log = logging.getLogger(__name__)

LOCK, WORKING = "lock", "working"
"""Held by the service, and by each of its processes."""
ENDING_S = 60.0
"""So long the processes of a service that was killed have to end by themselves."""
LOOK_S = 0.05


@contextmanager
def only_service(spool: Path) -> Iterator[None]:
    """Nobody else runs a service with this spool, and nothing of one that was killed is still at work in it.

    Leases carry the name of a part of the service, such as its sender: two of one name would take each other's.

    Raises:
        ServiceError: somebody does, or does not end.
    """
    import fcntl

    make_spool(spool)
    with (spool / LOCK).open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ServiceError(
                f"Another service runs with the spool {spool}.", "Stop it first, or give this one a spool of its own."
            ) from None
        _wait_for_the_last(spool)
        yield


@contextmanager
def at_work(spool: Path) -> Iterator[None]:
    """What a process of the service holds as long as it lives, however it ends."""
    import fcntl

    with (spool / WORKING).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        yield


def _wait_for_the_last(spool: Path) -> None:
    import fcntl

    ends, told = time.monotonic() + ENDING_S, False
    with (spool / WORKING).open("w") as held:
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                if time.monotonic() >= ends:
                    raise ServiceError(
                        f"Processes of a service that was killed still work in the spool {spool}.",
                        Remedy("End them: their command lines have mmcaf_engine.service"),
                    ) from None
            if not told:
                told = True
                log.info("waiting for the processes of the last service to end")
            time.sleep(LOOK_S)


def make_spool(spool: Path) -> None:
    """The service's folder, its owner's alone.

    Raises:
        ServiceError: it cannot be made, or others may read it.
    """
    try:
        made = make_folder(spool)
        rights = spool.stat().st_mode & 0o077
    except OSError as failure:
        raise ServiceError(
            f"The spool {spool} cannot be made: {failure.strerror}.", "Check the folder's rights."
        ) from None
    if not made and rights and any(spool.iterdir()):
        raise ServiceError(
            f"Others than its owner may enter the spool {spool}, which holds studies.", f"Run chmod 700 {spool}."
        )
    spool.chmod(0o700)
