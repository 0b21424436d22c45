"""Turn-taking: one caller works on a runtime at a time, and one with limits leaves its work behind when they end."""

import threading
from collections.abc import Callable
from typing import TypeVar

from .. import cancel
from ..timing import waiting

_Outcome = TypeVar("_Outcome")


class Turns:
    """The turns on one runtime. `lock` is held by whoever works on it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._changing = threading.Lock()
        self._turn: object = None

    def take(
        self, work: Callable[[], _Outcome], *, ready: Callable[[], None], interrupt: Callable[[], None]
    ) -> _Outcome:
        """Do a runtime's work while no other thread does.

        A caller with limits leaves it when those end; the runtime is asked to stop, and the next call waits for it.

        Args:
            ready: raises where nothing can be worked on; called when the turn has come.
            interrupt: asks the runtime to give up the work; called from another thread, and only while it is this work.

        Raises:
            CancelledError, DeadlineError: as `cancel.check`.
        """
        turn = object()

        def alone() -> _Outcome:
            with self.lock:
                cancel.check()
                ready()
                with self._changing:
                    self._turn = turn
                try:
                    return work()
                finally:
                    with self._changing:
                        self._turn = None

        def stop() -> None:
            with self._changing:
                if self._turn is turn:  # Never what another caller waits for.
                    interrupt()

        if not cancel.are_limits():
            return alone()
        with waiting():
            return cancel.leave_behind(alone, name="infer", interrupt=stop)
