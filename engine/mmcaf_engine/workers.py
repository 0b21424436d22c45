"""Work on the slices of a study in a few threads, each of which keeps its memory from slice to slice."""

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import cancel
from .timing import waiting

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")

WORKERS = min(4, os.cpu_count() or 1)


class Scratch:
    """Arrays that one thread uses again and again: the first touch of fresh memory costs more than most arithmetic."""

    def __init__(self) -> None:
        self._kept: dict[str, NDArray[Any]] = {}

    def array(self, use: str, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
        """The array of this use, with whatever was left in it."""
        kept = self._kept.get(use)
        if kept is None or kept.shape != shape or kept.dtype != dtype:
            kept = self._kept[use] = np.empty(shape, dtype)
        return kept


def in_order(
    work: Callable[[Job, Scratch], Outcome], jobs: Sequence[Job], workers: int | None = None
) -> Generator[Outcome]:
    """Each job's outcome in the jobs' order, whichever was done first.

    The first error in that order is raised; then, or when the iterator is closed, jobs that have not begun
    are dropped and the others waited for. Jobs have the caller's stopwatch and limits.

    Args:
        workers: threads; WORKERS without it.
    """
    own = threading.local()

    def run(job: Job) -> Outcome:
        cancel.check()
        if not hasattr(own, "scratch"):
            own.scratch = Scratch()
        return work(job, own.scratch)

    with ThreadPoolExecutor(workers or WORKERS, thread_name_prefix="slices") as pool:
        futures = [pool.submit(copy_context().run, run, job) for job in jobs]
        try:
            for future in futures:
                with waiting():
                    outcome = cancel.wait_for(future)
                yield outcome
        finally:
            for future in futures:
                future.cancel()


def each_slice(values: NDArray[Any], receive: Callable[[int, NDArray[Any], Scratch], None]) -> None:
    """Call `receive` in a few threads with (index, slice [H, W], the thread's scratch) of every slice of [S, H, W]."""

    def run(index: int, scratch: Scratch) -> None:
        receive(index, values[index], scratch)

    with closing(in_order(run, range(len(values)))) as outcomes:
        deque(outcomes, maxlen=0)
