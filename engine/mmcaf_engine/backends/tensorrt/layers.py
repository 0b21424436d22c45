"""Layers on TensorRT: its profiler's times, its inspector's ONNX nodes, and the operations of the parsed network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...manifest import TensorSpec
from ..node_time import NodeTime
from .conv_precision import products
from .fitting import fitting_flavour
from .layer_report import read_report
from .network import parse_network

SOURCE = "TensorRT's profiler"


def node_times(
    spent: Mapping[str, float],
    windows: int,
    report: str,
    model: Path,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
) -> list[NodeTime]:
    """Every layer of an engine, on the mean of so many windows.

    Args:
        spent: layer -> milliseconds of all windows, as a `profiler` adds them up.
        report: the inspector's, of the same engine.
        model: the ONNX file that it was built from.
    """
    parsed = parse_network(fitting_flavour(), model, inputs, outputs)
    flops = {product.name: product.flops for product in products(parsed)}
    layers = {layer.name: layer for layer in read_report(report)}
    found = []
    for name, ms in spent.items():
        layer = layers.get(name)
        onnx = layer.nodes if layer is not None else ()
        kind = layer.kind if layer is not None and layer.kind else "layer"
        operations = sum(flops.get(node, 0) for node in onnx) if onnx else None
        found.append(NodeTime(name, kind, onnx, ms / windows, operations, None))
    return found


def profiler(trt: Any, spent: dict[str, float]) -> Any:
    """What TensorRT calls after a window, with each layer's milliseconds; they are added up in `spent`."""

    class Profiler(trt.IProfiler):  # type: ignore[misc]
        """TensorRT's interface."""

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            spent[layer_name] = spent.get(layer_name, 0.0) + ms

    return Profiler()
