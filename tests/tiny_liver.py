"""A bundle for three liver phases: logits from weighted means of abs(volume), attention a grid of means."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mmcaf_engine.bundle.bundle import write_bundle
from mmcaf_engine.demo import LIVER_LABELS
from tiny_bundle import ORIGIN
from tiny_places import place_weights, weighted_mean

INPUTS = ("t2", "dwi", "c_a")
SHAPE = (16, 16, 8)
"""Of the network's axes: left, anterior, superior."""
GRID = (4, 4)
PLACES = place_weights((1, *SHAPE), seed=8)
"""Of mean 1, for each volume."""
WEIGHTS = np.random.default_rng(5).normal(0, 2, (len(INPUTS), len(LIVER_LABELS))).astype(np.float32)

SERIES: list[dict[str, Any]] = [
    {"input": "t2", "description": "T2-weighted", "match": [{"words": ["t2*"], "without": ["*diff*"]}]},
    {
        "input": "dwi",
        "description": "diffusion-weighted",
        "match": [{"b_value": {"minimum": 500, "maximum": 1500}, "without": ["*adc*"]}],
    },
    {
        "input": "c_a",
        "description": "arterial phase",
        "match": [
            {"words": ["arterial*", "art"]},
            {"words": ["*vibe*"], "turn": {"position": 2, "of": 4}},
        ],
    },
]


def tiny_liver_manifest() -> dict[str, Any]:
    """The manifest's fields, without `files`."""
    parts = GRID[0] * GRID[1]
    return {
        "name": "tiny liver",
        "network": {"name": "tiny", "config": {}, "parameters": WEIGHTS.size},
        "inputs": [{"name": name, "kind": "volume", "shape": ["N", 1, *SHAPE]} for name in INPUTS],
        "outputs": [
            {"name": "logits", "kind": "score", "shape": ["N", len(LIVER_LABELS)]},
            {"name": "alpha", "kind": "attention", "shape": ["N", parts]},
            {"name": "upper", "kind": "attention", "shape": ["N", parts]},
        ],
        "models": {"fp32": "model.onnx"},
        "preprocessing": {
            "modality": "MR",
            "intensity": "rescaled",
            "axes": "LAS",
            "steps": [{"step": "resize_volume", "size": list(SHAPE)}, {"step": "standardise"}],
        },
        "series": SERIES,
        "labels": list(LIVER_LABELS),
        "activation": "softmax",
        "aggregation": {"method": "mean"},
        "attention": [
            {"output": "alpha", "title": "whole", "grid": list(GRID)},
            {"output": "upper", "title": "upper half", "grid": list(GRID), "slices": [4, 8]},
        ],
        **ORIGIN,
    }


def make_tiny_liver(output: Path, **changes: Any) -> Path:
    """Write the bundle; `changes` replace fields of the manifest."""
    folder = output.with_name(output.name + ".draft")
    folder.mkdir(parents=True)
    onnx.save(_network(), folder / "model.onnx")
    generator = np.random.default_rng(0)
    volumes = {name: generator.normal(size=(2, 1, *SHAPE)).astype(np.float32) for name in INPUTS}
    np.savez(folder / "golden.npz", **volumes, **expected(volumes))
    return write_bundle(folder, {**tiny_liver_manifest(), **changes}, output).folder


def expected(volumes: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """What the network answers, in numpy."""
    means = np.stack([weighted_mean(np.abs(volumes[name]), PLACES) for name in INPUTS], axis=1)
    rows, columns = SHAPE[0] // GRID[0], SHAPE[1] // GRID[1]
    parts = np.abs(volumes["c_a"]).reshape(-1, GRID[0], rows, GRID[1], columns, SHAPE[2])
    sums = parts.sum(axis=(2, 4, 5)).reshape(len(means), -1)
    alpha = sums / sums.sum(axis=1, keepdims=True)
    return {"logits": (means @ WEIGHTS).astype(np.float32), "alpha": alpha, "upper": alpha}


def _network() -> onnx.ModelProto:
    nodes = []
    for name in INPUTS:
        nodes.append(helper.make_node("Abs", [name], [f"{name}_abs"]))
        nodes.append(helper.make_node("Mul", [f"{name}_abs", "places"], [f"{name}_weighted"]))
        nodes.append(helper.make_node("ReduceMean", [f"{name}_weighted", "axes"], [f"{name}_mean"], keepdims=0))
    window = [SHAPE[0] // GRID[0], SHAPE[1] // GRID[1], SHAPE[2]]
    nodes += [
        helper.make_node("Concat", [f"{name}_mean" for name in INPUTS], ["means"], axis=1),
        helper.make_node("MatMul", ["means", "weights"], ["logits"]),
        helper.make_node("AveragePool", ["c_a_abs"], ["pooled"], kernel_shape=window, strides=window),
        helper.make_node("Flatten", ["pooled"], ["flat"], axis=1),
        helper.make_node("ReduceSum", ["flat", "last"], ["total"], keepdims=1),
        helper.make_node("Div", ["flat", "total"], ["alpha"]),
        helper.make_node("Identity", ["alpha"], ["upper"]),
    ]
    constants = {
        "places": PLACES,
        "axes": np.array([2, 3, 4], dtype=np.int64),
        "last": np.array([1], dtype=np.int64),
        "weights": WEIGHTS,
    }
    parts = GRID[0] * GRID[1]
    graph = helper.make_graph(
        nodes,
        "tiny_liver",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1, *SHAPE]) for name in INPUTS],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", len(LIVER_LABELS)]),
            helper.make_tensor_value_info("alpha", TensorProto.FLOAT, ["N", parts]),
            helper.make_tensor_value_info("upper", TensorProto.FLOAT, ["N", parts]),
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
