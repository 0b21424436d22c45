"""Shell scripts of the repository: nothing that ShellCheck knows to go wrong."""

import subprocess
from pathlib import Path

import pytest

from counterparts import need

ROOT = Path(__file__).parent.parent
SCRIPTS = (".ci/run", "benchmarks/gpu_session.sh", "tests/counterparts/install", "tests/parts")


@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck_finds_nothing(script: str) -> None:
    done = subprocess.run([need("shellcheck"), ROOT / script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_a_script_that_is_wrong_is_found(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.sh"
    wrong.write_text("#!/bin/sh\ncd $1\nrm -rf *\n")
    assert subprocess.run([need("shellcheck"), wrong], capture_output=True).returncode == 1


def test_these_are_all() -> None:
    hidden = {".git", ".venv", ".venv-dev", "build", "demo", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
    found = {
        path.relative_to(ROOT).as_posix()
        for top in ROOT.iterdir()
        if top.name not in hidden
        for path in ([top] if top.is_file() else top.rglob("*"))
        if path.is_file() and path.suffix in ("", ".sh") and shell(path)
    }
    assert found == set(SCRIPTS)


def shell(path: Path) -> bool:
    with path.open("rb") as file:
        first = file.readline(64)
    return first.startswith(b"#!") and first.split()[-1].endswith((b"sh", b"bash"))
