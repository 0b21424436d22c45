"""Bundles whose network never answers, or does not on what a caller gives it."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mmcaf_engine.bundle.bundle import write_bundle
from tiny_bundle import make_draft, tiny_manifest


def make_endless_bundle(output: Path, *, above: float | None = None) -> Path:
    """The tiny bundle with a loop in it that has no end.

    Args:
        above: only where a value of the image is above this; without it, always.
    """
    draft = make_draft(output.with_name(output.name + ".draft"))
    model = onnx.load(draft / "model.onnx")
    graph = model.graph
    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["goes_on"]), helper.make_node("Identity", ["value"], ["same"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.FLOAT, ["N", 2]),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("same", TensorProto.FLOAT, ["N", 2]),
        ],
    )
    limit = np.float32(-1e30 if above is None else above)
    graph.initializer.extend(
        [numpy_helper.from_array(limit, "limit"), numpy_helper.from_array(np.int64(2**62), "most")]
    )
    before = [
        helper.make_node("ReduceMax", ["image"], ["largest"], keepdims=0),
        helper.make_node("Greater", ["largest", "limit"], ["begins"]),
        helper.make_node("Loop", ["most", "begins", "table"], ["told"], body=body),
    ]
    for node in graph.node:
        node.input[:] = ["told" if name == "table" else name for name in node.input]
    nodes = [*before, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, draft / "model.onnx")
    return write_bundle(draft, tiny_manifest(), output).folder
