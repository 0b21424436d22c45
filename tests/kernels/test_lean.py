"""The kernels' tests for a GPU need torch, triton, numpy and pytest: on a lent machine there is nothing else."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from kernels.scripts import load

ROOT = Path(__file__).parents[2]
FEW = "torch,triton,numpy,pytest"
MODULES = {"protobuf": "google", "cuda-bindings": "cuda", "cuda-pathfinder": "cuda", "pytest-xdist": "xdist"}


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
    assert "No module named 'torch'" in ran.stdout + ran.stderr


def test_the_demonstration_and_the_networks_variants_run_with_what_a_gpu_session_carries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beside the few: those steps import no package that is neither there nor carried."""
    carried = load(monkeypatch, "gpu_session_carried").WHEELS
    packages = ",".join([FEW, *carried, "mmcaf_engine", "mmcaf_export"])
    for package in (*carried, "mmcaf_export"):
        if find_spec(MODULES.get(package, package.replace("-", "_"))) is None:
            pytest.skip(f"{package} is not installed")
    steps = (
        "engine/backends/test_torch_backend.py::test_the_demonstration_passes_its_self_test_and_says_how_it_runs",
        "kernels/test_network_variants.py::test_every_variant_has_a_row_and_a_table_of_kernels",
    )
    ran = lean(*(f"tests/{step}" for step in steps), packages=packages)
    assert ran.returncode == 0 and "2 passed" in ran.stdout, ran.stdout + ran.stderr
