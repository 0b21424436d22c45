"""The tiny bundles with a graph that draws heat maps: means of parts of an input, by the cotangent, where above 0."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mmcaf_engine.bundle.bundle import write_bundle
from mmcaf_engine.bundle.parsing import parse_manifest
from mmcaf_engine.manifest import Manifest

GAIN = 3.0
"""Of a map, so that it is as large as no other output."""


def with_maps(
    made: Path,
    output: Path,
    over: str,
    grid: Sequence[int],
    *,
    edit: Callable[[dict[str, Any]], object] = id,
    **explain: Any,
) -> Path:
    """The same bundle with a graph of one map, "cam"; `explain` replaces fields of the manifest's part.

    Args:
        over: the input that the map lies over. edit: what else is done with the manifest's fields.
    """
    folder = Path(shutil.copytree(made, output.with_name(f"{output.name}.draft")))
    sealed = folder / "manifest.json"
    manifest = parse_manifest(sealed.read_bytes(), shown=made)
    fields = manifest.model_dump(mode="json", exclude={"files"})
    sealed.unlink()
    onnx.save(graph(manifest, over, grid), folder / "explain.onnx")
    golden = dict(np.load(folder / "golden.npz"))
    cotangent = np.random.default_rng(9).normal(size=(len(golden[over]), scores(manifest))).astype(np.float32)
    golden |= {"cotangent": cotangent, "cam": expected_map(golden[over], cotangent, grid)}
    np.savez(folder / "golden.npz", **golden)
    one = {"output": "cam", "title": "Grad-CAM", "module": "encoder.last", "input": over, "grid": list(grid)}
    fields |= {"format_version": 2, "explain": {"maps": [one], **explain}}
    edit(fields)
    return write_bundle(folder, fields, output).folder


def scores(manifest: Manifest) -> int:
    return int(manifest.score.shape[1])


def gains(count: int) -> NDArray[np.float32]:
    """What each score's gradient counts, so that one score is not another."""
    return (GAIN * (1 + np.arange(count))).astype(np.float32)


def expected_map(
    values: NDArray[np.float32], cotangent: NDArray[np.float32], grid: Sequence[int]
) -> NDArray[np.float32]:
    """What the graph draws, in numpy: [N, C, *size] and [N, K] -> [N, *grid]."""
    split = [length for size, parts in zip(values.shape[2:], grid, strict=True) for length in (parts, size // parts)]
    means = values.mean(axis=1).reshape(len(values), *split).mean(axis=tuple(range(2, 2 + 2 * len(grid), 2)))
    slope = (cotangent @ gains(cotangent.shape[1])).reshape(-1, *[1] * len(grid))
    return np.maximum(means * slope, 0).astype(np.float32)


def graph(manifest: Manifest, over: str, grid: Sequence[int]) -> onnx.ModelProto:
    inputs = [
        helper.make_tensor_value_info(
            spec.name, TensorProto.INT64 if spec.dtype == "int64" else TensorProto.FLOAT, list(spec.shape)
        )
        for spec in manifest.inputs
    ]
    inputs.append(helper.make_tensor_value_info("cotangent", TensorProto.FLOAT, ["N", scores(manifest)]))
    size = next(spec.shape[2:] for spec in manifest.inputs if spec.name == over)
    kernel = [int(axis) // parts for axis, parts in zip(size, grid, strict=True)]
    constants = {
        "gains": gains(scores(manifest))[:, np.newaxis],
        "channels": np.array([1], np.int64),
        "slope_shape": np.array([-1, *[1] * len(grid)], np.int64),
    }
    nodes = [
        helper.make_node("ReduceMean", [over, "channels"], ["grey"], keepdims=1),
        helper.make_node("AveragePool", ["grey"], ["pooled"], kernel_shape=kernel, strides=kernel),
        helper.make_node("Squeeze", ["pooled", "channels"], ["means"]),
        helper.make_node("MatMul", ["cotangent", "gains"], ["slope"]),
        helper.make_node("Reshape", ["slope", "slope_shape"], ["slopes"]),
        helper.make_node("Mul", ["means", "slopes"], ["signed"]),
        helper.make_node("Relu", ["signed"], ["cam"]),
    ]
    drawn = helper.make_graph(
        nodes,
        "maps",
        inputs,
        [helper.make_tensor_value_info("cam", TensorProto.FLOAT, ["N", *grid])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(drawn, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
