"""How a caller follows long work, and ends it: progress, a token that cancels, and a deadline.

`limited` makes a token and a deadline those of a thread and, through `workers`, of the threads that help it; `check`
then ends the work wherever in the engine it is. Without them it does nothing. `opening_within` bounds what neither can
end, a runtime that first opens a network.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from time import monotonic
from typing import TypeVar
from weakref import WeakSet

from .errors import CancelledError, DeadlineError, UsageError

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total): "read" (files), "decode" (slices), "open" (the session), "infer" (windows),
"explain" (windows that an explanation takes more).

Where a session must build an engine first, also with the phases of that, as its runtime names them. Called on the
caller's thread unless the function that takes it says otherwise.
"""

POLL_SECONDS = 0.05
"""How often a thread that waits looks whether its caller has ended the work."""

_Outcome = TypeVar("_Outcome")


class CancelToken:
    """Ends the work that it was given to, from any thread. One token may end several calls; it stays cancelled."""

    def __init__(self) -> None:
        self._event = threading.Event()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._event.is_set()

    def cancel(self) -> None:
        """End the work; calling it twice is harmless."""
        self._event.set()


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
                f"There was no answer within the deadline of {self.seconds:g} s.", "Allow more time for it."
            )


_current: ContextVar[_Limit | None] = ContextVar("limit", default=None)
_open_timeout: ContextVar[float | None] = ContextVar("open_timeout", default=None)
_left: "WeakSet[threading.Thread]" = WeakSet()
_open: list[object] = []


@contextmanager
def limited(cancel: CancelToken | None = None, deadline: float | None = None) -> Iterator[None]:
    """End the block, by `check`, when the token is cancelled or so many seconds have passed; outer limits hold too.

    Raises:
        UsageError: the deadline is not a number above 0.
        CancelledError, DeadlineError: as `check`, at the start and at the end too, so that no outcome is late.
    """
    if deadline is not None and not deadline > 0:
        raise UsageError(f"deadline: expected a number of seconds above 0, got {deadline:g}.")
    limit = _Limit(cancel, deadline, _current.get())
    token = _current.set(limit if cancel is not None or deadline is not None else limit.around)
    try:
        check()
        yield
        check()
    finally:
        _current.reset(token)


def are_limits() -> bool:
    """Whether the caller gave any."""
    return _current.get() is not None


@contextmanager
def opening_within(seconds: float | None) -> Iterator[None]:
    """Within the block, a network of which no pass is remembered here is first opened in a process of its own.

    That process is ended after so many seconds, whatever its runtime does; None leaves it as it is outside the block.

    Raises:
        UsageError: not a number above 0.
    """
    if seconds is not None and not seconds > 0:
        raise UsageError(f"open_timeout: expected a number of seconds above 0, got {seconds:g}.")
    token = _open_timeout.set(_open_timeout.get() if seconds is None else seconds)
    try:
        yield
    finally:
        _open_timeout.reset(token)


def open_timeout() -> float | None:
    """The seconds of `opening_within`; None where networks are opened in this process at once."""
    return _open_timeout.get()


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
    if not are_limits():
        return future.result()
    while True:
        check()
        try:
            return future.result(timeout=POLL_SECONDS)
        except NotYet:
            if future.done():  # The work itself raised it.
                raise


def leave_behind(
    work: Callable[[], _Outcome],
    *,
    name: str,
    interrupt: Callable[[], object] | None = None,
    discard: Callable[[_Outcome], object] | None = None,
) -> _Outcome:
    """Do work that cannot look at the caller's limits itself, such as a runtime's; leave when those end.

    Without limits it is done on this thread. With limits it is done on one of its own, which ends when the work is
    done: what runs in a runtime cannot be stopped from outside, unless `interrupt` does. A process may end all the same
    (`are_left`). An exception in this thread, such as KeyboardInterrupt, ends the waiting too.

    Args:
        name: of that thread.
        interrupt: asks the work to end early.
        discard: takes what the work brings after the caller has left.

    Raises:
        CancelledError, DeadlineError: as `check`; and what the work raises.
    """
    if not are_limits():
        return work()
    future: Future[_Outcome] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as failure:
            future.set_exception(failure)

    thread = _start(copy_context().run, run, name=name)
    try:
        return wait_for(future)
    except BaseException:
        if future.done() and future.exception() is not None:
            raise
        _left.add(thread)
        if interrupt is not None:
            interrupt()
        if discard is not None:
            future.add_done_callback(lambda done: None if done.exception() else discard(done.result()))
        raise


def leave(work: Callable[[], object], *, name: str) -> None:
    """Do work that nobody waits for in a thread of this name."""
    _left.add(_start(work, name=name))


def _start(work: Callable[..., object], *arguments: object, name: str) -> threading.Thread:
    """A thread that does not keep its process from ending."""
    thread = threading.Thread(target=work, args=arguments, name=name, daemon=True)
    thread.start()
    return thread


def leave_open(held: object) -> None:
    """Keep what a runtime holds until this process ends, which then releases it at once (`are_left`)."""
    _open.append(held)


def are_left() -> bool:
    """Whether threads that were left still work, or something was left open: a program waits for neither at its end."""
    return bool(_open) or any(thread.is_alive() for thread in _left)
