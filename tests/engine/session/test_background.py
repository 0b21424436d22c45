"""A session that opens beside other work: whom it tells how, and what becomes of it when nobody waits any more."""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mmcaf_engine.backends.onnxruntime.backend import OnnxRuntimeBackend
from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.cancel import Progress
from mmcaf_engine.errors import BundleError, CancelledError, UsageError
from mmcaf_engine.session.background import BackgroundSession, open_beside
from mmcaf_engine.session.session import Session, open_session
from mmcaf_engine.timing import Stopwatch

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


def test_one_is_closed_beside_what_follows_where_the_program_ends_soon(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    closed = threading.Event()

    def close(self: OnnxRuntimeBackend) -> None:
        threads.append(threading.current_thread().name)
        closed.set()

    monkeypatch.setattr(OnnxRuntimeBackend, "_close", close)
    for beside, thread in ((True, "close"), (False, threading.current_thread().name)):
        closed.clear()
        opening, _ = open_beside(tiny_bundle, backend="onnxruntime", watch=Stopwatch(), close_beside=beside)
        with opening:
            opening.session()
        assert closed.wait(SECONDS) and threads[-1] == thread


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
