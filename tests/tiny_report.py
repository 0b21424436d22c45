"""A bundle that reads a CT, a record with a cut, and a report, and tells three independent labels.

logit = brightness * mean(PLACES * image) + table . weights + mean over the report's tokens of embeddings[token].
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mmcaf_engine.bundle.bundle import write_bundle
from tiny_bundle import PLACES, SIZE, SLICES, tiny_manifest
from tiny_places import weighted_mean

# fmt: off
PIECES = (
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", ",", "-", "no", "new", "old", "small", "large", "the", "lung", "lungs",
    "heart", "nodule", "nod", "##ule", "##ules", "effusion", "is", "are", "of", "left", "right", "clear", "seen",
    "without", "change", "un", "##change", "##d", "pleural", "a", "3", "cm",
)
# fmt: on
"""The vocabulary; it stands in another order than BERT's, in which [PAD] is 0 and [CLS] 101."""

LABELS = ("nodule", "effusion", "large heart")
THRESHOLDS = (0.5, 0.3, 0.8)
BUCKETS = (4, 8, 12)
BRIGHTNESS = np.array([[2.0, 0.5, -1.0]], dtype=np.float32)
TABLE = np.array([[0.5, -0.25, 1.0], [0.25, 0.5, -0.5], [1.0, 0.0, 2.0]], dtype=np.float32)
"""Of sex, age, and age >= 60."""
EMBEDDINGS = np.random.default_rng(7).normal(0, 2, (len(PIECES), len(LABELS))).astype(np.float32)


def report_manifest() -> dict[str, Any]:
    """The manifest's fields, without `files`."""
    document = tiny_manifest()
    table = document["table"]
    table["fields"][1]["cut"] = {"value": 60, "direction": "above", "label": "large heart"}
    del document["threshold"]
    return {
        **document,
        "name": "tiny-report",
        "inputs": [
            {"name": "image", "kind": "volume", "shape": ["N", 1, SLICES, SIZE, SIZE]},
            {"name": "input_ids", "kind": "tokens", "dtype": "int64", "shape": ["N", "L"]},
            {"name": "attention_mask", "kind": "token_mask", "dtype": "int64", "shape": ["N", "L"]},
            {"name": "table", "kind": "table", "shape": ["N", 3]},
        ],
        "outputs": [{"name": "logit", "kind": "score", "shape": ["N", len(LABELS)]}],
        "table": {**table, "ignored": ["ward"]},
        "text": {
            "vocabulary": "vocabulary.txt",
            "lowercase": True,
            "max_tokens": BUCKETS[-1],
            "buckets": list(BUCKETS),
            "remove": ["XXXX"],
            "fields": ["findings", "impression"],
        },
        "labels": list(LABELS),
        "activation": "independent",
        "thresholds": list(THRESHOLDS),
    }


def expected_logits(arrays: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    """What the network answers, by the formula above, float64 [N, 3]."""
    mask = arrays["attention_mask"].astype(np.float64)[:, :, None]
    told = (EMBEDDINGS.astype(np.float64)[arrays["input_ids"]] * mask).sum(axis=1) / mask.sum(axis=1)
    bright = weighted_mean(arrays["image"], PLACES)[:, None]
    answer: NDArray[np.float64] = bright * BRIGHTNESS + arrays["table"].astype(np.float64) @ TABLE + told
    return answer


def example_arrays(cases: int, length: int, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Inputs of the network whose texts end at different places; what is padded holds [PAD]."""
    rng = np.random.default_rng(seed)
    kept = rng.integers(1, length + 1, (cases, 1))
    mask = (np.arange(length) < kept).astype(np.int64)
    return {
        "image": rng.uniform(-0.5, 0.5, (cases, 1, SLICES, SIZE, SIZE)).astype(np.float32),
        "input_ids": rng.integers(1, len(PIECES), (cases, length)) * mask,
        "attention_mask": mask,
        "table": rng.uniform(-1, 1, (cases, 3)).astype(np.float32),
    }


def make_tiny_report(output: Path, **changes: Any) -> Path:
    """Write the bundle; `changes` replace fields of the manifest."""
    folder = output.with_name(output.name + ".draft")
    folder.mkdir(parents=True)
    onnx.save(report_network(), folder / "model.onnx")
    (folder / "vocabulary.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    arrays = example_arrays(3, BUCKETS[-1])
    np.savez(folder / "golden.npz", **arrays, logit=expected_logits(arrays).astype(np.float32))
    return write_bundle(folder, {**report_manifest(), **changes}, output).folder


def report_network() -> onnx.ModelProto:
    """The network of the formula above, with free axes N and L."""
    nodes = [
        helper.make_node("Gather", ["embeddings", "input_ids"], ["embedded"], axis=0, name="embed"),
        helper.make_node("Cast", ["attention_mask"], ["real"], to=TensorProto.FLOAT, name="real"),
        helper.make_node("Unsqueeze", ["real", "two"], ["weights"], name="weights"),
        helper.make_node("Mul", ["embedded", "weights"], ["masked"], name="masked"),
        helper.make_node("ReduceSum", ["masked", "one"], ["sum"], keepdims=0, name="sum"),
        helper.make_node("ReduceSum", ["real", "one"], ["count"], keepdims=1, name="count"),
        helper.make_node("Div", ["sum", "count"], ["told"], name="told"),
        helper.make_node("Mul", ["image", "places"], ["weighted"], name="weighted"),
        helper.make_node("ReduceMean", ["weighted", "axes"], ["mean"], keepdims=0, name="mean"),
        helper.make_node("Unsqueeze", ["mean", "one"], ["column"], name="column"),
        helper.make_node("MatMul", ["column", "brightness"], ["bright"], name="bright"),
        helper.make_node("MatMul", ["table", "table_weights"], ["clinical"], name="clinical"),
        helper.make_node("Add", ["bright", "clinical"], ["without_text"], name="without_text"),
        helper.make_node("Add", ["without_text", "told"], ["logit"], name="logit"),
    ]
    constants = {
        "embeddings": EMBEDDINGS,
        "one": np.array([1]),
        "two": np.array([2]),
        "places": PLACES,
        "axes": np.array([1, 2, 3, 4]),
        "brightness": BRIGHTNESS,
        "table_weights": TABLE,
    }
    inputs = [
        helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, SLICES, SIZE, SIZE]),
        helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["N", "L"]),
        helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["N", "L"]),
        helper.make_tensor_value_info("table", TensorProto.FLOAT, ["N", 3]),
    ]
    outputs = [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["N", len(LABELS)])]
    held = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "tiny-report", inputs, outputs, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
