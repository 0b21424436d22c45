"""Turns on a runtime: one at a time, none once the caller's limits have ended, and none of what is closed."""

import threading

import pytest

from mmcaf_engine.backends.turns import Turns
from mmcaf_engine.cancel import CancelToken, limited
from mmcaf_engine.errors import CancelledError, DeadlineError


def unused() -> None:
    raise AssertionError("nobody gave up")


def test_one_after_the_other() -> None:
    turns, at_work, most = Turns(), 0, 0

    def work() -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        threading.Event().wait(0.01)
        at_work -= 1

    threads = [
        threading.Thread(target=turns.take, args=(work,), kwargs={"ready": int, "interrupt": unused}) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, at_work) == (1, 0) and not turns.lock.locked()


def test_what_is_not_ready_is_not_worked_on() -> None:
    def closed() -> None:
        raise RuntimeError("closed")

    turns = Turns()
    with pytest.raises(RuntimeError, match="closed"):
        turns.take(unused, ready=closed, interrupt=unused)
    assert turns.take(lambda: 3, ready=int, interrupt=unused) == 3


def test_a_turn_that_comes_too_late_is_not_taken() -> None:
    """Who waited for the turn beyond the limits does no work when it comes at last."""
    turns, done = Turns(), []
    with turns.lock:
        with pytest.raises(DeadlineError), limited(deadline=0.05):
            turns.take(lambda: done.append("worked"), ready=lambda: done.append("ready"), interrupt=unused)
        left = [thread for thread in threading.enumerate() if thread.name == "infer"]
        assert left
    for thread in left:
        thread.join(10)
    assert done == []


def test_nobody_ends_what_another_caller_waits_for() -> None:
    turns, began, end, told = Turns(), threading.Event(), threading.Event(), threading.Event()

    def work() -> bool:
        began.set()
        return end.wait(10)

    first = threading.Thread(target=turns.take, args=(work,), kwargs={"ready": int, "interrupt": unused})
    first.start()
    assert began.wait(10)
    with pytest.raises(DeadlineError), limited(deadline=0.05):
        turns.take(int, ready=int, interrupt=told.set)
    end.set()
    first.join(10)
    assert not told.is_set()


def test_giving_up_ends_the_work_that_is_given_up() -> None:
    turns, token, told, began = Turns(), CancelToken(), threading.Event(), threading.Event()

    def work() -> bool:
        began.set()
        return told.wait(10)

    def cancel() -> None:
        assert began.wait(10)
        token.cancel()

    threading.Thread(target=cancel).start()
    with pytest.raises(CancelledError), limited(token):
        turns.take(work, ready=int, interrupt=told.set)
    assert told.wait(10)
