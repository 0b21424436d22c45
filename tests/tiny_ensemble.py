"""The tiny bundle as an ensemble: the logit of each member is the tiny network's times a factor, plus a bias."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mmcaf_engine.bundle.bundle import write_bundle
from tiny_bundle import expected_logits, make_draft, tiny_manifest

FACTORS, BIASES = (1.0, -0.5, 2.0), (0.0, 0.25, -1.0)
MEMBERS = [{"checkpoint_sha256": f"{at}" * 64, "checkpoint_format": "none"} for at in range(len(FACTORS))]


def ensemble_manifest(**ensemble: Any) -> dict[str, Any]:
    """The manifest's fields, without `files`."""
    outputs = [{"name": "logit", "kind": "score", "shape": ["N", len(FACTORS), 1]}]
    return {**tiny_manifest(), "outputs": outputs, "ensemble": {"members": MEMBERS, **ensemble}}


def members_logits(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N, 1] of the tiny network -> [N, members, 1]."""
    return logits[:, None] * np.array(FACTORS)[:, None] + np.array(BIASES)[:, None]


def make_tiny_ensemble(output: Path, *, off: float = 0.0, **ensemble: Any) -> Path:
    """Write the bundle.

    Args:
        off: by how much the stored answer of the last member differs. ensemble: fields of the manifest's `ensemble`.
    """
    draft = make_draft(output.with_name(output.name + ".draft"))
    model = onnx.load(draft / "model.onnx")
    graph = model.graph
    graph.node[-1].output[0] = "one"
    graph.node.extend(
        [
            helper.make_node("Unsqueeze", ["one", "last"], ["row"], name="row"),
            helper.make_node("Mul", ["row", "factors"], ["scaled"], name="scaled"),
            helper.make_node("Add", ["scaled", "biases"], ["logit"], name="members"),
        ]
    )
    for name, values in (("factors", FACTORS), ("biases", BIASES)):
        graph.initializer.append(numpy_helper.from_array(np.array(values, np.float32)[:, None], name))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["N", len(FACTORS), 1]))
    onnx.save(model, draft / "model.onnx")
    with np.load(draft / "golden.npz") as stored:
        arrays = dict(stored)
    arrays["logit"] = members_logits(expected_logits(arrays)).astype(np.float32)
    arrays["logit"][:, -1] += np.float32(off)
    np.savez(draft / "golden.npz", **arrays)
    return write_bundle(draft, ensemble_manifest(**ensemble), output).folder
