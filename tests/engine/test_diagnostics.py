"""What a network tells of how it computed: beside the answer in every result, and no part of any decision."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from jsonschema import Draft202012Validator
from onnx import TensorProto, helper, numpy_helper

from mmcaf_cli.text import render
from mmcaf_engine import Result, infer
from mmcaf_engine.bundle.bundle import write_bundle
from mmcaf_engine.errors import BackendError
from mmcaf_engine.manifest import Manifest
from mmcaf_engine.result.diagnostics import diagnostics
from mmcaf_engine.result.schema import result_schema
from refusals import refused
from test_answerer import RECORD, volume
from tiny_bundle import make_draft, tiny_manifest

FILES = {name: {"sha256": "0" * 64, "size": 1} for name in ("model.onnx", "golden.npz")}
OUTPUTS = [
    *tiny_manifest()["outputs"],
    {"name": "share", "kind": "diagnostic", "shape": ["N", 2], "optional": True},
]


def telling(folder: Path, output: Path) -> Path:
    """The tiny bundle with the logit and its double as an output of the kind diagnostic."""
    draft = make_draft(folder / "draft")
    model = onnx.load(draft / "model.onnx")
    model.graph.initializer.append(numpy_helper.from_array(np.float32([1, 2]), "factors"))
    model.graph.node.append(helper.make_node("Mul", ["logit", "factors"], ["share"]))
    model.graph.output.append(helper.make_tensor_value_info("share", TensorProto.FLOAT, ["N", 2]))
    onnx.save(model, draft / "model.onnx")
    stored = dict(np.load(draft / "golden.npz"))
    np.savez(draft / "golden.npz", **stored, share=stored["logit"] * np.float32([1, 2]))
    return write_bundle(draft, {**tiny_manifest(), "outputs": OUTPUTS}, output).folder


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_they_stand_beside_the_same_answer(backend: str, tiny_bundle: Path, tmp_path: Path) -> None:
    plain = infer(volume(), RECORD, bundle=tiny_bundle, backend=backend)
    found = infer(volume(), RECORD, bundle=telling(tmp_path, tmp_path / "b.mmcaf"), backend=backend)
    assert (found.label, found.probabilities, found.windows) == (plain.label, plain.probabilities, plain.windows)
    assert found.diagnostics is not None and len(found.windows) > 1
    logits = [window.logit if plain.label == "loud" else -window.logit for window in plain.windows]
    assert found.diagnostics["share"] == pytest.approx((np.mean(logits), 2 * np.mean(logits)), abs=1e-6)
    [line] = [line for line in render(found).splitlines() if "diagnostics" in line]
    assert line.split(maxsplit=2)[1:] == ["share", ", ".join(f"{value:.3g}" for value in found.diagnostics["share"])]
    Draft202012Validator(result_schema()).validate(json.loads(found.to_json()))
    assert Result.from_json(found.to_json()).diagnostics == found.diagnostics
    assert plain.diagnostics is None and "diagnostics" not in plain.to_dict() and "diagnostics" not in render(plain)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_told_by_the_name_of_its_output(value: Any) -> None:
    manifest = Manifest.model_validate({**tiny_manifest(), "outputs": OUTPUTS, "files": FILES})
    assert manifest.tells_more
    with refused(BackendError, "share", "finite"):
        diagnostics(manifest, {"share": np.float32([[0, 0], [value, 0]])})
    assert json.dumps(diagnostics(manifest, {"share": np.float32([[0, 0.5], [1, 0.5]])})) == '{"share": [0.5, 0.5]}'
