"""Models read and written."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from mmcaf_export import onnx_files
from mmcaf_export.onnx_files import load_model, save_model
from mmcaf_export.precision.edit import add_constant


def test_a_model_with_weights_beside_it_may_be_changed_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_files, "EXTERNAL_ABOVE", 0)
    weights = np.arange(1000, dtype=np.float32)
    graph = ir.Graph([], [], nodes=[], opset_imports={"": 20}, name="weights")
    add_constant(graph, "weight", weights)
    path = tmp_path / "model.onnx"
    save_model(ir.Model(graph, ir_version=10), path)
    changed = load_model(path)
    add_constant(changed.graph, "another", weights + 1)
    assert save_model(changed, path) == (path, tmp_path / "model.onnx.data")
    found = load_model(path).graph.initializers
    assert np.array_equal(found["weight"].const_value.numpy(), weights)
    assert np.array_equal(found["another"].const_value.numpy(), weights + 1)
