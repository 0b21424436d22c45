"""What systemd is told of the service, where it asked to be told (sd_notify(3))."""

import logging
import os
import socket
import time

log = logging.getLogger(__name__)

READY, STOPPING, ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"


PATIENCE_S = 1.0
"""Where nobody takes what is told, the service goes on all the same."""


def notify(*said: str) -> None:
    """Send it to the socket that systemd named, a path or an abstract one; nothing where there is none."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.settimeout(PATIENCE_S)
        try:
            link.connect("\0" + address[1:] if address.startswith("@") else address)
            link.sendall("\n".join(said).encode())
        except OSError:
            log.warning("systemd could not be told %s", said[0])


def reloading() -> str:
    """That the configuration is read again, and since when; `READY` says that this is done."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def status(text: str) -> str:
    """What `systemctl status` shows: one line."""
    return f"STATUS={' '.join(text.split())}"


def watchdog_s() -> float | None:
    """How often systemd wants to hear that the service lives: half of what it waits; None where it does not ask."""
    asked, whom = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if not asked.isdecimal() or int(asked) == 0 or whom != str(os.getpid()):
        return None
    return int(asked) / 2e6
