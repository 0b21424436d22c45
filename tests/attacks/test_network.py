"""Nothing leaves the machine: an answer makes no connection and leaves no identifier of the machine behind.

ONNX Runtime has had telemetry on Linux since 1.29, on by default: a device id below the home folder, a session file
in the temporary one, and an uploader. OpenVINO brings a telemetry package for its converters.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mmcaf_engine.demo.phantom import make_phantom, record
from mmcaf_engine.demo.write_dicom import write_series

STRACE = shutil.which("strace")
ANSWER = """
import sys
from mmcaf_cli.infer import app
app(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `series` and `record.json`; read them, do not change them."""
    folder = tmp_path_factory.mktemp("patient")
    phantom = make_phantom(0, size=64)
    write_series(phantom, folder / "series")
    (folder / "record.json").write_text(json.dumps(record(phantom.patient)))
    return folder


def answered(patient: Path, home: Path, backend: str, *before: str) -> subprocess.CompletedProcess[str]:
    """`mmcaf-infer` as a new process in an empty home, with a temporary folder of its own."""
    scratch = home / "scratch"
    scratch.mkdir(parents=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_", "MMCAF_"))}
    return subprocess.run(
        [*before, sys.executable, "-c", ANSWER, patient / "series", patient / "record.json", "--backend", backend],
        env={**kept, "HOME": str(home), "TMPDIR": str(scratch), "MMCAF_CACHE": str(home / "mmcaf")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def watched(request: pytest.FixtureRequest, patient: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the `home` of an answer that succeeded, and with strace its `calls` that are about connections."""
    folder = tmp_path_factory.mktemp("watched")
    calls = ("-f", "-qq", "-e", "trace=socket,connect,sendto,sendmsg", "-o", str(folder / "calls"))
    done = answered(patient, folder / "home", request.param, *((STRACE, *calls) if STRACE else ()))
    assert done.returncode == 0, done.stderr
    return folder


def test_nothing_is_left_behind(watched: Path) -> None:
    home = watched / "home"
    left = [path for path in home.rglob("*") if path.is_file()]
    assert [path for path in left if home / "mmcaf" not in path.parents] == []


WITHOUT = """
import socket, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {
            "tokenizers", "huggingface_hub", "hf_xet", "fsspec", "httpx", "httpx2", "httpcore", "requests", "urllib3",
            "aiohttp", "openvino_telemetry",
        }:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

class NoSocket:
    def __init__(self, *_, **__):
        raise AssertionError("a socket was made")

sys.meta_path.insert(0, Absent())
socket.socket = socket.create_connection = socket.getaddrinfo = NoSocket
"""
"""Puts before a script what takes from it every package that can open connections, and sockets themselves."""


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_the_base_answers_without_a_package_that_can_open_connections(
    patient: Path, tmp_path: Path, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "ANSWER", WITHOUT + ANSWER)
    done = answered(patient, tmp_path / "home", backend)
    assert done.returncode == 0, done.stderr


def test_a_network_that_reads_a_report_names_the_package_that_it_needs(tmp_path: Path) -> None:
    from tiny_report import make_tiny_report

    bundle = make_tiny_report(tmp_path / "report.mmcaf")
    study = tmp_path / "study.png"
    study.write_bytes(b"")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{WITHOUT}from mmcaf_cli.infer import main; main()",
            study,
            "--report",
            "-",
            "--bundle",
            bundle,
        ],
        input="No effusion.",
        env={**os.environ, "MMCAF_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 6, done.stderr
    assert "tokenizers" in done.stderr and "[text]" in done.stderr.replace("\n", "") and "Traceback" not in done.stderr


@pytest.mark.skipif(STRACE is None, reason="strace is not installed, which lists a process's connections")
def test_no_connection_is_made(watched: Path) -> None:
    assert "AF_INET" not in (watched / "calls").read_text()
