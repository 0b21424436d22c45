"""Scores of a network's parts: shown beside the answer, held by the self-test, and no part of any decision."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mmcaf_cli.inspect import inspect_command
from mmcaf_cli.report import Report
from mmcaf_engine import infer, load_bundle, open_session
from mmcaf_engine.bundle.bundle import write_bundle
from mmcaf_engine.errors import BackendError
from mmcaf_engine.result.aggregate import sigmoid
from mmcaf_engine.volume import Volume
from refusals import refused
from test_answerer import RECORD, volume
from tiny_bundle import make_draft, tiny_manifest


def branched(folder: Path, output: Path, *, off: float = 0.0, **changes: Any) -> Path:
    """The tiny bundle with the score's opposite as an optional branch score, its stored one `off` by so much."""
    draft = make_draft(folder / "draft")
    model = onnx.load(draft / "model.onnx")
    model.graph.node.append(helper.make_node("Neg", ["logit"], ["out_R"]))
    model.graph.output.append(helper.make_tensor_value_info("out_R", TensorProto.FLOAT, ["N", 1]))
    onnx.save(model, draft / "model.onnx")
    stored = dict(np.load(draft / "golden.npz"))
    np.savez(draft / "golden.npz", **stored, out_R=-stored["logit"] + np.float32(off))
    outputs = [
        *tiny_manifest()["outputs"],
        {"name": "out_R", "kind": "branch_score", "shape": ["N", 1], "optional": True},
    ]
    entries = [{"output": "out_R", "title": "opposite"}]
    return write_bundle(
        draft, {**tiny_manifest(), "outputs": outputs, "branch_scores": entries, **changes}, output
    ).folder


@pytest.fixture
def given() -> Volume:
    return volume()


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_they_stand_beside_the_same_answer(backend: str, given: Volume, tiny_bundle: Path, tmp_path: Path) -> None:
    plain = infer(given, RECORD, bundle=tiny_bundle, backend=backend)
    found = infer(given, RECORD, bundle=branched(tmp_path, tmp_path / "b.mmcaf"), backend=backend)
    assert plain.branch_scores is None and found.branch_scores is not None
    assert (found.label, found.probabilities, found.windows) == (plain.label, plain.probabilities, plain.windows)
    [branch] = found.branch_scores
    assert (branch.output, branch.title) == ("out_R", "opposite")
    highest = max(-window.logit if plain.label == "loud" else window.logit for window in plain.windows)
    assert branch.probabilities["loud"] == pytest.approx(sigmoid(highest), abs=1e-9)
    assert sum(branch.probabilities.values()) == pytest.approx(1)
    assert branch.logits == (pytest.approx(highest, abs=1e-9),)


def test_a_session_has_them_only_on_demand(tmp_path: Path) -> None:
    bundle = load_bundle(branched(tmp_path, tmp_path / "b.mmcaf"))
    window = {
        spec.name: np.zeros([1 if axis == "N" else axis for axis in spec.shape], np.float32)
        for spec in bundle.manifest.inputs
    }
    with open_session(bundle, backend="onnxruntime") as session:
        assert set(session.run(window)) == {"logit"}
        assert set(session.run(window, optional=True)) == {"logit", "out_R"}


def test_the_self_test_holds_them_too(tmp_path: Path) -> None:
    bundle = load_bundle(branched(tmp_path, tmp_path / "b.mmcaf", off=0.01))
    with refused(BackendError, "out_R", 0.01), open_session(bundle, backend="onnxruntime"):
        pass


def test_risk_levels_and_repairs_are_said_of_an_answer(given: Volume, tmp_path: Path) -> None:
    levels = [{"label": "loud", "cuts": [1e-9], "names": ["none", "some"], "source": "made up"}]
    origin = tiny_manifest()["provenance"] | {"repairs": [{"name": "one", "description": "it adds instead"}]}
    bundle = branched(tmp_path, tmp_path / "b.mmcaf", risk_levels=levels, provenance=origin)
    found = infer(given, RECORD, bundle=bundle, backend="onnxruntime")
    [level] = found.risk_level or ()
    assert (level.label, level.level, level.source) == ("loud", "some", "made up")
    assert level.probability == found.probabilities["loud"]
    assert "The network is repaired (one): it adds instead." in found.remarks


def test_inspect_shows_levels_branches_and_repairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    levels = [{"label": "loud", "cuts": [0.2, 0.5], "names": ["low", "middle", "high"], "source": "made up"}]
    origin = tiny_manifest()["provenance"] | {"repairs": [{"name": "one", "description": "it adds instead"}]}
    bundle = branched(tmp_path, tmp_path / "b.mmcaf", risk_levels=levels, provenance=origin)
    inspect_command(bundle, engine=False, precisions=[], report=Report())
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert "risk          loud: low below 0.2, middle from 0.2, high from 0.5 (made up)" in lines
    assert "beside it     out_R: opposite, no part of the answer" in lines
    assert "repaired      one: it adds instead" in lines
