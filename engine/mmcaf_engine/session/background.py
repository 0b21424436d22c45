"""A session that opens in a thread, beside other work of its caller."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from types import TracebackType
from typing import Self

from ..bundle.bundle import Bundle
from ..cancel import CancelToken, Progress, are_limits, leave, limited, open_timeout, wait_for
from ..errors import CancelledError, DeadlineError
from ..timing import waiting
from .session import Session

_LEAVING = (CancelledError, DeadlineError)


class BackgroundSession:
    """Opens from `start` on and is closed with the block; a caller whose limits end leaves the opening behind.

    So does one whom Ctrl-C ends, if there are limits or a time to open in (`cancel.opening_within`); else it is waited
    for.

    Args:
        bundle: of the session to come.
        open_session: opens it, telling of an engine that is built; called in a thread.
        progress: told ("open", 0, 1) and ("open", 1, 1) on the caller's thread while that waits, and of an engine that
            is built from the other one.
    """

    def __init__(
        self, bundle: Bundle, open_session: Callable[[Progress], Session], progress: Progress | None = None
    ) -> None:
        self.bundle = bundle
        self._open = open_session
        self._progress = progress or (lambda stage, done, total: None)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="open")
        self._session: Future[Session] | None = None
        self._telling = threading.Lock()
        self._waited_for = False
        self._left = CancelToken()
        self._ends = are_limits() or open_timeout() is not None

    def start(self) -> None:
        """Begin; further calls do nothing."""
        if self._session is None:
            self._session = self._thread.submit(copy_context().run, self._open_until_left)

    def session(self) -> Session:
        """The session, once it is open; raises what its opening raised."""
        self.start()
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
        with limited(self._left if self._ends else None):
            return self._open(self._building)

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
        leaving = isinstance(failure, _LEAVING) or (self._ends and not isinstance(failure, Exception | None))
        self._thread.shutdown(wait=not leaving)
        if self._session is None:
            return
        if failure is None and self._session.done() and self._session.exception() is None:
            self._session.result().close()
        else:
            self._session.add_done_callback(_discard_beside if leaving else _discard)


def _discard(opened: "Future[Session]") -> None:
    """Release a session, whoever left it; one that failed to open has released itself."""
    if not opened.cancelled() and opened.exception() is None:
        opened.result().discard()


def _discard_beside(opened: "Future[Session]") -> None:
    """As `_discard`, without waiting for what a runtime still does with it."""
    leave(partial(_discard, opened), name="close")
