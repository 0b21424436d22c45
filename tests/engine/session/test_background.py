"""A session that opens beside other work: whom it tells how, and what becomes of it when nobody waits any more."""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.cancel import Progress
from mmcaf_engine.errors import CancelledError
from mmcaf_engine.session.background import BackgroundSession
from mmcaf_engine.session.session import Session

SECONDS = 30


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
