"""How a caller follows long work, and ends it: progress, a token that cancels, and a deadline.

`limited` makes a token and a deadline those of a thread and, through `workers`, of the threads that help it; `check`
then ends the work wherever in the engine it is. Without them it does nothing.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic
from typing import TypeVar

from .errors import CancelledError, DeadlineError, UsageError

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total): "read" (files), "decode" (slices), "open" (the session), "infer" (windows).

Where a session must build an engine first, also with the phases of that, as its runtime names them. Called on the
caller's thread unless the function that takes it says otherwise.
"""

POLL_SECONDS = 0.05
"""How often something that cannot be told of an end looks for one."""

_Outcome = TypeVar("_Outcome")


class CancelToken:
    """Ends the work that it was given to, from any thread. One token may end several calls; it stays cancelled."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._callbacks: list[Callable[[], object]] = []

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled

    def cancel(self) -> None:
        """End the work; calling it twice is harmless."""
        with self._lock:
            self._cancelled = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def _add(self, callback: Callable[[], object]) -> None:
        with self._lock:
            if not self._cancelled:
                self._callbacks.append(callback)
                return
        callback()

    def _remove(self, callback: Callable[[], object]) -> None:
        with self._lock:
            if callback in self._callbacks:
                self._callbacks.remove(callback)


class _Limit:
    """One token and one deadline, and those around them."""

    def __init__(self, token: CancelToken | None, seconds: float | None, around: "_Limit | None") -> None:
        self.token = token
        self.seconds = seconds
        self.ends = None if seconds is None else monotonic() + seconds
        self.around = around

    def check(self) -> None:
        if self.around is not None:
            self.around.check()
        if self.token is not None and self.token.cancelled:
            raise CancelledError("Cancelled by the caller before there was an answer.")
        if self.ends is not None and monotonic() >= self.ends:
            raise DeadlineError(
                f"There was no answer within {self.seconds:g} s, the deadline that was given.", "Give more time."
            )


_current: ContextVar[_Limit | None] = ContextVar("limit", default=None)


@contextmanager
def limited(cancel: CancelToken | None = None, deadline: float | None = None) -> Iterator[None]:
    """Let the block end when the token is cancelled, or after so many seconds; limits around it hold as well.

    Raises:
        UsageError: the deadline is not above 0.
        CancelledError, DeadlineError: at the start, if that is so already; later from `check`.
    """
    if deadline is not None and not deadline > 0:
        raise UsageError(f"deadline: expected a number of seconds above 0, got {deadline:g}.")
    if cancel is None and deadline is None:
        check()
        yield
        return
    token = _current.set(_Limit(cancel, deadline, _current.get()))
    try:
        check()
        yield
    finally:
        _current.reset(token)


def check() -> None:
    """End the work if its caller wants that.

    Raises:
        CancelledError: the token was cancelled.
        DeadlineError: the deadline has passed.
    """
    limit = _current.get()
    if limit is not None:
        limit.check()


def wait_for(future: "Future[_Outcome]") -> _Outcome:
    """The outcome of another thread's work, unless the caller's limits end the waiting; the work itself goes on.

    Raises:
        CancelledError, DeadlineError: as `check`.
    """
    if _current.get() is None:
        return future.result()
    while True:
        check()
        try:
            return future.result(timeout=POLL_SECONDS)
        except NotYet:
            if future.done():
                raise


@contextmanager
def held(lock: threading.Lock) -> Iterator[None]:
    """Hold a lock for the block; waiting for it ends with the caller's limits.

    Raises:
        CancelledError, DeadlineError: as `check`.
    """
    if _current.get() is None:
        with lock:
            yield
        return
    while not lock.acquire(timeout=POLL_SECONDS):
        check()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def interrupting(interrupt: Callable[[], object]) -> Iterator[None]:
    """Call `interrupt`, from another thread, if the caller's limits end while the block runs.

    It is for a runtime that blocks this thread and can be told to stop. What the block raises after that becomes the
    reason for its end.

    Raises:
        CancelledError, DeadlineError: as `check`.
    """
    limits = _limits()
    tokens = [limit.token for limit in limits if limit.token is not None]
    ends = [limit.ends for limit in limits if limit.ends is not None]
    timer = threading.Timer(max(min(ends) - monotonic(), 0.0), interrupt) if ends else None
    try:
        for token in tokens:
            token._add(interrupt)
        if timer is not None:
            timer.daemon = True
            timer.start()
        yield
    except Exception:
        check()
        raise
    finally:
        for token in tokens:
            token._remove(interrupt)
        if timer is not None:
            timer.cancel()
            timer.join()


def _limits() -> list[_Limit]:
    found = []
    limit = _current.get()
    while limit is not None:
        found.append(limit)
        limit = limit.around
    return found
