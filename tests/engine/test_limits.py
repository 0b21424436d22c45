"""Limits by themselves: around each other, in threads of their own, and what is left behind when they end."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

import pytest

from mmcaf_engine.cancel import CancelToken, are_limits, check, leave_behind, limited, wait_for
from mmcaf_engine.errors import CancelledError, DeadlineError, UsageError
from mmcaf_engine.timing import Stopwatch, current_stopwatch

PATIENCE = 30.0
"""Seconds after which a test has failed."""


def cancelled() -> CancelToken:
    token = CancelToken()
    token.cancel()
    return token


def test_without_limits_nothing_ends() -> None:
    assert not are_limits()
    check()
    with limited():
        assert not are_limits()
        check()


def test_limits_hold_within_their_block_alone() -> None:
    with limited(CancelToken()):
        assert are_limits()
        with limited(), limited(deadline=PATIENCE):
            assert are_limits()
    assert not are_limits()
    with pytest.raises(CancelledError), limited(cancelled()):
        pytest.fail("it was to end before it began")
    assert not are_limits()


@pytest.mark.parametrize("seconds", [0, 0.0, -1, float("nan")])
def test_a_deadline_is_above_zero(seconds: float) -> None:
    with pytest.raises(UsageError), limited(deadline=seconds):
        pass


def test_a_deadline_that_has_not_passed_ends_nothing() -> None:
    with limited(deadline=PATIENCE):
        check()


@pytest.mark.parametrize(
    "inner", [{}, {"deadline": PATIENCE}, {"cancel": CancelToken()}], ids=["none", "time", "token"]
)
def test_what_lies_around_ends_what_is_inside(inner: dict[str, object]) -> None:
    outer = CancelToken()
    with pytest.raises(CancelledError), limited(outer), limited(**inner):  # type: ignore[arg-type]
        outer.cancel()
        check()
        pytest.fail("the outer token did not end the work")
    with pytest.raises(DeadlineError), limited(deadline=0.01), limited(**inner):  # type: ignore[arg-type]
        time.sleep(0.02)
        check()
        pytest.fail("the outer deadline did not end the work")


def test_work_that_was_late_brings_nothing() -> None:
    token = CancelToken()
    with pytest.raises(CancelledError), limited(token):
        token.cancel()


def test_what_takes_longer_than_a_look_is_waited_for() -> None:
    future: Future[int] = Future()
    timer = threading.Timer(0.15, future.set_result, (42,))
    timer.start()
    with limited(deadline=PATIENCE):
        assert wait_for(future) == 42


def test_a_time_out_of_the_work_itself_is_the_works() -> None:
    future: Future[int] = Future()
    future.set_exception(TimeoutError("of the work"))
    with limited(deadline=PATIENCE), pytest.raises(TimeoutError, match="of the work"):
        wait_for(future)


def test_work_with_limits_has_a_thread_that_knows_what_its_caller_knows() -> None:
    def work() -> tuple[int, bool, Stopwatch | None]:
        return threading.get_ident(), are_limits(), current_stopwatch()

    watch = Stopwatch()
    with watch.active():
        assert leave_behind(work, name="test") == (threading.get_ident(), False, watch)
        with limited(CancelToken()):
            thread, limits, seen = leave_behind(work, name="test")
    assert thread != threading.get_ident() and limits and seen is watch


def left(outcome: Callable[[], int]) -> tuple[list[str], list[int]]:
    """What happens when a caller leaves work that goes on: calls, and what was discarded."""
    token, go_on, calls = CancelToken(), threading.Event(), []
    discarded: list[int] = []

    def work() -> int:
        token.cancel()
        assert go_on.wait(PATIENCE)
        return outcome()

    with pytest.raises(CancelledError), limited(token):
        leave_behind(work, name="left", interrupt=lambda: calls.append("interrupt"), discard=discarded.append)
    assert discarded == []
    go_on.set()
    for thread in threading.enumerate():
        if thread.name == "left":
            thread.join(PATIENCE)
    return calls, discarded


def test_work_that_is_left_is_interrupted_and_its_outcome_discarded() -> None:
    assert left(lambda: 7) == (["interrupt"], [7])


def test_work_that_is_left_and_fails_has_nothing_to_discard() -> None:
    assert left(lambda: 1 // 0) == (["interrupt"], [])


def test_work_that_is_not_left_is_neither() -> None:
    with limited(CancelToken()):
        assert leave_behind(lambda: 7, name="test", interrupt=pytest.fail, discard=pytest.fail) == 7
