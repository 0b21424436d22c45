"""The tiny report's bundle, with attention to the word pieces of the report and to the fields of the record.

A word piece's weight is its number plus one, divided by the sum over the report; a field's one plus the absolute value
of its feature, divided by the sum of both.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mmcaf_engine.bundle.bundle import write_bundle
from tiny_report import BUCKETS, PIECES, example_arrays, expected_logits, report_manifest, report_network


def words_manifest(**changes: Any) -> dict[str, Any]:
    """The manifest's fields, without `files`."""
    document = report_manifest()
    outputs = [
        {"name": "words", "kind": "attention", "shape": ["N", "L"], "optional": True},
        {"name": "fields", "kind": "attention", "shape": ["N", 2], "optional": True},
    ]
    return {
        **document,
        "name": "tiny-words",
        "outputs": [*document["outputs"], *outputs],
        "attention": [
            {"output": "words", "title": "words", "input": "input_ids", "meaning": "share of a word piece"},
            {"output": "fields", "title": "fields", "input": "table"},
        ],
        **changes,
    }


def expected_weights(arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[np.float64]]:
    """What the outputs `words` and `fields` hold, by the formula above."""
    words = (arrays["input_ids"] + 1.0) * arrays["attention_mask"]
    fields = 1.0 + np.abs(arrays["table"][:, :2].astype(np.float64))
    return {
        "words": words / words.sum(axis=1, keepdims=True),
        "fields": fields / fields.sum(axis=1, keepdims=True),
    }


def make_tiny_words(output: Path, **changes: Any) -> Path:
    """Write the bundle; `changes` replace fields of the manifest."""
    folder = output.with_name(output.name + ".draft")
    folder.mkdir(parents=True)
    onnx.save(_network(), folder / "model.onnx")
    (folder / "vocabulary.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    arrays = example_arrays(3, BUCKETS[-1])
    weights = {name: values.astype(np.float32) for name, values in expected_weights(arrays).items()}
    np.savez(folder / "golden.npz", **arrays, logit=expected_logits(arrays).astype(np.float32), **weights)
    return write_bundle(folder, words_manifest(**changes), output).folder


def _network() -> onnx.ModelProto:
    model = report_network()
    graph = model.graph
    graph.node.extend(
        [
            helper.make_node("Cast", ["input_ids"], ["numbers"], to=TensorProto.FLOAT, name="numbers"),
            helper.make_node("Add", ["numbers", "unit"], ["raised"], name="raised"),
            helper.make_node("Mul", ["raised", "real"], ["of_pieces"], name="of_pieces"),
            helper.make_node("ReduceSum", ["of_pieces", "one"], ["of_all"], keepdims=1, name="of_all"),
            helper.make_node("Div", ["of_pieces", "of_all"], ["words"], name="words"),
            helper.make_node("Slice", ["table", "none", "two", "one"], ["first"], name="first"),
            helper.make_node("Abs", ["first"], ["size"], name="size"),
            helper.make_node("Add", ["size", "unit"], ["of_fields"], name="of_fields"),
            helper.make_node("ReduceSum", ["of_fields", "one"], ["of_both"], keepdims=1, name="of_both"),
            helper.make_node("Div", ["of_fields", "of_both"], ["fields"], name="fields"),
        ]
    )
    graph.initializer.extend(
        [numpy_helper.from_array(np.float32(1).reshape(1), "unit"), numpy_helper.from_array(np.array([0]), "none")]
    )
    graph.output.extend(
        [
            helper.make_tensor_value_info("words", TensorProto.FLOAT, ["N", "L"]),
            helper.make_tensor_value_info("fields", TensorProto.FLOAT, ["N", 2]),
        ]
    )
    return model
