"""Times that were measured elsewhere, and instants that lie beside a stopwatch's own."""

import pytest

from mmcaf_engine import timing
from mmcaf_engine.timing import Stopwatch


class Clock:
    """Seconds, as they are set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(timing, "perf_counter", found)
    return found


def test_spans_that_begin_together_lie_inside_each_other(clock: Clock) -> None:
    watch = Stopwatch()
    for name, start, end in (("copy_in", 1, 3), ("infer", 1, 6), ("write", 6, 7)):
        watch.add(name, start, end, "GPU")
    assert watch.stages_ms() == {"copy_in": 2000, "infer": 3000, "write": 1000}


def test_one_that_begins_where_another_ends_lies_beside_it(clock: Clock) -> None:
    watch = Stopwatch()
    for name, start, end in (("read", 0, 2), ("decode", 2, 5)):
        watch.add(name, start, end, "helper")
    assert watch.stages_ms() == {"read": 2000, "decode": 3000}


def test_only_time_since_the_stopwatch_was_made_and_until_now_is_shared_out(clock: Clock) -> None:
    clock.now = 10.0
    watch = Stopwatch()
    with watch.active(), timing.span("infer"):
        clock.now = 11.0
        with timing.waiting():
            clock.now = 19.0
        clock.now = 20.0
    watch.add("read", 5, 14, "helper")
    watch.add("decode", 16, 30, "helper")
    found = watch.account()
    assert found.total_ms == 10_000
    assert found.stages == pytest.approx({"read": 3000, "infer": 4000, "decode": 3000})
    assert found.unaccounted_ms == pytest.approx(0)


def test_of_spans_that_begin_together_the_inner_one_has_the_time(clock: Clock) -> None:
    watch = Stopwatch()
    with watch.active(), timing.span("open"):
        clock.now = 1.0
        with timing.waiting():
            clock.now = 9.0
        clock.now = 10.0
    for name, start, end in (("copy_in", 2, 4), ("infer", 2, 7), ("copy_out", 7, 8)):
        watch.add(name, start, end, "GPU")
    expected = {"open": 1000 + 1000 + 1000 + 1000, "copy_in": 2000, "infer": 3000, "copy_out": 1000}
    assert watch.account().stages == pytest.approx(expected)
