"""The kernels' tests for a GPU need torch, triton, numpy and pytest: on a lent machine there is nothing else."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FEW = "torch,triton,numpy,pytest"


def lean(*arguments: str, packages: str = FEW) -> "subprocess.CompletedProcess[str]":
    """A pytest of its own where these packages are all."""
    few = {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "tests/lean.py", packages, "-p", "no:cacheprovider", *arguments],
        cwd=ROOT,
        env={**few, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_those_for_a_gpu_are_collected() -> None:
    ran = lean("-m", "gpu", "--collect-only", "-q", "tests/kernels")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    files = set(re.findall(r"^tests/kernels/(\w+)\.py::", ran.stdout, re.MULTILINE))
    assert files == {"test_against_references", "test_cubin", "test_msdc_cuda"}, ran.stdout


def test_a_test_runs() -> None:
    ran = lean("tests/kernels/test_checks.py")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"\d+ passed", ran.stdout), ran.stdout


def test_a_package_that_is_not_among_them_is_missing() -> None:
    ran = lean("tests/kernels/test_checks.py", packages="numpy,pytest,filelock")
    assert ran.returncode != 0
    assert "torch is not among the few packages" in ran.stdout + ran.stderr
