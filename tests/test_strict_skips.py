"""A test that is skipped where nothing may be missing fails there, and says why."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import strict_skips

ONE_BY_ONE = """
import pytest

def test_missing():
    pytest.skip("chromium is not installed")

@pytest.mark.gpu
def test_gpu():
    pytest.skip("no GPU")

@pytest.mark.xfail(strict=True)
def test_known():
    assert False
"""
WHOLE = """
import pytest
pytest.importorskip("a_package_that_nobody_has", reason="the reference is missing")

def test_it():
    pass
"""


def pytest_run(folder: Path, text: str, ci: str, on_gpu: str = "") -> str:
    (folder / "test_some.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = gpu\n")
    tests = Path(strict_skips.__file__).parent
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "strict_skips", "-p", "no:cacheprovider", "-ra", str(folder)],
        env={**os.environ, "PYTHONPATH": str(tests), "CI": ci, "MMCAF_ON_GPU": on_gpu},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return ran.stdout


@pytest.mark.parametrize(("text", "counts"), [(ONE_BY_ONE, "2 skipped, 1 xfailed"), (WHOLE, "1 skipped")])
def test_without_ci_a_skip_is_a_skip(tmp_path: Path, text: str, counts: str) -> None:
    assert counts in pytest_run(tmp_path, text, "")


@pytest.mark.parametrize(
    ("text", "counts", "reason"),
    [
        (ONE_BY_ONE, "1 failed, 1 skipped, 1 xfailed", "chromium is not installed"),
        (WHOLE, "1 error", "the reference is missing"),
    ],
)
def test_with_ci_a_skip_is_a_failure(tmp_path: Path, text: str, counts: str, reason: str) -> None:
    said = pytest_run(tmp_path, text, "true")
    assert counts in said and f"skipped, where $CI allows no skip: Skipped: {reason}" in said


def test_on_a_gpu_what_is_for_one_may_not_be_skipped_either(tmp_path: Path) -> None:
    said = pytest_run(tmp_path, ONE_BY_ONE, "", on_gpu="1")
    assert "2 failed, 1 xfailed" in said and "skipped, where $MMCAF_ON_GPU allows no skip: Skipped: no GPU" in said
