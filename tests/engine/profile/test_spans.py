"""Spans: what of a time belongs to which stage, against a reference that looks at every instant, and in answers."""

import threading
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_factory import ct_series, hounsfield, save
from mmcaf_engine import infer, load_bundle, open_session, pipeline, timing
from mmcaf_engine.inputs.prepare import prepare
from mmcaf_engine.timing import Stopwatch, current_stopwatch, span, waiting
from mmcaf_engine.workers import Scratch, in_order
from tiny_bundle import SIZE

RECORD = {"sex": "F", "age": 63}

Planned = tuple[str, int, int]
"""Name ("" waits), first tick and one past the last."""


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.ticks = 0

    def __call__(self) -> float:
        return self.ticks / 1e3


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of every stopwatch: a tick is a millisecond."""
    found = Clock()
    monkeypatch.setattr(timing, "perf_counter", found)
    return found


def play(clock: Clock, watch: Stopwatch, planned: list[Planned]) -> None:
    """Enter and leave the spans of this thread at their ticks; they must be nested."""
    events = [(start, 1, -end, name) for name, start, end in planned]
    events += [(end, 0, -start, name) for name, start, end in planned]
    open_spans = []
    for at, begins, _, name in sorted(events):
        clock.ticks = at
        if begins:
            entered = watch.span(name)
            entered.__enter__()
            open_spans.append(entered)
        else:
            open_spans.pop().__exit__(None, None, None)


def innermost(planned: list[Planned], tick: int) -> list[str]:
    """Names of the spans that are open at a tick, the innermost last."""
    around = [(start, -end, name) for name, start, end in planned if start <= tick < end]
    return [name for _, _, name in sorted(around)]


def expected_account(caller: list[Planned], others: list[list[Planned]], ticks: int) -> dict[str, float]:
    """Tick by tick; "unaccounted" for what no stage has."""
    spent: dict[str, float] = {}
    for tick in range(ticks):
        stack = innermost(caller, tick)
        named = [name for name in stack if name]
        credited = named[-1:]
        if stack and not stack[-1]:
            busy = [found[-1] for track in others if (found := innermost(track, tick)) and found[-1]]
            credited = busy or credited
        for name in credited or ["unaccounted"]:
            spent[name] = spent.get(name, 0.0) + 1 / len(credited or [""])
    return spent


CASES: dict[str, tuple[list[Planned], list[list[Planned]]]] = {
    "one after the other": ([("read", 0, 4), ("decode", 4, 9)], []),
    "a gap": ([("read", 1, 4), ("decode", 6, 9)], []),
    "inside each other": ([("infer", 1, 19), ("copy_in", 2, 5), ("copy_out", 12, 18), ("write", 13, 15)], []),
    "waits for one": ([("decode", 0, 20), ("", 2, 18)], [[("decode", 3, 9), ("preprocess", 9, 17)]]),
    "waits for two": ([("decode", 0, 20), ("", 2, 18)], [[("decode", 3, 9)], [("preprocess", 6, 15)]]),
    "waits for nobody": ([("open", 0, 10), ("", 2, 8)], []),
    "waits outside a stage": ([("", 2, 8)], [[("open", 4, 6)]]),
    "helps without being waited for": ([("read", 0, 10)], [[("open", 2, 30)]]),
    "waits for one that waits": ([("infer", 0, 9), ("", 1, 8)], [[("decode", 2, 7), ("", 3, 5)], [("write", 4, 6)]]),
}


@pytest.mark.parametrize(("caller", "others"), CASES.values(), ids=CASES)
def test_every_instant_belongs_to_one_stage(caller: list[Planned], others: list[list[Planned]], clock: Clock) -> None:
    watch, ticks = Stopwatch(), 25
    play(clock, watch, caller)
    for number, track in enumerate(others):
        for name, start, end in sorted(track, key=lambda planned: planned[2]):
            watch.add(name, start / 1e3, end / 1e3, f"helper {number}")
    clock.ticks = ticks
    found = watch.account()
    expected = expected_account(caller, others, ticks)
    assert found.unaccounted_ms == pytest.approx(expected.pop("unaccounted", 0.0))
    assert found.stages == pytest.approx(expected)
    assert found.total_ms == ticks
    assert sum(found.stages.values()) + found.unaccounted_ms == pytest.approx(ticks)


@pytest.mark.parametrize("seed", range(8))
def test_sums_of_nested_spans_leave_out_what_is_inside(seed: int, clock: Clock) -> None:
    generator = np.random.default_rng(seed)
    planned: list[Planned] = []

    def fill(start: int, end: int, depth: int) -> None:
        at = start
        while at < end - 2 and depth < 4:
            at += int(generator.integers(0, 3))
            stop = min(end, at + int(generator.integers(2, 12)))
            if stop - at < 2:
                break
            planned.append((str(generator.choice(["read", "decode", "", "infer"])), at, stop))
            fill(at + 1, stop - 1, depth + 1)
            at = stop

    fill(0, 60, 0)
    watch = Stopwatch()
    play(clock, watch, planned)
    expected = Counter(found[-1] for tick in range(60) if (found := innermost(planned, tick)) and found[-1])
    assert len(planned) > 3
    assert {name: ms for name, ms in watch.stages_ms().items() if ms > 1e-9} == pytest.approx(dict(expected))


def test_spans_are_told_in_order_with_who_was_in_them(clock: Clock) -> None:
    watch = Stopwatch()
    play(clock, watch, [("infer", 2, 9), ("", 3, 8)])
    watch.add("infer", 4e-3, 6e-3, "GPU computing")
    assert watch.tracks == ("calling thread", "GPU computing")
    assert [(one.name, one.start_ms, one.end_ms, one.track) for one in watch.spans] == [
        ("infer", 2, 9, 0),
        ("infer", pytest.approx(4), pytest.approx(6), 1),
    ]


def test_workers_have_the_stopwatch_of_the_thread_that_asked_them() -> None:
    watch = Stopwatch()
    meeting = threading.Barrier(2, timeout=30)

    def work(job: int, scratch: Scratch) -> int:
        with span("decode"):
            meeting.wait()
        return job

    with watch.active(), closing(in_order(work, range(4), workers=2)) as outcomes:
        assert list(outcomes) == [0, 1, 2, 3]
    assert current_stopwatch() is None
    assert len(watch.spans) == 4
    assert {one.track for one in watch.spans} == {1, 2}
    assert all(name.startswith("slices") for name in watch.tracks[1:])


def test_without_a_stopwatch_nothing_is_noted() -> None:
    watch = Stopwatch()
    with span("read"), waiting():
        pass
    with watch.active(), span("read"):
        pass
    with span("read"):
        pass
    assert [one.name for one in watch.spans] == ["read"]


def test_a_span_that_fails_is_noted_and_the_error_goes_on() -> None:
    watch = Stopwatch()
    with watch.active(), pytest.raises(ValueError, match="wrong"), span("read"):
        raise ValueError("wrong")
    assert [one.name for one in watch.spans] == ["read"]


def test_threads_of_others_do_not_reach_a_stopwatch() -> None:
    watch = Stopwatch()

    def elsewhere() -> None:
        with span("read"):
            pass

    with watch.active():
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert watch.spans == ()


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_an_answer_names_every_stage_and_its_times_are_the_spans(
    backend: str, tmp_path: Path, tiny_bundle: Path
) -> None:
    study = save(ct_series(hounsfield(13, SIZE, SIZE)), tmp_path / "study")
    watch = Stopwatch()
    with open_session(load_bundle(tiny_bundle), backend=backend) as session:
        result = infer(study, RECORD, session=session, watch=watch)
    account = watch.account()
    stages = set(pipeline.STAGES) - {"bundle", "open", "explain", "write", "total"}
    assert set(account.stages) == set(watch.stages_ms()) == stages
    assert sum(account.stages.values()) + account.unaccounted_ms == pytest.approx(account.total_ms)
    assert {stage: result.timing_ms[stage] for stage in stages} == pytest.approx(watch.stages_ms(), abs=1e-3)
    counted = Counter(one.name for one in watch.spans)
    assert counted["infer"] >= len(result.windows)
    assert counted["preprocess"] >= result.study.slices
    inside = [one for one in watch.spans if one.track == 0]
    for one in inside:  # Of one thread, spans lie beside or inside each other.
        assert all(
            other.end_ms <= one.start_ms
            or one.end_ms <= other.start_ms
            or (other.start_ms <= one.start_ms and one.end_ms <= other.end_ms)
            or (one.start_ms <= other.start_ms and other.end_ms <= one.end_ms)
            for other in inside
        )


def test_what_is_explained_and_drawn_are_stages_of_their_own(tmp_path: Path, tiny_bundle: Path) -> None:
    study = save(ct_series(hounsfield(5, SIZE, SIZE)), tmp_path / "study")
    asked: dict[str, Any] = {"explain": "occlusion", "heatmap": tmp_path / "map.png"}
    result = infer(study, RECORD, bundle=tiny_bundle, backend="onnxruntime", **asked)
    assert tuple(result.timing_ms) == pipeline.STAGES


def test_opening_a_session_beside_does_not_count_its_self_test_as_inference(tmp_path: Path, tiny_bundle: Path) -> None:
    study = save(ct_series(hounsfield(4, SIZE, SIZE)), tmp_path / "study")
    watch = Stopwatch()
    result = infer(study, RECORD, bundle=tiny_bundle, backend="onnxruntime", watch=watch)
    opening = [one for one in watch.spans if one.name == "open"]
    assert len(opening) == 1 and opening[0].track != 0
    assert {one.name for one in watch.spans if one.track == opening[0].track} == {"open"}
    assert result.timing_ms["open"] == pytest.approx(opening[0].end_ms - opening[0].start_ms, abs=1e-3)


def test_preparing_alone_needs_no_stopwatch(tmp_path: Path, tiny_bundle: Path) -> None:
    study = save(ct_series(hounsfield(5, SIZE, SIZE)), tmp_path / "study")
    assert len(prepare(study, RECORD, load_bundle(tiny_bundle).manifest)) == 2
