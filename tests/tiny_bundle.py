"""A bundle whose network is a few ONNX nodes: logit = 8 * mean(PLACES * image) + table . WEIGHTS."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mmcaf_engine.bundle.bundle import write_bundle
from tiny_places import place_weights, weighted_mean

SLICES, SIZE = 4, 16
WEIGHTS = np.array([[0.5], [-0.25]], dtype=np.float32)
PLACES = place_weights((1, SLICES, SIZE, SIZE), seed=3)
"""Of mean 1."""

ORIGIN: dict[str, Any] = {
    "provenance": {
        "checkpoint_sha256": "0" * 64,
        "checkpoint_format": "none",
        "dead_keys_ignored": 0,
        "exporter": "tests",
        "framework": "onnx",
        "opset": 18,
    },
    "licence": "Apache-2.0",
    "intended_use": "A test.",
}
"""Of a manifest, what says where the network comes from."""


def tiny_manifest() -> dict[str, Any]:
    """The manifest's fields, without `files`."""
    return {
        "name": "tiny",
        "network": {"name": "tiny", "config": {"slices": SLICES}, "parameters": 2},
        "inputs": [
            {"name": "image", "kind": "volume", "shape": ["N", 1, SLICES, SIZE, SIZE]},
            {"name": "table", "kind": "table", "shape": ["N", 2]},
        ],
        "outputs": [{"name": "logit", "kind": "score", "shape": ["N", 1]}],
        "models": {"fp32": "model.onnx"},
        "preprocessing": {
            "modality": "CT",
            "intensity": "hounsfield",
            "windows": {"slices": SLICES, "stride": SLICES, "pad_value": -1000.0},
            "steps": [
                {"step": "resize", "method": "area", "rows": SIZE, "columns": SIZE, "rounding": "half_even"},
                {"step": "clip_scale", "lower": -100.0, "upper": 900.0},
            ],
        },
        "table": {
            "fields": [
                {
                    "kind": "category",
                    "name": "sex",
                    "description": "Sex",
                    "categories": {"M": 1, "F": 0},
                    "synonyms": {"male": "M", "female": "F"},
                    "dicom": "PatientSex",
                },
                {
                    "kind": "number",
                    "name": "age",
                    "description": "Age",
                    "unit": "years",
                    "minimum": 0,
                    "maximum": 120,
                    "lower": 20,
                    "upper": 90,
                    "dicom": "PatientAge",
                },
            ]
        },
        "labels": ["quiet", "loud"],
        "aggregation": {"method": "max"},
        "threshold": 0.5,
        **ORIGIN,
    }


def make_tiny_bundle(output: Path, **changes: Any) -> Path:
    """Write the bundle; `changes` replace fields of the manifest."""
    draft = make_draft(output.with_name(output.name + ".draft"))
    return write_bundle(draft, {**tiny_manifest(), **changes}, output).folder


def make_draft(folder: Path) -> Path:
    """The bundle's files, without its manifest, in a new folder."""
    folder.mkdir(parents=True)
    onnx.save(_network(), folder / "model.onnx")
    generator = np.random.default_rng(0)
    image = generator.uniform(-0.5, 0.5, (2, 1, SLICES, SIZE, SIZE)).astype(np.float32)
    table = generator.uniform(-1, 1, (2, 2)).astype(np.float32)
    logit = expected_logits({"image": image, "table": table}).astype(np.float32)
    np.savez(folder / "golden.npz", image=image, table=table, logit=logit)
    return folder


def expected_logits(arrays: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    """What the network answers, by the formula above, float64 [N, 1]."""
    told = arrays["table"].astype(np.float64) @ WEIGHTS
    answer: NDArray[np.float64] = 8 * weighted_mean(arrays["image"], PLACES)[:, None] + told
    return answer


def make_tiny_mr(output: Path) -> Path:
    """The bundle as one that reads MR, of which there is no synthetic study."""
    preprocessing = {**tiny_manifest()["preprocessing"], "modality": "MR", "intensity": "rescaled"}
    return make_tiny_bundle(output, preprocessing=preprocessing)


def _network() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Mul", ["image", "places"], ["weighted"], name="weighted"),
        helper.make_node("ReduceMean", ["weighted", "axes"], ["mean"], keepdims=0, name="mean"),
        helper.make_node("Unsqueeze", ["mean", "last"], ["column"], name="column"),
        helper.make_node("Mul", ["column", "eight"], ["louder"], name="louder"),
        helper.make_node("MatMul", ["table", "weights"], ["clinical"], name="clinical"),
        helper.make_node("Add", ["louder", "clinical"], ["logit"], name="sum"),
    ]
    constants = {
        "places": PLACES,
        "axes": np.array([1, 2, 3, 4], dtype=np.int64),
        "last": np.array([1], dtype=np.int64),
        "eight": np.array(8, dtype=np.float32),
        "weights": WEIGHTS,
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, SLICES, SIZE, SIZE]),
            helper.make_tensor_value_info("table", TensorProto.FLOAT, ["N", 2]),
        ],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["N", 1])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
