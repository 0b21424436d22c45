"""A session that opens in a thread, beside other work of its caller."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from ..bundle.bundle import Bundle, load_bundle
from ..bundle.default import default_bundle
from ..cancel import (
    POLL_SECONDS,
    CancelToken,
    Progress,
    are_limits,
    check,
    leave,
    leave_open,
    limited,
    open_timeout,
    wait_for,
)
from ..errors import CancelledError, DeadlineError
from ..manifest import named_precision
from ..timing import Stopwatch, waiting
from .first_opening import first_opening_after
from .session import Session, open_session

_LEAVING = (CancelledError, DeadlineError)


class BackgroundSession:
    """Opens from `begin` or `start` on and is closed with the block; one whose limits end leaves the opening behind.

    So does one whom Ctrl-C ends, if there are limits or a time to open in (`cancel.opening_within`); else it is waited
    for. Before `start`, a network is opened only if that is quick and known to end well: one whose pass of the
    self-test is remembered here, with the engine that passed it. Such a one is warmed up until somebody needs it.

    Args:
        bundle: of the session to come.
        open_session: opens it, telling of an engine that is built; called in a thread.
        progress: told ("open", 0, 1) and ("open", 1, 1) on the caller's thread while that waits, and of an engine that
            is built from the other one.
        leave_open: whether the session is left open after the block, for the end of the process to release, as in a
            program that ends soon (`cancel.are_left`): what a runtime releases itself keeps Python waiting.
    """

    def __init__(
        self,
        bundle: Bundle,
        open_session: Callable[[Progress], Session],
        progress: Progress | None = None,
        *,
        leave_open: bool = False,
    ) -> None:
        self.bundle = bundle
        self._leave_open = leave_open
        self._open = open_session
        self._progress = progress or (lambda stage, done, total: None)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="open")
        self._session: Future[Session] | None = None
        self._telling = threading.Lock()
        self._wanted = threading.Event()
        self._loads = threading.Event()
        self._waited_for = False
        self._left = CancelToken()
        self._needed = CancelToken()
        self._ends = are_limits() or open_timeout() is not None

    def begin(self) -> None:
        """Open it if that takes no building and no self-test, else wait for `start`; further calls do nothing."""
        if self._session is None:
            self._session = self._thread.submit(copy_context().run, self._open_until_left)
            self._thread.submit(copy_context().run, self._warm_up, self._session)

    def start(self) -> None:
        """Open it, whatever that takes: there is something to answer. Further calls do nothing."""
        self._wanted.set()
        self.begin()

    def wait_until_loading(self) -> None:
        """Wait until its runtime loads a kept engine or a model, or waits for `start`, or has failed.

        Until then it imports modules, as its caller may have to. Python does this for one thread at a time; if the two
        took turns, the runtime would begin later, and it is the one that then needs no more of Python.

        Raises:
            CancelledError, DeadlineError: as `cancel.check`.
        """
        while self._session is not None and not self._loads.wait(POLL_SECONDS):
            check()

    def session(self) -> Session:
        """The session, once it is open; raises what its opening raised."""
        self.start()
        self._needed.cancel()
        if self._session is None:
            raise RuntimeError("the session was not started")
        with self._telling:
            self._waited_for = True
            self._progress("open", 0, 1)
        with waiting():
            opened = wait_for(self._session)
        self._progress("open", 1, 1)
        return opened

    def _open_until_left(self) -> Session:
        limits = limited(self._left if self._ends else None)
        try:
            with limits, first_opening_after(self._wait_until_wanted, self._loads.set):
                return self._open(self._building)
        finally:
            self._loads.set()

    def _warm_up(self, opening: "Future[Session]") -> None:
        """Until the session is needed; what fails here fails again where somebody is told of it."""
        with suppress(Exception), limited(self._needed):
            check()
            opening.result().warm_up()

    def _wait_until_wanted(self) -> None:
        self._loads.set()
        with waiting():
            while not self._wanted.wait(POLL_SECONDS):
                check()
        if self._left.cancelled:
            raise CancelledError("Nobody waits for this session any more.")

    def _building(self, phase: str, done: int, total: int) -> None:
        """Of an engine; told on where nothing else is being told, and ended where nobody waits for it any more."""
        if self._left.cancelled:
            raise RuntimeError("nobody waits for this session")
        with self._telling:
            if self._waited_for:
                self._progress(phase, done, total)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.cancel()
        self._needed.cancel()
        self._wanted.set()
        leaving = isinstance(failure, _LEAVING) or (self._ends and not isinstance(failure, Exception | None))
        self._thread.shutdown(wait=not leaving)
        if self._session is None:
            return
        if failure is None and self._session.done() and self._session.exception() is None:
            self._close(self._session.result())
        else:
            self._session.add_done_callback(_discard_beside if leaving else _discard)

    def _close(self, opened: Session) -> None:
        """A failure of another package's backend is told, so that one is closed."""
        if self._leave_open and not opened.choice.backend.origin:
            leave_open(opened)
        else:
            opened.close()


def open_beside(
    bundle: str | Path | Bundle | None,
    *,
    backend: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
    watch: Stopwatch,
    leave_open: bool = False,
) -> tuple[BackgroundSession, str | None]:
    """A session that has begun to open, and a warning for its answers where nobody chose the bundle.

    Args:
        bundle: path or loaded bundle; by default the settings', then the demonstration.
        backend, precision, threads: as of `open_session`.
        progress, leave_open: as of `BackgroundSession`.
        watch: told of the spans "bundle" and "open".

    Raises:
        BundleError: refused; the message says why. What `open_session` raises, `BackgroundSession.session` does.
        UsageError: no precision of that name.
    """
    if precision != "auto":
        named_precision(precision)
    with watch.span("bundle"):
        opened, notice = _resolved(bundle)

    def open_own(building: Progress) -> Session:
        with watch.active(), watch.span("open"):
            return open_session(opened, backend=backend, precision=precision, threads=threads, progress=building)

    session = BackgroundSession(opened, open_own, progress, leave_open=leave_open)
    session.begin()
    return session, notice


def _resolved(bundle: str | Path | Bundle | None) -> tuple[Bundle, str | None]:
    if isinstance(bundle, Bundle):
        return bundle, None
    if bundle is not None:
        return load_bundle(bundle), None
    default = default_bundle()
    return load_bundle(default.path), default.notice


def _discard(opened: "Future[Session]") -> None:
    """Release a session, whoever left it; one that failed to open has released itself."""
    if not opened.cancelled() and opened.exception() is None:
        opened.result().discard()


def _discard_beside(opened: "Future[Session]") -> None:
    """As `_discard`, without waiting for what a runtime still does with it."""
    leave(partial(_discard, opened), name="close")
