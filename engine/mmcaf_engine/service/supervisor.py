"""One command, several processes: each is started again when it dies, and all end together."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import MmcafError, ServiceError
from .config import Config, read_config
from .life import roles
from .processes import only_service
from .restore import finish_restore

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
"""Before a process that died is started again: doubled each time, until it has lived for a while."""
LIVED_S = 60.0
LOOK_S = 0.1
STOP_S = 30.0
"""So long processes have to end by themselves."""


@dataclass
class Child:
    """One process. arguments: role, and what it is for."""

    arguments: tuple[str, ...]
    process: "subprocess.Popen[bytes] | None" = None
    started: float = 0.0
    pause_s: float = FIRST_PAUSE_S
    due: float = field(default=0.0)

    @property
    def name(self) -> str:
        """As the log calls it."""
        return " ".join(self.arguments)


class Supervisor:
    """Runs the service of a configuration file.

    Args:
        command: of a process, before its role: by default this Python and this package.
    """

    def __init__(
        self,
        file: Path,
        *,
        command: tuple[str, ...] = (sys.executable, "-m", "mmcaf_engine.service"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = file
        self._command = command
        self._clock = clock
        self._children: list[Child] = []
        self.ended = threading.Event()
        self.reload = threading.Event()

    def run(self) -> None:
        """Until `ended` is set; `reload` reads the configuration again, and keeps the old one where the new cannot be.

        Raises:
            ServiceError: the configuration cannot be, or another service has its spool.
        """
        config = read_config(self._file)
        with only_service(config.spool):
            finish_restore(config.spool)
            self._run(config)

    def _run(self, config: Config) -> None:
        self._children = [Child(arguments) for arguments in roles(config)]
        notify("READY=1")
        try:
            while not self.ended.wait(LOOK_S):
                if self.reload.is_set():
                    self.reload.clear()
                    self._reload()
                self.look()
        finally:
            notify("STOPPING=1")
            self._stop(self._children)

    def look(self) -> None:
        """Start what is not running and is due."""
        for child in self._children:
            now = self._clock()
            if child.process is not None and child.process.poll() is not None:
                self._died(child, now)
            if child.process is None and now >= child.due:
                self._start(child, now)

    def _start(self, child: Child, now: float) -> None:
        child.started = now
        words = [*self._command, *child.arguments, str(self._file)]
        child.process = subprocess.Popen(words, stdin=subprocess.DEVNULL)  # noqa: S603 - this program's own
        log.info("%s started", child.name)

    def _died(self, child: Child, now: float) -> None:
        code = child.process.returncode if child.process else None
        if now - child.started >= LIVED_S:
            child.pause_s = FIRST_PAUSE_S
        log.error("%s ended with %s; it starts again in %g s", child.name, code, child.pause_s)
        child.process, child.due = None, now + child.pause_s
        child.pause_s = min(child.pause_s * 2, LONGEST_PAUSE_S)

    def _reload(self) -> None:
        try:
            config = read_config(self._file)
        except MmcafError as refusal:
            log.error("the configuration stays as it was: %s", refusal.problem)
            return
        self._stop(self._children)
        self._children = [Child(arguments) for arguments in roles(config)]
        log.info("the configuration was read again")

    def _stop(self, children: list[Child]) -> None:
        running = [child.process for child in children if child.process is not None and child.process.poll() is None]
        for process in running:
            process.terminate()
        ended = time.monotonic() + STOP_S
        for process in running:
            try:
                process.wait(max(0.0, ended - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def notify(state: str) -> None:
    """Tell systemd, where it asked to be told (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        try:
            link.connect("\0" + address[1:] if address.startswith("@") else address)
            link.sendall(state.encode())
        except OSError:
            log.warning("systemd could not be told %s", state)


def supervise(file: Path) -> None:
    """Run the service until SIGTERM or SIGINT; SIGHUP reads the configuration again.

    Raises:
        ServiceError: the configuration cannot be, or this is not the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        raise ServiceError("The service is run by the main thread of a program.")
    supervisor = Supervisor(file)
    signal.signal(signal.SIGTERM, lambda *_: supervisor.ended.set())
    signal.signal(signal.SIGINT, lambda *_: supervisor.ended.set())
    signal.signal(signal.SIGHUP, lambda *_: supervisor.reload.set())
    supervisor.run()
