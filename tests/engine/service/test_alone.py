"""One service works in a spool, and begins once the processes of one that was killed have ended."""

import os
import threading
import time
from pathlib import Path

import pytest

from mmcaf_engine.errors import ServiceError
from mmcaf_engine.service import alone
from mmcaf_engine.service.__main__ import main
from mmcaf_engine.service.alone import at_work, only_service
from refusals import refused


def test_it_waits_for_the_processes_of_the_last_one(tmp_path: Path) -> None:
    begun, ended = threading.Event(), []

    def work() -> None:
        with at_work(tmp_path):
            begun.set()
            time.sleep(0.2)
            ended.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait()
    with only_service(tmp_path):
        assert ended
    thread.join()


def test_it_says_that_they_do_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alone, "ENDING_S", 0.1)
    with at_work(tmp_path), refused(ServiceError, tmp_path.name), only_service(tmp_path):
        pass
    with only_service(tmp_path):
        pass


def test_its_own_processes_work_side_by_side(tmp_path: Path) -> None:
    with only_service(tmp_path), at_work(tmp_path), at_work(tmp_path):
        pass


def test_a_process_whose_supervisor_is_gone_begins_nothing(tmp_path: Path) -> None:
    assert main(["web", str(tmp_path / "not there"), str(os.getpid())]) == 0
