"""What a runtime does with a network first, in a process of its own, which can be ended whatever happens in it.

A runtime in this process cannot be stopped from outside, and a network may have a loop that never ends. So, where a
caller wants that (`cancel.opening_within`), a network of which no pass is remembered here is opened and self-tested in
`opening_process`. What that leaves behind, the kept engine and the remembered self-test, is what this process then
opens with; it has ended by then, so that the memory is not needed twice at a time. A network that no session opens,
such as one that an engine is built of for another machine, is read there too: `Apart`.
"""

import json
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from errno import ENOENT
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic
from typing import IO, Any

from .. import cancel
from ..backends.base import Backend
from ..bundle.bundle import Bundle
from ..cancel import Progress
from ..errors import BackendError, BundleError, MmcafError, Remedy, restored
from ..files import reason
from ..manifest import Precision
from ..settings import environment_without_engines

FIRST_LINE = "from mmcaf_engine.session.opening_process import main; main()"
_log = logging.getLogger(__name__)
MORE_SECONDS = 300
"""What is proposed to those whose machine is slow."""
NOT_APART = object()
"""What `Apart.run` gives where no process can be started."""

_OPEN = "mmcaf_engine.session.session:opened_and_tested"

_awaited: ContextVar[Callable[[], None] | None] = ContextVar("awaited", default=None)
_told_of_loading: ContextVar[Callable[[], None]] = ContextVar("told_of_loading", default=lambda: None)


@contextmanager
def first_opening_after(awaited: Callable[[], None], loading: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Within the block, a network of which no pass is remembered here is not opened before this function returns.

    What it raises ends the opening.

    Args:
        loading: told when a runtime is about to load a kept engine, which runs nothing of Python's for long.
    """
    tokens = _awaited.set(awaited), _told_of_loading.set(loading)
    try:
        yield
    finally:
        _awaited.reset(tokens[0])
        _told_of_loading.reset(tokens[1])


def tell_of_loading() -> None:
    """Tell whoever wants to know that a runtime is about to load a kept engine."""
    _told_of_loading.get()()


@dataclass(frozen=True)
class Apart:
    """Work on a bundle that a process of its own does.

    work: "module:function", which is called with the bundle, `progress` and, by name, what is `given`; what it is given
    and what it gives is what JSON can say. called: what messages call it; done: what it then is, after "was not".
    keep: whether engines are kept there, and kept ones loaded.
    """

    bundle: Bundle
    work: str
    given: Mapping[str, Any]
    called: str
    done: str
    keep: bool = True

    def run(self, seconds: float, progress: Progress | None = None) -> Any:
        """Have it done by a process that has ended when this returns; `NOT_APART` where there is none to start.

        Args:
            seconds: that it may take, anew from each step that it tells.
            progress: told of these steps; what it raises ends the process.

        Raises:
            BundleError: it took longer; or the bundle is refused.
            BackendError: the process ended by itself; or what the work raises.
            CancelledError, DeadlineError: as `cancel.check`; the process is ended.
        """
        try:
            process = self._start()
        except OSError as failure:  # Such as where this user may run the one that runs this, but not start another.
            called, why = self.called, reason(failure)
            _log.warning("%s is opened in this process, where nothing can end it: no Python to start: %s.", called, why)
            return NOT_APART
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a process without pipes")
        replies: SimpleQueue[bytes | None] = SimpleQueue()
        reader = threading.Thread(target=_forward, args=(process.stdout, replies), name="first opening", daemon=True)
        reader.start()
        try:
            self._ask(process.stdin, seconds)
            return self._follow(process, replies, seconds, progress)
        finally:
            process.kill()
            process.wait()
            reader.join()
            process.stdout.close()
            with suppress(OSError):  # What it had not read.
                process.stdin.close()

    def _start(self) -> "subprocess.Popen[bytes]":
        if not can_start():
            raise FileNotFoundError(ENOENT, "there is none")
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-c", FIRST_LINE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # A runtime's own words may hold names from the model.
            env=None if self.keep else environment_without_engines(),
        )

    def _ask(self, stream: IO[bytes], seconds: float) -> None:
        """Say what to do. The stream stays open: its end tells the process that this one has ended."""
        path, sha256 = self.bundle.identity
        request = {
            "bundle": [str(path), sha256],
            "work": self.work,
            "given": dict(self.given),
            "seconds": seconds,
        }
        with suppress(OSError):  # It has ended already, which `_follow` finds.
            stream.write(json.dumps(request).encode() + b"\n")
            stream.flush()

    def _follow(
        self,
        process: "subprocess.Popen[bytes]",
        replies: "SimpleQueue[bytes | None]",
        seconds: float,
        progress: Progress | None,
    ) -> Any:
        ends = monotonic() + seconds
        while True:
            cancel.check()
            left = ends - monotonic()
            if left <= 0:
                raise self._too_slow(seconds)
            try:
                line = replies.get(timeout=min(left, cancel.POLL_SECONDS))
            except Empty:
                continue
            if line is None:
                raise self._ended(process.wait())
            told: dict[str, Any] = json.loads(line)
            if "error" in told:
                raise restored(told["error"])
            if "passed" in told:
                return told["passed"]
            if "bug" in told:
                raise RuntimeError(f"while {self.called} was first opened: {told['bug']}")
            ends = monotonic() + seconds
            if progress is not None:
                progress(*told["progress"])

    def _too_slow(self, seconds: float) -> MmcafError:
        return BundleError(
            f"{self.bundle.shown}: {self.called} was not {self.done} within {seconds:g} s; the process in "
            "which that was tried was ended.",
            "If its network is not known to take so long, do not use it.",
            Remedy(
                "If this machine is that slow, allow more seconds",
                command=f"export MMCAF_OPEN_TIMEOUT={max(MORE_SECONDS, int(2 * seconds))}",
            ),
        )

    def _ended(self, status: int) -> MmcafError:
        how = f"signal {-status}" if status < 0 else f"exit code {status}"
        if status < 0 and hasattr(signal, "SIGKILL") and -status == signal.SIGKILL:
            return BackendError(
                f"{self.called}: the process in which it was first opened was killed ({how}), as a system does that "
                "runs out of memory.",
                "Close other programs, or give this one more memory.",
            )
        return BackendError(
            f"{self.called}: the process in which it was first opened ended by itself ({how}): the runtime crashed.",
            Remedy("Choose another backend", option="backend"),
        )


@dataclass(frozen=True)
class FirstOpening:
    """What is opened: a bundle's network in a precision, by a backend.

    reports: as of `open_session`. keep: whether the engine that is built and the self-test that is passed are kept.
    """

    bundle: Bundle
    backend: str
    precision: Precision
    threads: int
    reports: int = 0
    keep: bool = True

    def run(self, seconds: float, progress: Progress | None = None) -> None:
        """Open and self-test it in a process of its own, if one can be started.

        Raises:
            MmcafError: as `Apart.run`, and what opening and self-test raise.
        """
        given = {"backend": self.backend, "precision": self.precision, "threads": self.threads, "reports": self.reports}
        called = f"{self.bundle.manifest.name} in {self.backend} {self.precision}"
        done = "open and self-tested"
        Apart(self.bundle, _OPEN, given, called, done, self.keep).run(seconds, progress)


def first_of(bundle: Bundle, backend: Backend, reports: int = 0, *, keep: bool = True) -> Callable[[], None] | None:
    """What is to be done before a backend opens what it has not opened here before, as `open_backend` calls it: wait
    until that is wanted, and try it in a process of its own; None where nobody wants either."""
    awaited, seconds = _awaited.get(), cancel.open_timeout()
    if seconds is None:
        return awaited
    opening = FirstOpening(bundle, backend.name, backend.precision, backend.threads, reports, keep)

    def first() -> None:
        if awaited is not None:
            awaited()
        opening.run(seconds, backend.progress)

    return first


def done_apart(
    bundle: Bundle, work: str, given: Mapping[str, Any], *, called: str, done: str, progress: Progress | None = None
) -> Any:
    """What `Apart` gives, where the caller wants that; else, and where it cannot be, `NOT_APART`.

    Raises:
        MmcafError: as `Apart.run`.
    """
    seconds = cancel.open_timeout()
    return NOT_APART if seconds is None else Apart(bundle, work, given, called, done).run(seconds, progress)


def can_start() -> bool:
    """Whether there is a Python to start a process with; not in a program that was frozen into one file."""
    return bool(sys.executable) and not getattr(sys, "frozen", False) and Path(sys.executable).exists()


def _forward(stream: IO[bytes], replies: "SimpleQueue[bytes | None]") -> None:
    for line in stream:
        replies.put(line)
    replies.put(None)
