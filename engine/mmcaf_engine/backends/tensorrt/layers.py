"""Layers on TensorRT: its profiler's times, its inspector's ONNX nodes, and the operations of the parsed network."""

from collections.abc import Sequence
from typing import Any

from ..node_time import NodeTime
from .backend import TensorRtBackend
from .conv_precision import products
from .flavour import find_flavour
from .layer_report import read_report
from .loading import Plan
from .network import parse_network


class CountingTensorRt(TensorRtBackend):
    """The backend with TensorRT's profiler on, which launches without CUDA graphs, and waits for each window."""

    source = "TensorRT's profiler"
    _windows = 0

    def start_counting(self) -> None:
        """Leave out all windows until now."""
        self._windows = 0
        self._spent.clear()

    def counted(self, extra_ms: float = 0.0) -> list[NodeTime]:
        """Every layer of the engine, on the mean of the windows since."""
        parsed = parse_network(find_flavour(), self.model, self.inputs, self.outputs)
        flops = {product.name: product.flops for product in products(parsed)}
        layers = {layer.name: layer for layer in read_report(self._report)}
        found = []
        for name, spent in self._spent.items():
            layer = layers.get(name)
            onnx = layer.nodes if layer is not None else ()
            kind = layer.kind if layer is not None and layer.kind else "layer"
            operations = sum(flops.get(node, 0) for node in onnx) if onnx else None
            found.append(NodeTime(name, kind, onnx, spent / self._windows, operations, None))
        return found

    def _start(self, plan: Plan) -> None:
        super()._start(plan)
        self._spent: dict[str, float] = {}
        self._report = self._runner.report_layers(self._profiler())

    def _infer_windows(self, windows: Sequence[Any]) -> list[Any]:
        self._windows += len(windows)
        return super()._infer_windows(windows)

    def _profiler(self) -> Any:
        spent = self._spent

        class Profiler(self.runtime().IProfiler):  # type: ignore[misc]
            """What TensorRT calls after a window, with each layer's milliseconds."""

            def report_layer_time(self, layer_name: str, ms: float) -> None:
                spent[layer_name] = spent.get(layer_name, 0.0) + ms

        return Profiler()
