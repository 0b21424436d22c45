"""benchmarks/serve_kills.py: it finds what a kill loses, and finds nothing lost today."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from counterparts import need

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "serve_kills.py"

pytestmark = [pytest.mark.full, pytest.mark.skipif(sys.platform != "linux", reason="networks of one's own are Linux's")]


def kills(*options: object) -> "subprocess.CompletedProcess[str]":
    pytest.importorskip("pynetdicom"), need("Orthanc"), need("storescu")
    made = [need("unshare"), "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    if subprocess.run([*made, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this process may not make a network of its own; run the tests as root")
    command = [*made, sys.executable, SCRIPT, *options]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=300)


def test_nothing_is_lost(tmp_path: Path) -> None:
    ended = kills("--kills", 2, "--processes", "receiver", "all", "--output", tmp_path / "rows.csv")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("; 0 lost, 0 wrong, 0 twice; ") == 2
    with (tmp_path / "rows.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["process"] for row in rows] == ["receiver", "all"]
    assert all(2 <= int(row["kills"]) <= 5 for row in rows)


def test_a_sender_that_calls_it_delivered_first_loses_answers() -> None:
    ended = kills("--kills", 1, "--processes", "sender", "--control", "delivered-first")
    assert ended.returncode == 1 and "is not in the archive" in ended.stdout, ended.stdout + ended.stderr
