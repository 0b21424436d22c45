"""A process says that it is ready for as long as it lives, and nothing of the one that took its place."""

import os
from contextlib import closing
from pathlib import Path

import pytest

from mmcaf_engine.service.database import open_database
from mmcaf_engine.service.life import alive


def test_who_ends_does_not_say_it_of_its_successor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor was killed, and the next one's processes are ready before the last one's have ended."""
    with closing(open_database(tmp_path)) as memory:

        def row() -> tuple[int, int]:
            found = memory.execute("select pid, ready from process where role = 'web'").fetchone()
            return int(found["pid"]), int(found["ready"])

        with alive(memory, "web"):
            monkeypatch.setattr(os, "getpid", lambda: 7)
            with alive(memory, "web"):
                monkeypatch.undo()
                memory.execute("update process set seen = 0")
                assert row() == (7, 1)
        assert row() == (7, 1)
