"""A session that opens beside other work: whom it tells how, and what becomes of it when nobody waits any more."""

import mmap
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mmcaf_engine.backends.onnxruntime.backend import OnnxRuntimeBackend
from mmcaf_engine.backends.openvino.backend import OpenVinoBackend
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.bundle.golden import one_window
from mmcaf_engine.cancel import CancelToken, Progress, are_left, limited
from mmcaf_engine.errors import BackendError, BundleError, CancelledError, UsageError
from mmcaf_engine.session.background import BackgroundSession, open_beside
from mmcaf_engine.session.session import Session, open_session
from mmcaf_engine.timing import Stopwatch
from mmcaf_engine.volume import Arrays

SECONDS = 30


@dataclass
class Openings:
    """Of one bundle in ONNX Runtime: whether one waits to be wanted, and whether its runtime was given the network."""

    bundle: Path
    waits: threading.Event = field(default_factory=threading.Event)
    opens: threading.Event = field(default_factory=threading.Event)

    def begun(self) -> BackgroundSession:
        return open_beside(self.bundle, backend="onnxruntime", watch=Stopwatch())[0]


@pytest.fixture
def openings(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Openings:
    """With a cache in which nothing is remembered."""
    found = Openings(tiny_bundle)
    load = OnnxRuntimeBackend._open

    def opening(self: OnnxRuntimeBackend) -> None:
        found.opens.set()
        load(self)

    monkeypatch.setenv("MMCAF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("mmcaf_engine.session.background.check", found.waits.set)  # now and then, while it waits
    monkeypatch.setattr(OnnxRuntimeBackend, "_open", opening)
    return found


def test_what_was_never_opened_here_waits_until_it_is_wanted(openings: Openings) -> None:
    with openings.begun() as opening:
        assert openings.waits.wait(SECONDS) and not openings.opens.is_set()
        opening.start()
        assert opening.session().describe()["self_test"]["remembered"] is False
        assert openings.opens.is_set()


def test_what_has_passed_here_opens_at_once(openings: Openings) -> None:
    open_session(load_bundle(openings.bundle), backend="onnxruntime").close()
    openings.opens.clear()
    with openings.begun() as opening:
        assert openings.opens.wait(SECONDS) and not openings.waits.is_set()
        assert opening.session().describe()["self_test"]["remembered"] is True


def test_one_that_waits_is_not_opened_when_its_caller_leaves(openings: Openings) -> None:
    with pytest.raises(ValueError, match="elsewhere"), openings.begun():
        assert openings.waits.wait(SECONDS)
        raise ValueError("elsewhere")
    assert not openings.opens.is_set()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("open")]


def test_what_cannot_be_opened_at_all_is_said_at_once(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="fp99"):
        open_beside(tiny_bundle, precision="fp99", watch=Stopwatch())
    with pytest.raises(BundleError):
        open_beside(tmp_path / "none.mmcaf", watch=Stopwatch())


@dataclass
class Opened:
    """In place of a session: whether it was closed, or discarded."""

    closed: threading.Event = field(default_factory=threading.Event)
    discarded: threading.Event = field(default_factory=threading.Event)

    def close(self) -> None:
        self.closed.set()

    def discard(self) -> None:
        self.discarded.set()


def test_a_session_is_closed_with_the_block(tiny_bundle: Path) -> None:
    session: Any = Opened()
    with BackgroundSession(load_bundle(tiny_bundle), lambda building: session) as opening:
        assert opening.session() is session and not session.closed.is_set()
    assert session.closed.is_set() and not session.discarded.is_set()


def test_one_that_is_open_is_released_though_something_else_has_failed(tiny_bundle: Path) -> None:
    session: Any = Opened()
    opening = BackgroundSession(load_bundle(tiny_bundle), lambda building: session)
    with pytest.raises(ValueError, match="elsewhere"), opening:
        opening.start()
        raise ValueError("elsewhere")
    assert session.discarded.is_set() and not session.closed.is_set()


def test_one_is_left_open_where_the_program_ends_soon(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []
    monkeypatch.setattr(OnnxRuntimeBackend, "_close", lambda self: closed.append(self.name))
    monkeypatch.setattr("mmcaf_engine.cancel._open", [])
    for left in (False, True):
        closed.clear()
        opening, _ = open_beside(tiny_bundle, backend="onnxruntime", watch=Stopwatch(), leave_open=left)
        with opening:
            session = opening.session()
        assert (closed == []) is left and are_left() is left
    session.close()


def test_one_that_opens_after_everybody_has_left_is_released(tiny_bundle: Path) -> None:
    session: Any = Opened()
    left = threading.Event()

    def late(building: Progress) -> Any:
        assert left.wait(SECONDS)
        return session

    with pytest.raises(CancelledError), BackgroundSession(load_bundle(tiny_bundle), late) as opening:
        opening.start()
        raise CancelledError("the caller has left")
    assert not session.discarded.is_set()
    left.set()
    assert session.discarded.wait(SECONDS)


def test_its_runtime_is_waited_for_until_it_loads_what_is_kept(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_session(load_bundle(tiny_bundle), backend="openvino").close()
    loads, goes_on = threading.Event(), threading.Event()
    load = OpenVinoBackend._import

    def loading(self: OpenVinoBackend, engine: mmap.mmap) -> None:
        loads.set()
        assert goes_on.wait(SECONDS)
        load(self, engine)

    monkeypatch.setattr(OpenVinoBackend, "_import", loading)
    opening, _ = open_beside(tiny_bundle, backend="openvino", watch=Stopwatch())
    with opening:
        opening.wait_until_loading()  # which does not wait until it is loaded
        assert loads.wait(SECONDS)
        goes_on.set()
        assert opening.session().describe()["cache_hit"]


def test_what_waits_to_be_wanted_or_fails_is_not_waited_for(openings: Openings) -> None:
    with openings.begun() as opening:
        opening.wait_until_loading()
        assert not openings.opens.is_set()

    def fails(building: Progress) -> Session:
        raise BundleError("damaged")

    with BackgroundSession(load_bundle(openings.bundle), fails) as failing:
        failing.wait_until_loading()  # before anything has begun
        failing.begin()
        failing.wait_until_loading()
        with pytest.raises(BundleError, match="damaged"):
            failing.session()


def test_whoever_waits_for_the_runtime_leaves_when_the_limits_end(tiny_bundle: Path) -> None:
    goes_on = threading.Event()
    token = CancelToken()

    def slow(building: Progress) -> Any:
        token.cancel()
        assert goes_on.wait(SECONDS)
        return Opened()

    with pytest.raises(CancelledError), limited(token), BackgroundSession(load_bundle(tiny_bundle), slow) as opening:
        opening.begin()
        opening.wait_until_loading()
    goes_on.set()


@dataclass
class Windows:
    """Of one bundle in ONNX Runtime: those that were run, and by which threads."""

    threads: list[str] = field(default_factory=list)
    run: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def windows(openings: Openings, monkeypatch: pytest.MonkeyPatch) -> Windows:
    """Since its pass was remembered."""
    open_session(load_bundle(openings.bundle), backend="onnxruntime").close()
    found = Windows()
    infer = OnnxRuntimeBackend._infer

    def counted(self: OnnxRuntimeBackend, window: Arrays) -> Arrays:
        found.threads.append(threading.current_thread().name)
        try:
            return infer(self, window)
        finally:
            found.run.set()

    monkeypatch.setattr(OnnxRuntimeBackend, "_infer", counted)
    return found


def test_a_session_that_nobody_needs_yet_is_warmed_up(openings: Openings, windows: Windows) -> None:
    with openings.begun() as opening:
        assert windows.run.wait(SECONDS)
        session = opening.session()
        assert len(windows.threads) == 1 and windows.threads != [threading.current_thread().name]
        assert session.describe()["self_test"]["remembered"]


def test_one_that_is_needed_already_is_not(openings: Openings, windows: Windows) -> None:
    with openings.begun() as opening:
        opening._needed.cancel()
        assert opening.session().backend == "onnxruntime"
    assert not windows.threads


def test_one_whose_self_test_has_just_run_is_not(openings: Openings, windows: Windows) -> None:
    with open_session(load_bundle(openings.bundle), backend="onnxruntime", threads=1) as session:
        assert not session.describe()["self_test"]["remembered"]
        windows.threads.clear()
        session.warm_up()
    assert not windows.threads


def test_what_fails_while_it_is_warmed_up_is_told_when_it_is_asked(openings: Openings, windows: Windows) -> None:
    def fails(self: OnnxRuntimeBackend, window: Arrays) -> Arrays:
        windows.run.set()
        raise RuntimeError("the runtime fails")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OnnxRuntimeBackend, "_infer", fails)
        with openings.begun() as opening:
            assert windows.run.wait(SECONDS)
            session = opening.session()
            with pytest.raises(BackendError, match="RuntimeError"):
                session.run(one_window(session.bundle))


def test_building_is_told_of_only_while_the_caller_waits_for_it(tiny_bundle: Path) -> None:
    """Before that, the caller may be telling of its own work."""
    told: list[tuple[str, int, int]] = []
    early, waits = threading.Event(), threading.Event()

    def tell(*step: Any) -> None:
        told.append(step)  # type: ignore[arg-type]
        waits.set()

    def build(building: Progress) -> Any:
        building("building", 1, 2)
        early.set()
        assert waits.wait(SECONDS)
        building("building", 2, 2)
        return Opened()

    with BackgroundSession(load_bundle(tiny_bundle), build, tell) as opening:
        opening.start()
        assert early.wait(SECONDS) and told == []
        opening.session()
    assert told == [("open", 0, 1), ("building", 2, 2), ("open", 1, 1)]


def test_an_engine_that_nobody_waits_for_is_built_no_further(tiny_bundle: Path) -> None:
    begun, left, ended = threading.Event(), threading.Event(), threading.Event()

    def build(building: Progress) -> Session:
        begun.set()
        left.wait(SECONDS)
        try:
            building("building the engine", 1, 2)
        except RuntimeError:
            ended.set()
        raise RuntimeError("of the builder")

    with pytest.raises(CancelledError), BackgroundSession(load_bundle(tiny_bundle), build) as opening:
        opening.start()
        assert begun.wait(SECONDS)
        raise CancelledError("the caller has left")
    left.set()
    assert ended.wait(SECONDS)
