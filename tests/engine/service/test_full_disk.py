"""A disk that is full at each step: senders hear of it, nothing is half there or lost, and all goes on by itself."""

import errno
import json
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from counterparts import need
from mmcaf_engine.service import processes
from mmcaf_engine.service.disk import is_full
from mmcaf_engine.service.processes import bear_full_disk

pytest.importorskip("pynetdicom")
PROGRAM = Path(__file__).with_name("on_a_full_disk.py")


def full() -> bool:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_process_bears_a_full_disk_and_no_other_fault(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(processes, "FULL_S", 0.0)
    ended = threading.Event()
    assert not bear_full_disk(full, ended) and "full" in caplog.text
    assert bear_full_disk(lambda: True, ended) and not bear_full_disk(lambda: None, ended)
    for other in (OSError(errno.EIO, "Input/output error"), sqlite3.OperationalError("locked"), KeyError()):

        def broken(other: Exception = other) -> bool:
            raise other

        with pytest.raises(type(other)):
            bear_full_disk(broken, ended)
        assert not is_full(other)


def test_the_loop_of_a_process_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where only its sign of life finds no room."""
    monkeypatch.setattr(processes, "FULL_S", 0.0)
    ended, told = threading.Event(), iter(range(9))

    def sign() -> None:
        if next(told) < 2:
            full()

    def step() -> bool:
        ended.set()
        return True

    processes.work(step, sign, ended)
    assert next(told) == 3


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What was seen on a small disk of its own."""
    apart = [need("unshare"), "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    folder = tmp_path_factory.mktemp("full")
    tried = subprocess.run([*apart, "mount", "-t", "tmpfs", "tmpfs", str(folder)], capture_output=True, check=False)
    if tried.returncode != 0:
        pytest.skip("this process may not mount a disk of its own; run the tests as root")
    tests = Path(__file__).parents[2]
    found_at = {**os.environ, "PYTHONPATH": f"{tests}{os.pathsep}{tests / 'engine'}"}
    words = [*apart, sys.executable, str(PROGRAM), str(folder)]
    ran = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300, env=found_at)
    assert ran.returncode == 0, ran.stderr
    seen: dict[str, Any] = json.loads(ran.stdout)
    return seen


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="disks of one's own are Linux's")
def test_images_are_taken_whole_or_refused_and_taken_later(found: dict[str, Any]) -> None:
    assert set(found["received"]["statuses"]) == {"A700", "0000"}
    assert found["received"]["statuses"]["A700"] > 3 and found["received"]["wrong"] == []
    assert found["received"]["owed"] == 0
    assert found["listens"] == [True, False, True]


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="disks of one's own are Linux's")
def test_answers_wait_for_room_and_are_delivered(found: dict[str, Any]) -> None:
    answered = found["answered"]
    assert answered["ended"] == [["sending", "delivered"]] * 5 and answered["crashes"] == 0
    assert set(answered["running"]) <= {"queued", "running", "sending"} and set(answered["sending"]) <= {
        "sending",
        "delivered",
    }
    assert answered["objects"] == 10, "each as it was frozen, however often it was sent"
