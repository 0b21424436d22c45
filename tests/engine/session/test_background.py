"""A session that opens beside other work, when nobody waits for it any more."""

import threading
from pathlib import Path

import pytest

from mmcaf_engine.bundle.bundle import load_bundle
from mmcaf_engine.cancel import Progress
from mmcaf_engine.errors import CancelledError
from mmcaf_engine.session.background import BackgroundSession
from mmcaf_engine.session.session import Session

SECONDS = 30


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
