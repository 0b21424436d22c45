"""Milliseconds that each convolution and matrix product takes, as OpenVINO's own counters tell."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from mmcaf_engine.backends.registry import backend_class

from ..onnx_files import load_model

WARM_UP_RUNS = 2
RUNS = 10

_KINDS = ("Convolution", "FullyConnected", "MatMul")
_ENDINGS = ("/WithoutBiases", "/DequantizationMultiply")
"""What OpenVINO appends to the name of a node that it took apart."""


def layer_times(model: Path, window: Mapping[str, NDArray[Any]], threads: int) -> dict[str, float] | None:
    """Node -> mean of RUNS times in ms, after a warm-up; None without OpenVINO."""
    backend = backend_class("openvino")
    if not backend.availability().available:
        return None
    from mmcaf_engine.backends.openvino.layers import Counters

    core = backend.runtime().Core()
    network = core.read_model(model)
    network.reshape({name: list(array.shape) for name, array in window.items()})
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERF_COUNT": True}
    counters = Counters(core.compile_model(network, "CPU", settings).create_infer_request())
    for run in range(WARM_UP_RUNS + RUNS):
        if run == WARM_UP_RUNS:
            counters.start()
        counters.infer(window)
    known = _names(load_model(model).graph)
    found: dict[str, float] = {}
    for entry, ms in counters.means():
        if any(kind in entry.node_type for kind in _KINDS) and (node := known.get(_plain(entry.node_name))):
            found[node] = ms
    return found


def _names(graph: ir.Graph) -> dict[str, str]:
    """Name that OpenVINO may give a layer -> its node: its own, its result's, or those of the bias added to it."""
    known: dict[str, str] = {}
    for node in graph:
        if node.op_type in ("Conv", "MatMul", "Gemm") and node.name is not None:
            for name in _own_and_bias(node):
                known.setdefault(name, node.name)
    return known


def _own_and_bias(node: ir.Node) -> Iterator[str]:
    result = node.outputs[0]
    readers = [use.node for use in result.uses()]
    followers = readers if len(readers) == 1 and readers[0].op_type == "Add" else []
    for one in (node, *followers):
        yield from (str(one.name), str(one.outputs[0].name))


def _plain(name: str) -> str:
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    return name
