"""One command, several processes: each is started again when it dies, and all end together."""

import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import MmcafError, ServiceError
from .accepted import keep_accepted
from .alone import only_service
from .config import Config, read_config
from .database import FILE, open_database
from .life import missing, roles, tell_refused_to_start
from .notify import ALIVE, READY, STOPPING, notify, reloading, status, watchdog_s
from .restore import finish_restore

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
"""Before a process that died is started again: doubled each time, until it has lived for a while."""
LIVED_S = 60.0
LOOK_S = 0.1
STOP_S = 30.0
"""So long processes have to end by themselves."""
TELL_S = 1.0
REFUSED_S = 60.0
"""So long systemd shows why a configuration was not taken over."""


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
        self._ready, self._began, self._said, self._alive = False, 0.0, 0.0, 0.0
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
        self._config, self._accepted = config, self._accept(config)
        self._children = [Child(arguments) for arguments in roles(config)]
        self._began = time.time()
        try:
            while not self.ended.wait(LOOK_S):
                if self.reload.is_set():
                    self.reload.clear()
                    self._reload()
                self.look()
                self._tell()
        finally:
            notify(STOPPING)
            self._stop(self._children)

    def _tell(self) -> None:
        """systemd that the service is ready once it takes images, then what it lacks, and that it lives."""
        now = self._clock()
        if now - self._said >= TELL_S:
            self._said = now
            lacking = self._lacking()
            if not self._ready and "receiver" not in lacking:
                self._ready = True
                notify(READY)
                log.info("the service takes images")
            notify(
                status(f"waiting for {', '.join(lacking)}" if lacking else f"all {len(self._children)} processes run")
            )
        every = watchdog_s()
        if every is not None and now - self._alive >= every:
            self._alive = now
            notify(ALIVE)

    def _lacking(self) -> list[str]:
        if not (self._config.spool / FILE).exists():
            return [child.name for child in self._children]
        try:
            with closing(open_database(self._config.spool)) as memory:
                return missing(memory, self._config, time.time(), since=min(self._began, time.time()))
        except (MmcafError, sqlite3.Error):  # Of a disk that is full, say; whoever needs it says so.
            return [child.name for child in self._children]

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
        words = [*self._command, *child.arguments, str(self._accepted), str(os.getpid())]
        child.process = subprocess.Popen(words, stdin=subprocess.DEVNULL)  # noqa: S603 - this program's own
        log.info("%s started", child.name)

    def _died(self, child: Child, now: float) -> None:
        code = child.process.returncode if child.process else None
        if now - child.started >= LIVED_S:
            child.pause_s = FIRST_PAUSE_S
        log.error("%s ended with %s; it starts again in %g s", child.name, code, child.pause_s)
        child.process, child.due = None, now + child.pause_s
        child.pause_s = min(child.pause_s * 2, LONGEST_PAUSE_S)

    def _accept(self, config: Config) -> Path:
        """What processes read: a copy; where the disk is full, which must end no service, the file itself."""
        try:
            return keep_accepted(config)
        except OSError as failure:
            log.warning("no copy of the configuration could be kept: %s", failure.strerror)
            return self._file

    def _reload(self) -> None:
        notify(reloading())
        try:
            config = read_config(self._file)
            if config.spool != self._config.spool:
                raise ServiceError(f"The spool is another one, {config.spool}: that needs a restart.")
        except MmcafError as refusal:
            log.error("the configuration stays as it was: %s", refusal.problem)
            notify(READY, status(f"the configuration stays as it was: {refusal.problem}"))
            self._said = self._clock() + REFUSED_S
            with suppress(MmcafError, sqlite3.Error), closing(open_database(self._config.spool)) as memory:
                tell_refused_to_start(memory, "configuration", refusal.problem, time.time())
            return
        self._stop(self._children)
        self._config, self._accepted = config, self._accept(config)
        self._children = [Child(arguments) for arguments in roles(config)]
        self._began, self._ready = time.time(), False
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
