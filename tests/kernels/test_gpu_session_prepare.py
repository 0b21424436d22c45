"""What is made beforehand for a session on a lent GPU: what is said of what cannot be, and that it stays small."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import pytest

from kernels.gpu_sessions import ROOT
from kernels.scripts import load


@pytest.fixture
def preparing(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/gpu_session_prepare.py with makers that write a file of 1000 bytes each."""
    module = load(monkeypatch, "gpu_session_prepare")

    def writes(*given: Any) -> None:
        next(part for part in given if "carry" in part.parts).write_bytes(bytes(1000))

    for name in ("compile_cubins", "compile_fatbin", "export_networks"):
        monkeypatch.setattr(module, name, writes)
    monkeypatch.setattr(module, "fetch_wheels", lambda folder, python: writes(folder))
    monkeypatch.setattr(module, "size_of_repository", lambda root: 5000)
    return module


def test_what_is_carried_must_fit(preparing: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert preparing.prepare(ROOT, tmp_path / "carry", "3.12", "sm_90", largest=10**6) == 0
    both = 5000 + sum(file.stat().st_size for file in (tmp_path / "carry").iterdir())
    assert preparing.prepare(ROOT, tmp_path / "carry", "3.12", "sm_90", largest=both) == 0
    assert preparing.prepare(ROOT, tmp_path / "carry", "3.12", "sm_90", largest=both - 1) == 1
    assert "MiB carried" in capsys.readouterr().err


def test_what_cannot_be_made_is_said_and_the_rest_made(
    preparing: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(source: Path, made: Path, target: str) -> None:
        made.write_bytes(b"half of it")
        raise FileNotFoundError("nvcc is not installed")

    monkeypatch.setattr(preparing, "compile_fatbin", missing)
    assert preparing.prepare(ROOT, tmp_path / "carry", "3.12", "sm_90") == 1
    assert "msdc.fatbin: missing" in sys.modules["gpu_session_carried"].faults(tmp_path / "carry", None)
    told = capsys.readouterr()
    assert "msdc.fatbin: nvcc is not installed" in told.err and "network: made" in told.out


def test_a_folder_that_cannot_be_made_is_refused(
    preparing: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for carry in (tmp_path / "file" / "carry", Path("/proc/x")):
        assert preparing.prepare(ROOT, carry, "3.12", "sm_90") == 2
        assert capsys.readouterr().err.startswith(f"{carry}: cannot be written, ")


def test_what_git_does_not_tell_is_said(
    preparing: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(preparing, "size_of_repository", Mock(side_effect=subprocess.CalledProcessError(128, "git")))
    assert preparing.prepare(ROOT, tmp_path / "carry", "3.12", "sm_90") == 1
    assert "how large the repository is cannot be told" in capsys.readouterr().err


def test_the_wheels_are_those_that_are_installed_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load(monkeypatch, "gpu_session_prepare")
    asked: list[list[str]] = []
    monkeypatch.setattr(module.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(module.subprocess, "run", lambda command, **more: asked.append([str(word) for word in command]))
    monkeypatch.setattr(module, "version", lambda name: "1.2.3")
    module.fetch_wheels(tmp_path, "3.12")
    module.compile_fatbin(tmp_path / "msdc.cu", tmp_path / "msdc.fatbin", "sm_89")
    assert asked[0][:2] == ["/bin/pip", "download"] and "pydantic-core==1.2.3" in asked[0]
    assert asked[0][asked[0].index("--python-version") + 1] == "3.12"
    assert "arch=compute_89,code=sm_89" in asked[1] and "native" not in " ".join(asked[1])


def test_what_was_not_prepared_here_is_left_alone(preparing: ModuleType, tmp_path: Path) -> None:
    thesis = tmp_path / "work" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("precious")
    link = tmp_path / "link"
    link.symlink_to(thesis.parent)
    for carry in (thesis.parent, thesis, link):
        assert preparing.prepare(ROOT, carry, "3.12", "sm_90") == 2
    assert thesis.read_text() == "precious"
    (tmp_path / "carry").mkdir()
    for _ in range(2):
        assert preparing.prepare(ROOT, tmp_path / "carry", "3.12", "sm_90", largest=10**9) == 0
