"""The whole network in variants, small and on the processor."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kernels.scripts import load


def tiny_networks(folder: Path, files: ModuleType) -> None:
    """A convolution that is large enough to be drawn anew, twice the same, and a mean, as both files."""
    onnx = pytest.importorskip("onnx", reason="ONNX is not installed")
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.default_rng(1).normal(0.01, 0.02, (32, 32, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "first"], ["a"], pads=[1] * 6),
        helper.make_node("Conv", ["a", "second"], ["b"], pads=[1] * 6),
        helper.make_node("Add", ["b", "small"], ["c"]),
        helper.make_node("ReduceMean", ["c", "axes"], ["logit"], keepdims=0),
    ]
    constants = {
        "first": weight,
        "second": weight,
        "small": np.ones(1, np.float32),
        "axes": np.array([1, 2, 3, 4]),
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 32, 2, 6, 6])],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, [1])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    whole = folder / "whole.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), whole)
    for word in ("on", "off"):
        files.hollow(whole, folder / f"few_slices-{word}.onnx")
    np.savez(folder / "inputs.npz", image=np.random.default_rng(2).normal(size=(1, 32, 2, 6, 6)).astype(np.float32))


def test_large_weights_are_drawn_anew_and_small_ones_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx = pytest.importorskip("onnx", reason="ONNX is not installed")
    files = load(monkeypatch, "network_files")
    tiny_networks(tmp_path, files)
    assert (tmp_path / "few_slices-on.onnx").stat().st_size < (tmp_path / "whole.onnx").stat().st_size / 50
    made = []
    for turn in range(2):
        files.fill(tmp_path / "few_slices-on.onnx", tmp_path / f"{turn}.onnx")
        stored = onnx.load(tmp_path / f"{turn}.onnx").graph.initializer
        made.append({tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in stored})
    assert all(np.array_equal(made[0][name], made[1][name]) for name in made[0])
    first = made[0]["first"]
    assert np.array_equal(first, made[0]["second"]) and first.shape == (32, 32, 3, 3, 3)
    assert abs(first.mean() - 0.01) < 1e-3 and abs(first.std() - 0.02) < 1e-3
    assert made[0]["small"].tolist() == [1] and made[0]["axes"].tolist() == [1, 2, 3, 4]


@pytest.fixture
def variants(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    for package in ("torch", "onnx", "mmcaf_export", "ml_dtypes", "onnx_ir"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    return load(monkeypatch, "rows", "card", "gpu_timing", "network_files", "network_variants")


def measured(variants: ModuleType, folder: Path, budget: Any, profile: Callable[[Any], Any]) -> tuple[int, list[str]]:
    """The exit status, and the rows' variants."""
    rows = sys.modules["rows"]
    times = sys.modules["gpu_timing"].Times([10.0, 12.0], [4.0, 4.0], 0, {"power_w": "310"})
    timer = SimpleNamespace(launches=lambda launch, runs: launch() and times)
    tables = rows.RowFile(folder / "network.csv"), rows.RowFile(folder / "kernels.csv")
    status = variants.run(folder, tables, 2, {"gpu": "H200"}, timer, profile, budget, "cpu")
    return status, (folder / "network.csv").read_text(encoding="utf-8").splitlines()


def test_the_usual_variant_is_first_then_those_with_one_change(variants: ModuleType) -> None:
    assert [variant.changes() for variant in variants.VARIANTS] == [0, 1, 1, 1, 2, 2, 2, 3]
    assert variants.VARIANTS[0].row() == {"few_slices": "on", "innermost": "on", "benchmark": "off"}


def test_every_variant_has_a_row_and_a_table_of_kernels(variants: ModuleType, tmp_path: Path) -> None:
    tiny_networks(tmp_path, sys.modules["network_files"])
    budget = sys.modules["rows"].Budget(None)
    status, lines = measured(variants, tmp_path, budget, lambda program: {"conv": (2, 30.0), "add": (1, 40.0)})
    assert status == 0 and len(lines) == 1 + len(variants.VARIANTS)
    assert lines[0].startswith("few_slices,innermost,benchmark,execution,runs,p50_us")
    assert lines[1].startswith("on,on,off,") and ",11.0," in lines[1] and lines[1].endswith(",310,H200")
    table = (tmp_path / "kernels.csv").read_text(encoding="utf-8").splitlines()
    assert table[1:3] == ["on,on,off,add,1,40.00", "on,on,off,conv,2,30.00"]
    assert len(table) == 1 + 2 * len(variants.VARIANTS)


def test_a_variant_that_is_wrong_or_too_late_is_left_out(
    variants: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_networks(tmp_path, sys.modules["network_files"])
    monkeypatch.setattr(variants, "TOLERANCE", -1.0)
    rows = sys.modules["rows"]
    budget = rows.Budget(3, iter(range(100)).__next__)
    rows.append(tmp_path / "network.csv", "", first=True)
    status, lines = measured(variants, tmp_path, budget, lambda program: {})
    told = capsys.readouterr().err
    assert status == 1 and lines == []
    assert told.count("ArithmeticError: the logit is") == 2 and told.count("not measured, the time is over") == 6
