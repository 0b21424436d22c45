"""The kernels' benchmark: its baselines compute what the kernels do, its least costs are right, no GPU no rows."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("onnx", reason="ONNX is not installed")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("pydantic", reason="pydantic is not installed")
pytest.importorskip("mmcaf_export", reason="the exporter is not installed")

import torch

from kernels.harness import relative_error
from kernels.networks import MEAN

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
CARDS = ((272, 15.1), (1008, 82.6), (4800, 66.9))  # GB/s and TFLOP/s in float32: RTX 4060, RTX 4090, H200


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark's cases as they are."""
    spec = importlib.util.spec_from_file_location("kernel_cases", BENCHMARKS / "kernel_cases.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "kernel_cases", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def table(published: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark's cases, small and on the CPU."""
    module = published
    monkeypatch.setattr(module, "DEVICE", "cpu")
    monkeypatch.setattr(module, "STAGES", {"stage1": (32, 3, 5, 7), "stage2": (64, 2, 3, 3)})
    monkeypatch.setattr(module, "TOLERANCE", {torch.float32: 1e-5})
    return module


def test_baselines_compute_what_the_kernels_compute(table: ModuleType) -> None:
    seen = set()
    for case in table.cases(None):
        seen.add(case.kernel)
        expected = case.reference()
        for function in (case.ours, case.eager):
            found = function()
            pairs = zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]
            assert all(relative_error(a, b) < 1e-5 for a, b in pairs), (case.kernel, case.shape)
        assert case.bytes > 0
        assert case.operations > 0
    assert len(seen) == 7


def test_the_networks_case(table: ModuleType) -> None:
    spec = importlib.util.spec_from_file_location("kernels_network", BENCHMARKS / "kernels_network.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    case = module.network_case(MEAN, torch.float32)
    for function in (case.ours, case.eager):
        assert function().shape == (1, 1)
        assert case.right(function(), case.reference())
    assert not case.right(case.ours() + 1e-3, case.reference())
    assert not case.right(case.ours() * float("nan"), case.reference())
    assert case.bytes > 1e5 and case.operations > 1e6


@pytest.mark.parametrize(("length", "kernel"), [(1, 5), (2, 5), (6, 5), (3, 3), (12, 7), (4, 1)])
def test_taps_inside_counts_products_that_are_not_padding(table: ModuleType, length: int, kernel: int) -> None:
    ones = torch.ones(1, 1, length)
    counted = torch.nn.functional.conv1d(ones, torch.ones(1, 1, kernel), padding=kernel // 2).sum()
    assert table.taps_inside(length, kernel) == counted


def documented(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The rows of docs/kernels.md: megabytes, megaflops and the floor in microseconds, float32 / float16."""
    found: dict[tuple[str, str], list[tuple[int, int]]] = {}
    monkeypatch.setattr(module, "DEVICE", "meta")
    monkeypatch.setattr(module, "TOLERANCE", {torch.float32: 0, torch.float16: 0})
    for case in module.cases(None):
        found.setdefault((case.kernel, case.shape), []).append((case.bytes, case.operations))
    rows = []
    for (kernel, shape), costs in found.items():
        if max(size for size, _ in costs) < 1e6:
            continue  # a launch costs more than the work
        cells = [kernel, shape, " / ".join(f"{size / 1e6:.1f}" for size, _ in costs), f"{costs[0][1] / 1e6:.0f}"]
        for bandwidth, rate in CARDS:
            cells.append(" / ".join(f"{max(size / bandwidth / 1e3, work / rate / 1e6):.1f}" for size, work in costs))
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def test_documented_floors_are_current(published: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "kernels.md").read_text(encoding="utf-8").splitlines()
    expected = documented(published, monkeypatch)
    assert [line for line in page if line in expected] == expected, "\n".join(expected)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to measure")
def test_without_a_gpu_nothing_is_written(tmp_path: Path) -> None:
    command = [sys.executable, BENCHMARKS / "kernels.py", "--output", tmp_path / "rows.csv"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 2
    assert "no NVIDIA GPU" in done.stderr
    assert not (tmp_path / "rows.csv").exists()
