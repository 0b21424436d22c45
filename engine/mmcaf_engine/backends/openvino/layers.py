"""Layers on OpenVINO: its performance counters, and its own description of the compiled network."""

from collections.abc import Mapping
from math import prod
from typing import Any

from numpy.typing import NDArray

from ..node_time import NodeTime, convolution_flops, product_flops, transposed_flops
from .operators import kernel_of

SOURCE = "OpenVINO's performance counters"


class Counters:
    """The counters of a request whose network was compiled with PERF_COUNT.

    OpenVINO gives each node's mean, in whole microseconds, over all windows since the network was compiled; these are
    the means since `start`.
    """

    def __init__(self, request: Any) -> None:
        self._request = request
        self.windows = 0
        self._left_out = 0
        self._before: list[float] = []

    def infer(self, window: Mapping[str, NDArray[Any]]) -> None:
        """Run the request once."""
        self._request.infer(window)
        self.windows += 1

    def start(self) -> None:
        """Leave out all windows until now."""
        self._before, self._left_out = self._sums(), self.windows

    def means(self) -> list[tuple[Any, float]]:
        """OpenVINO's entry of every node that was executed, and its mean in ms over the windows since."""
        windows = self.windows - self._left_out
        entries = self._request.profiling_info
        return [
            (entry, max(after - before, 0.0) / windows)
            for entry, before, after in zip(entries, self._before, self._sums(), strict=True)
            if entry.status == entry.Status.EXECUTED
        ]

    def _sums(self) -> list[float]:
        """Of each entry, milliseconds of all windows until now."""
        return [entry.real_time.total_seconds() * 1e3 * self.windows for entry in self._request.profiling_info]


def node_times(compiled: Any, counters: Counters) -> list[NodeTime]:
    """Every node of a compiled network that was executed, on the mean of the windows since `Counters.start`."""
    graph = {node.get_friendly_name(): node for node in compiled.get_runtime_model().get_ordered_ops()}
    return [_described(entry, graph.get(entry.node_name), ms) for entry, ms in counters.means()]


def _described(entry: Any, node: Any, ms: float) -> NodeTime:
    if node is None:
        return NodeTime(entry.node_name, entry.node_type, (), ms, None, None)
    facts = node.get_rt_info()
    onnx = tuple(str(facts["originalLayersNames"].value).split(",")) if "originalLayersNames" in facts else ()
    tensors = [*node.inputs(), *node.outputs()]
    if any(tensor.get_partial_shape().is_dynamic for tensor in tensors):
        return NodeTime(entry.node_name, entry.node_type, onnx, ms, None, None)
    given, made = ([list(tensor.get_shape()) for tensor in side] for side in (node.inputs(), node.outputs()))
    moved = sum(_bytes(tensor) for tensor in tensors)
    kernel = kernel_of(entry.node_name, entry.node_type)
    operations = _kernel_flops(kernel, given, made) if kernel else flops(entry.node_type, given, made)
    return NodeTime(entry.node_name, entry.node_type, onnx, ms, operations, moved)


def _bytes(tensor: Any) -> int:
    return int(prod(tensor.get_shape()) * tensor.get_element_type().size)


def _kernel_flops(kernel: str, given: list[list[int]], made: list[list[int]]) -> int:
    """As of the layers that a kernel stands for; maps are [N, D, H, W, C]."""
    match kernel:
        case "msdc":  # Taps that meet nothing but padding count nowhere; the product of one tap is no convolution.
            sides = given[0][1:4]
            taps = sum(prod(min(size, 2 * side - 1) for side in sides) for size in (3, 5))
            return 2 * prod(given[0]) * taps
        case "grouped_convolution":
            return 2 * prod(made[0]) * prod(given[1][1:])
        case "upsample_dw":
            return 2 * prod(made[0]) * given[1][1]
        case "groupnorm_act":  # The two products of its gate.
            return sum(2 * prod(shape) for shape in given if len(shape) == 2)
    return 0


def flops(kind: str, given: list[list[int]], made: list[list[int]]) -> int:
    """2 per multiply-add of OpenVINO's layer of this kind, from the shapes of its inputs and outputs; 0 of others."""
    match kind:
        case "Convolution" | "GroupConvolution":
            return convolution_flops(made[0], given[1])
        case "Deconvolution" | "ConvolutionBackpropData" | "GroupConvolutionBackpropData":
            return transposed_flops(given[0], given[1])
        case "FullyConnected" | "MatMul":
            return product_flops(made[0], given[0][-1])
    return 0
