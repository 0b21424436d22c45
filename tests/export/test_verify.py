"""What holds an exported network against its source: batches of several too, and what a runtime says where it fails."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from onnx import helper

from mmcaf_engine.backends.factory import Network
from mmcaf_engine.errors import ExportError
from mmcaf_engine.manifest import TensorSpec
from mmcaf_export import verify as module
from mmcaf_export.verify import Case, verify
from refusals import refused
from small_networks import save_network

TABLE = (TensorSpec(name="table", kind="table", shape=("N", 4)),)
LOGIT = (TensorSpec(name="logit", kind="score", shape=("N", 1)),)
LAST: dict[str, NDArray[np.int64]] = {"last": np.array([1], np.int64)}


def sum_of(path: Path, *nodes: object, constants: dict[str, NDArray[np.int64]], value: str = "table") -> Network:
    """logit = the sum of a row, after further nodes."""
    last = helper.make_node("ReduceSum", [value, "last"], ["logit"], keepdims=1)
    save_network(path, [*nodes, last], {"table": ["N", 4]}, {"logit": ["N", 1]}, {**LAST, **constants})
    return Network(path, TABLE, LOGIT)


def cases(*batches: int) -> list[Case]:
    drawn = [torch.rand(batch, 4, generator=torch.Generator().manual_seed(batch)) for batch in batches]
    return [Case({"table": one}, {"logit": one.sum(1, keepdim=True)}) for one in drawn]


def mean_over_the_batch(path: Path) -> Network:
    """As where a loop, or a mean, went over the cases: right for one."""
    node = helper.make_node("ReduceMean", ["table", "cases"], ["mean"], keepdims=1)
    grown = helper.make_node("Expand", ["mean", "shape"], ["all"])
    shape = helper.make_node("Shape", ["table"], ["shape"])
    return sum_of(path, node, shape, grown, constants={"cases": np.array([0], np.int64)}, value="all")


def one_row_alone(path: Path) -> Network:
    """As where a loop was traced over the one case of the example: it cannot be run for several."""
    node = helper.make_node("Reshape", ["table", "one"], ["row"])
    return sum_of(path, node, constants={"one": np.array([1, 4], np.int64)}, value="row")


@pytest.mark.parametrize("make", [mean_over_the_batch, one_row_alone], ids=lambda make: make.__name__)
def test_right_for_one_case_alone_is_noticed_and_a_batch_of_one_proposed(make: object, tmp_path: Path) -> None:
    network = make(tmp_path / "model.onnx")  # type: ignore[operator]
    with refused(ExportError, "one case at a time", 3, "onnxruntime", 0.0001) as caught:
        verify(network, cases(1, 3))
    assert "batch = 1" in str(caught.value)
    done, _skipped = verify(network, cases(1, 3), batch=1)
    assert [one.max_abs_error < 1e-6 for one in done] == [True, True]


def test_a_right_network_passes_for_any_batch(tmp_path: Path) -> None:
    done, skipped = verify(sum_of(tmp_path / "model.onnx", constants={}), cases(1, 3))
    assert [one.batches for one in done] == [(1, 3), (1, 3)] and skipped == ()


def test_wrong_for_one_case_is_no_matter_of_batches(tmp_path: Path) -> None:
    node = helper.make_node("Neg", ["table"], ["other"])
    with refused(ExportError, "differently from its source", command="mmcaf doctor"):
        verify(sum_of(tmp_path / "model.onnx", node, constants={}, value="other"), cases(1, 3))


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_runtime_that_fails_says_why_and_no_option_that_export_lacks(
    runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\x0a\xff\xff\xff\xff no model at all")
    monkeypatch.setattr(module, "RUNTIMES", (runtime,))
    with refused(ExportError, runtime, "model.onnx") as caught:
        verify(Network(tmp_path / "model.onnx", TABLE, LOGIT), cases(1))
    told = caught.value.problem
    assert "No bundle was written" in told and not any(remedy.option for remedy in caught.value.remedies)
    if runtime == "openvino":  # Its first line is a place in its own source, such as core.cpp:84.
        assert ".cpp:" in told and "Unable to read the model" in told
