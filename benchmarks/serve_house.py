"""The service as processes that are forked from one that has imported everything: started in a moment, killed in one.

`main` has the arguments PARENT CREATED [CONTROL]. Each line on stdin, a configuration and a log with a tab between,
starts a supervisor in place of the last one, and its process id comes back on stdout; the end of stdin ends all.
Supervisor and processes are those of `mmcaf serve`; they differ in how they begin, and in shorter pauses, so that a
round takes a second or two.
"""

import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import usage  # noqa: F401 - the packages of the repository, where they are not installed
from pydicom import dcmread, dcmwrite
from pydicom.uid import generate_uid

from mmcaf_engine.service import __main__ as process
from mmcaf_engine.service import delivery, intake, processes, sender, supervisor
from mmcaf_engine.service.delivery import DELIVERED, Due, Sent, claim_due, enter

CONTROLS = ("delivered-first", "not-frozen")
"""What must be found out: an answer that is called delivered before it is sent; objects made anew at each try."""
NEEDED = ("fastapi", "highdicom", "onnxruntime", "prometheus_client", "pynetdicom", "uvicorn")
PAUSE_S = 0.02
WINDOW_S = 1.0
"""Between what a control does too early and the rest: a kill must not miss it."""


class Forked:
    """A child of this process, as the supervisor knows one: see subprocess.Popen."""

    def __init__(self, work: Callable[[], int | None], log: Path) -> None:
        self.pid = fork(work, log)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, once it has one."""
        if self.returncode is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Until it has ended. Raises subprocess.TimeoutExpired."""
        ends = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if ends is not None and time.monotonic() >= ends:
                raise subprocess.TimeoutExpired("", timeout or 0.0)
            time.sleep(0.005)
        return code

    def terminate(self) -> None:
        """Send SIGTERM."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


class House(supervisor.Supervisor):
    """The supervisor, whose processes are forked."""

    def __init__(self, file: Path, log: Path) -> None:
        super().__init__(file)
        self._log = log

    def _start(self, child: supervisor.Child, now: float) -> None:
        child.started, child.pause_s = now, PAUSE_S
        words = [*child.arguments, str(self._file), str(os.getpid())]
        child.process = Forked(lambda: process.main(words), self._log)  # type: ignore[assignment]


def fork(work: Callable[[], int | None], log: Path) -> int:
    """Do this in a process that has nothing open of this one."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        nothing, target = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        for number, place in enumerate((nothing, target, target)):
            os.dup2(place, number)
        os.closerange(3, 256)
        for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(one, signal.SIG_DFL)
        code = work() or 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def supervise(file: Path, log: Path) -> None:
    """As `mmcaf serve` does."""
    house = House(file, log)
    signal.signal(signal.SIGTERM, lambda *_: house.ended.set())
    house.run()


def hurry(created: str) -> None:
    """Shorter pauses, none of which says what is right; and one time for all, so that two runs can be compared."""
    supervisor.LOOK_S = processes.IDLE_S = process.PARENT_S = PAUSE_S
    delivery.FIRST_WAIT_S, delivery.LONGEST_WAIT_S = 0.1, 0.5
    queue = intake.complete

    def queued(memory: Any, study: Any, wanted: Any, _: str, now: float, **more: Any) -> bool:
        return queue(memory, study, wanted, created, now, **more)

    intake.complete = queued


def break_it(control: str) -> None:
    """Make the fault that a control is of."""
    if control == "delivered-first":
        sender.Sender.step = delivered_first  # type: ignore[method-assign]
    elif control == "not-frozen":
        send = sender.Sender._send

        def anew(self: Any, memory: Any, due: Due, destination: Any) -> Sent:
            for parcel in due.parcels:
                if parcel.file.suffix == ".dcm":
                    make_anew(parcel.file)
            return send(self, memory, due, destination)

        sender._is_unchanged = lambda file, sha256: True
        sender.Sender._send = anew  # type: ignore[method-assign]


def delivered_first(self: Any, memory: Any) -> bool:
    """A sender that enters the delivery before it sends."""
    due = claim_due(memory, self._config.spool, list(self._to), self._owner, self._clock())
    if due is None:
        return False
    enter(memory, due, self._owner, DELIVERED, self._clock(), committing=False)
    time.sleep(WINDOW_S)
    self._send(memory, due, self._to[due.destination])
    return True


def make_anew(file: Path) -> None:
    """An object as it would be made at this moment."""
    found = dcmread(file)
    found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    found.ContentTime = datetime.now(UTC).strftime("%H%M%S")
    part = file.with_suffix(".part")
    dcmwrite(part, found)
    part.replace(file)


def start(file: Path, log: Path) -> Forked:
    """A supervisor."""
    return Forked(lambda: supervise(file, log), log)


def main() -> None:
    """Start what stdin asks for."""
    parent, created, *control = sys.argv[1:]
    for name in NEEDED:
        __import__(name)
    from mmcaf_engine.service.web import app  # noqa: F401

    hurry(created)
    if control:
        break_it(control[0])
    if os.getppid() != int(parent):
        return
    running: Forked | None = None
    for line in sys.stdin:
        file, log = map(Path, line.rstrip("\n").split("\t"))
        if running is not None:
            running.kill()
            running.wait()
        running = start(file, log)
        print(running.pid, flush=True)
    if running is not None:
        running.terminate()
        running.wait()
