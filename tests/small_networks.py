"""Small ONNX networks for tests of precisions, numpy's answer for a convolution, and a bundle of two convolutions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, shape_inference

from mmcaf_engine.bundle.bundle import write_bundle
from mmcaf_engine.manifest import TensorSpec
from tiny_bundle import SIZE, SLICES, WEIGHTS, tiny_manifest

Shape = Sequence[int | str]
Floats = NDArray[np.floating[Any]]


def save_network(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Shape],
    outputs: Mapping[str, Shape],
    constants: Mapping[str, NDArray[Any]],
    opset: int = 20,
) -> Path:
    """Write a float32 network with the shapes of all its values, as an export has them."""
    for node in nodes:
        node.name = node.name or node.output[0]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.save(shape_inference.infer_shapes(model, strict_mode=True), path)
    return path


def answer(path: Path, feed: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """The first output in ONNX Runtime, after the checker found nothing wrong; no operator is fused."""
    onnx.checker.check_model(onnx.load(path), full_check=True)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, dict(feed))[0])


def convolve(x: Floats, weight: Floats, bias: Floats | float = 0.0) -> NDArray[np.float64]:
    """Convolution of [N, C, D, H, W] with an odd kernel [K, C, d, h, w], zero padding, the same size; in float64."""
    margins = [(size // 2, size // 2) for size in weight.shape[2:]]
    padded = np.pad(x.astype(np.float64), [(0, 0), (0, 0), *margins])
    windows = sliding_window_view(padded, weight.shape[2:], axis=(2, 3, 4))
    total = np.einsum("ncxyzijk,ocijk->noxyz", windows, weight.astype(np.float64), optimize=True)
    return total + np.reshape(bias, (-1, 1, 1, 1))


def convolution_logits(arrays: Mapping[str, Floats]) -> NDArray[np.float64]:
    """What the network of `make_convolution_bundle` answers, in numpy, [N, 1]."""
    weights = _convolution_weights(np.random.default_rng(1))
    active = np.maximum(convolve(arrays["image"], weights["first.weight"], weights["first.bias"]), 0)
    features = convolve(active, weights["second.weight"]).mean(axis=(2, 3, 4))
    logits: NDArray[np.float64] = features @ weights["head.weight"] + arrays["table"] @ weights["table.weight"]
    return logits


def _convolution_weights(generator: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    return {
        "first.weight": generator.normal(0, 0.5, (8, 1, 3, 3, 3)).astype(np.float32),
        "first.bias": generator.normal(0, 0.5, 8).astype(np.float32),
        "second.weight": generator.normal(0, 0.2, (8, 8, 3, 3, 3)).astype(np.float32),
        "head.weight": generator.normal(0, 0.5, (8, 1)).astype(np.float32),
        "table.weight": WEIGHTS,
    }


def make_convolution_bundle(output: Path, **changes: Any) -> Path:
    """Write a bundle as `make_tiny_bundle` does, whose network has two convolutions; `changes` as there."""
    generator = np.random.default_rng(1)
    folder = output.with_name(f"{output.name}.draft")
    folder.mkdir(parents=True)
    volume = (1, SLICES, SIZE, SIZE)
    nodes = [
        helper.make_node("Conv", ["image", "first.weight", "first.bias"], ["first"], pads=[1] * 6),
        helper.make_node("Relu", ["first"], ["active"]),
        helper.make_node("Conv", ["active", "second.weight"], ["second"], pads=[1] * 6),
        helper.make_node("ReduceMean", ["second", "space"], ["features"], keepdims=0),
        helper.make_node("MatMul", ["features", "head.weight"], ["seen"]),
        helper.make_node("MatMul", ["table", "table.weight"], ["clinical"]),
        helper.make_node("Add", ["seen", "clinical"], ["logit"], name="sum"),
    ]
    constants = {**_convolution_weights(generator), "space": np.array([2, 3, 4], dtype=np.int64)}
    inputs: dict[str, Shape] = {"image": ["N", *volume], "table": ["N", 2]}
    save_network(folder / "model.onnx", nodes, inputs, {"logit": ["N", 1]}, constants)
    image = generator.uniform(0, 1, (2, *volume)).astype(np.float32)
    table = generator.uniform(-1, 1, (2, 2)).astype(np.float32)
    logit = convolution_logits({"image": image, "table": table}).astype(np.float32)
    np.savez(folder / "golden.npz", image=image, table=table, logit=logit)
    return write_bundle(folder, {**tiny_manifest(), **changes}, output).folder


def specs(*tensors: tuple[str, tuple[Any, ...]], kind: str = "volume") -> tuple[TensorSpec, ...]:
    """Inputs or outputs of a manifest, by name and shape."""
    return tuple(TensorSpec.model_validate({"name": name, "kind": kind, "shape": shape}) for name, shape in tensors)
