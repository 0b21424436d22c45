"""benchmarks/kills.py: it finds what a kill loses, and finds nothing lost today."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "kills.py"

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="strace is Linux's"),
    pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace"),
]


def kills(*options: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, SCRIPT, "--commands", "replace", *options]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=300)


def test_nothing_is_lost(tmp_path: Path) -> None:
    ended = kills("--moments", 3, "--output", tmp_path / "rows.csv")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.startswith("replace: 3 moments, ") and "; 0 lost, 0 wrong; 0 traces" in ended.stdout
    first, row = (tmp_path / "rows.csv").read_text(encoding="utf-8").splitlines()
    assert first.startswith("commit,date,cpu,cores") and ",replace,today,0,3," in row


def test_the_former_way_of_writing_loses_a_bundle() -> None:
    """It has removed the old one when it renames the new one."""
    ended = kills("--former", "--call", "rename", "--moments", 1)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert ended.stdout.startswith("replace: 1 moments, 1 hit, 1 between first and last change; 1 lost, 0 wrong")
    assert "lost: SIGKILL at rename 1: " in ended.stdout and "no such bundle" in ended.stdout
