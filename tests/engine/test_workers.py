"""Threads that work on slices: their memory, their order, and what ends them."""

import threading
import time
from contextlib import closing

import numpy as np
import pytest
from numpy.typing import NDArray

from mmcaf_engine.cancel import CancelToken, are_limits, limited
from mmcaf_engine.errors import CancelledError
from mmcaf_engine.timing import Stopwatch, current_stopwatch
from mmcaf_engine.workers import Scratch, each_slice, in_order


def test_memory_is_used_again_for_the_same_use_shape_and_type() -> None:
    scratch = Scratch()
    first = scratch.array("plane", (3, 5), np.float32)
    first[...] = 7
    assert scratch.array("plane", (3, 5), np.float32) is first
    assert scratch.array("other", (3, 5), np.float32) is not first
    for shape, dtype in (((3, 5), np.int16), ((5, 3), np.int16), ((5, 3), np.float64)):
        other = scratch.array("plane", shape, dtype)
        assert (other.shape, other.dtype) == (shape, dtype)


def test_a_thread_keeps_its_memory_from_job_to_job() -> None:
    with closing(in_order(lambda job, scratch: scratch, range(5), workers=1)) as outcomes:
        assert len({id(scratch) for scratch in list(outcomes)}) == 1


def test_outcomes_come_in_the_order_of_the_jobs() -> None:
    done = threading.Event()

    def work(job: int, scratch: Scratch) -> int:
        if job:
            done.set()
        else:
            assert done.wait(30)
        return job

    with closing(in_order(work, range(3), workers=2)) as outcomes:
        assert list(outcomes) == [0, 1, 2]


def test_the_first_error_in_that_order_is_raised_and_what_has_not_begun_is_dropped() -> None:
    begun = []

    def work(job: int, scratch: Scratch) -> int:
        begun.append(job)
        time.sleep(0.02)
        if job == 1:
            raise ValueError("job 1")
        return job

    with closing(in_order(work, range(50), workers=1)) as outcomes:
        assert next(outcomes) == 0
        with pytest.raises(ValueError, match="job 1"):
            next(outcomes)
    assert len(begun) < 10


def test_jobs_know_the_callers_stopwatch_and_limits() -> None:
    watch = Stopwatch()
    with watch.active(), limited(CancelToken()):
        seen = list(in_order(lambda job, scratch: (current_stopwatch(), are_limits()), range(3), workers=2))
    assert seen == [(watch, True)] * 3


def test_no_job_begins_once_the_caller_has_ended_the_work() -> None:
    token, ended, begun = CancelToken(), threading.Event(), []

    def work(job: int, scratch: Scratch) -> None:
        begun.append(job)
        assert job == 0 or ended.wait(30)

    with pytest.raises(CancelledError), limited(token), closing(in_order(work, range(9), workers=1)) as outcomes:
        next(outcomes)
        token.cancel()
        ended.set()
        time.sleep(0.1)  # Time in which the others could begin.
        next(outcomes)
    assert begun in ([0], [0, 1])


def test_every_slice_is_received_once_with_its_index() -> None:
    values = np.arange(5 * 2 * 3, dtype=np.int16).reshape(5, 2, 3)
    received: dict[int, NDArray[np.int16]] = {}

    def receive(index: int, plane: NDArray[np.int16], scratch: Scratch) -> None:
        assert index not in received
        received[index] = plane.copy()

    each_slice(values, receive)
    assert np.array_equal(np.stack([received[at] for at in range(5)]), values)
