"""Calibration of networks that read text: whole numbers go in as they are, and windows differ in length."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from mmcaf_export.onnx_files import load_model
from mmcaf_export.precision.calibration import METHODS, Method, histograms, largest_magnitudes
from tiny_bert import bert_network

LENGTHS = (4, 16, 5, 8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bert") / "model.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(bert_network()), path)
    return path


@pytest.fixture(scope="module")
def windows() -> list[dict[str, NDArray[Any]]]:
    rng = np.random.default_rng(0)
    masks = [(np.arange(length) < rng.integers(1, length + 1, (1, 1))).astype(np.int64) for length in LENGTHS]
    return [{"input_ids": rng.integers(0, 50, mask.shape), "attention_mask": mask} for mask in masks]


@pytest.fixture(scope="module")
def values(model: Path) -> list[str]:
    """What the network's products with weights read."""
    network = load_model(model)
    read = {
        str(node.inputs[0].name) for node in network.graph if node.op_type == "MatMul" and node.inputs[0] is not None
    }
    return sorted(read)


def test_magnitudes_are_those_of_all_lengths(model: Path, windows: list[Any], values: list[str]) -> None:
    shown = onnx.load(model)
    shown.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in values)
    session = onnxruntime.InferenceSession(shown.SerializeToString(), providers=["CPUExecutionProvider"])
    answers = [session.run(values, window) for window in windows]
    expected = {name: max(float(np.abs(answer[at]).max()) for answer in answers) for at, name in enumerate(values)}
    assert largest_magnitudes(model, values, windows) == pytest.approx(expected)


@pytest.mark.parametrize("method", METHODS)
def test_ranges_are_found_with_every_method(method: Method, model: Path, windows: list[Any], values: list[str]) -> None:
    largest = largest_magnitudes(model, values, windows)
    found = histograms(model, largest, windows).ranges(method)
    assert all(0 < found[name] <= largest[name] * (1 + 1e-6) for name in values)
