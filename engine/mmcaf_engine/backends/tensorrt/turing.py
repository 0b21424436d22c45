"""A network for GPUs of compute capability 7.5 (Turing), in the operations that TensorRT for RTX has for them.

TensorRT for RTX 1.7 compiles neither FP32 matrix products nor FP32 3D convolutions for sm_75, and refuses a network
with any. FP16 and INT8 graphs have some: what is smaller than a map stays in FP32. Here each small FP32 matrix product
becomes a multiplication and a sum, still in FP32. In a graph of lower precision each FP32 convolution, and each product
that is too large for that, is fed FP16, and its answer is FP32 again; an FP32 graph would then no longer be one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import BackendError, Remedy, UsageError, program
from ...machine.compute_capability import TURING, Target
from ...manifest import Precision
from ..remedies import OTHER_BACKEND, SEE_WHAT_RUNS
from .flavour import captured_log, in_short
from .network import ParsedNetwork

LOWER = (
    Remedy(
        f"TensorRT for RTX has no FP32 convolutions for {TURING}; take FP16 there", option="precision", value="fp16"
    ),
    Remedy("Add FP16 to the bundle", command=program("quantize", "BUNDLE", "--precision", "fp16")),
)
"""What to do where an FP32 network is refused."""

_ELSEWHERE = (OTHER_BACKEND, SEE_WHAT_RUNS)
_LARGEST = float(np.finfo(np.float16).max)


SUMMED_TERMS = 1 << 20
"""A matrix product with at most so many multiplications may become a sum: written out, they take 4 MiB."""


@dataclass(frozen=True)
class TuringEdit:
    """What was changed: how many FP32 layers are now fed FP16, how many FP32 matrix products are sums.

    weights: those in FP16, which must live until the engine is built.
    """

    lowered: int
    summed: int
    weights: tuple[NDArray[np.float16], ...]

    def __str__(self) -> str:
        return f"{self.lowered} FP32 layers fed FP16, {self.summed} FP32 matrix products as multiplications and sums"


def check_alone(targets: Sequence[Target]) -> None:
    """Refuse sm_75 beside other targets, whose GPUs should not run a network that was changed for it.

    Raises:
        UsageError: it is one of several.
    """
    if TURING in targets and len(targets) > 1:
        raise UsageError(
            f"{TURING} cannot share an engine with {', '.join(str(one) for one in targets if one != TURING)}: "
            "its network is changed, in ways that would make the others slower and less exact.",
            Remedy(
                "Build it by itself",
                command=program("build", "BUNDLE", "--target", TURING, "--precision", "fp16"),
            ),
        )


def edit_for_turing(network: ParsedNetwork, precision: Precision) -> TuringEdit:
    """Change a parsed network, in place; inputs, outputs and the names of tensors stay.

    Args:
        precision: that of the model.

    Raises:
        BackendError: a weight is too large for FP16, and the message names its layer; or TensorRT refuses a change.
    """
    flavour = network.flavour
    editor = Editor(network)
    lowered = summed = 0
    with captured_log(flavour).errors() as said:
        for layer in editor.fp32_layers():
            if editor.is_small_product(layer):
                editor.sum_up(layer)
                summed += 1
            elif precision != "fp32":
                editor.lower(layer)
                lowered += 1
    if said:
        what = f"cannot change {network.model.name} for {TURING}"
        raise BackendError(f"{flavour.name} {flavour.version} {what}: {in_short(said)}", *_ELSEWHERE)
    return TuringEdit(lowered, summed, tuple(editor.weights))


class Editor:
    """Adds layers to a definition and rewires its consumers; what is left without one, TensorRT drops."""

    def __init__(self, network: ParsedNetwork) -> None:
        self.trt = trt = network.flavour.module
        self.weights: list[NDArray[np.float16]] = []
        self._kinds = {
            trt.LayerType.CONVOLUTION: trt.IConvolutionLayer,
            trt.LayerType.DECONVOLUTION: trt.IDeconvolutionLayer,
            trt.LayerType.MATRIX_MULTIPLY: trt.IMatrixMultiplyLayer,
        }
        self._definition = definition = network.definition
        self._layers = [definition.get_layer(index) for index in range(definition.num_layers)]
        self._outputs = {tensor.name for tensor in network.outputs}
        self._halves: dict[str, Any] = {}
        self._producers: dict[str, Any] = {}
        self._consumers: dict[str, list[tuple[Any, int]]] = {}
        for layer in self._layers:
            for at in range(layer.num_outputs):
                self._producers[layer.get_output(at).name] = layer
            for at in range(layer.num_inputs):
                tensor = layer.get_input(at)
                if tensor is not None:  # A slice's start, where it has none
                    self._consumers.setdefault(tensor.name, []).append((layer, at))

    def fp32_layers(self) -> list[Any]:
        """The FP32 convolutions and matrix products, in order."""
        found = [layer for layer in self._layers if layer.type in self._kinds]
        for layer in found:
            layer.__class__ = self._kinds[layer.type]  # TensorRT's way to reach a layer's own properties.
        return [layer for layer in found if layer.get_input(0).dtype == self.trt.DataType.FLOAT]

    def is_small_product(self, layer: Any) -> bool:
        """Whether it is a matrix product of few terms, for one window; where a length is free, it counts as large."""
        if layer.type != self.trt.LayerType.MATRIX_MULTIPLY:
            return False
        rows = layer.get_input(0).shape
        summed = rows[-2] if layer.op0 == self.trt.MatrixOperation.TRANSPOSE else rows[-1]
        sizes = [int(size) for size in (*layer.get_output(0).shape, summed)]
        sizes[0] = abs(sizes[0])  # The batch, which is free and 1
        return min(sizes) >= 0 and prod(sizes) <= SUMMED_TERMS

    def lower(self, layer: Any) -> None:
        """Have a layer multiply FP16; whoever reads its answer is given FP32."""
        answer = layer.get_output(0)
        if layer.type != self.trt.LayerType.MATRIX_MULTIPLY:
            if layer.num_inputs == 1:
                layer.kernel = self._half_weights(layer, layer.kernel)
            if layer.bias.size:
                layer.bias = self._half_weights(layer, layer.bias)
        for at in range(layer.num_inputs):
            layer.set_input(at, self._half(layer.get_input(at)))
        back = self._definition.add_cast(answer, self.trt.DataType.FLOAT)
        self._replace(answer, self.added_for(layer, back, "back to FP32"))

    def sum_up(self, layer: Any) -> None:
        """Write a product [..., M, K] x [..., K, N] as the sum over K of [..., M, 1, K] * [..., 1, N, K]."""
        trt, definition = self.trt, self._definition
        first, second = layer.get_input(0), layer.get_input(1)
        if layer.op0 == trt.MatrixOperation.TRANSPOSE:
            first = self._swapped(layer, first, "first transposed")
        if layer.op1 == trt.MatrixOperation.NONE:
            second = self._swapped(layer, second, "second transposed")
        rank = len(first.shape)
        products = definition.add_elementwise(
            self._with_axis(layer, first, rank - 1, "first"),
            self._with_axis(layer, second, rank - 2, "second"),
            trt.ElementWiseOperation.PROD,
        )
        terms = self.added_for(layer, products, "products")
        total = definition.add_reduce(terms, trt.ReduceOperation.SUM, 1 << rank, False)
        self._replace(layer.get_output(0), self.added_for(layer, total, "sum"))

    def _half(self, tensor: Any) -> Any:
        """A tensor in FP16, made once: cast, or dequantised to it, so that TensorRT still sees a quantised operand."""
        if tensor.dtype != self.trt.DataType.FLOAT:
            return tensor
        if tensor.name not in self._halves:
            producer = self._producers.get(tensor.name)
            if producer is not None and producer.type == self.trt.LayerType.DEQUANTIZE:
                producer.__class__ = self.trt.IDequantizeLayer
                made = self._definition.add_dequantize(
                    producer.get_input(0), producer.get_input(1), self.trt.DataType.HALF
                )
                made.axis = producer.axis
            else:
                made = self._definition.add_cast(tensor, self.trt.DataType.HALF)
            self._halves[tensor.name] = made.get_output(0)
        return self._halves[tensor.name]

    def _half_weights(self, layer: Any, weights: NDArray[Any]) -> NDArray[np.float16]:
        largest = float(np.abs(weights).max())
        if not largest <= _LARGEST:
            raise BackendError(
                f"{layer.name} has a weight of {largest:g}, too large for FP16, and TensorRT for RTX has no FP32 "
                f"convolutions for {TURING}.",
                *_ELSEWHERE,
            )
        self.weights.append(weights.astype(np.float16))
        return self.weights[-1]

    def _swapped(self, layer: Any, tensor: Any, what: str) -> Any:
        """With its last two axes in the other order."""
        shuffle = self._definition.add_shuffle(tensor)
        *batch, last_but_one, last = range(len(tensor.shape))
        shuffle.first_transpose = self.trt.Permutation([*batch, last, last_but_one])
        return self.added_for(layer, shuffle, what)

    def _with_axis(self, layer: Any, tensor: Any, at: int, what: str) -> Any:
        axes = self._definition.add_constant((1,), np.array([at], dtype=np.int64)).get_output(0)
        return self.added_for(layer, self._definition.add_unsqueeze(tensor, axes), what)

    def added_for(self, layer: Any, added: Any, what: str) -> Any:
        """The output of a layer that was added for another one, whose ONNX node the inspector then names."""
        added.name = f"{layer.name}: {what}"
        added.metadata = layer.metadata
        return added.get_output(0)

    def _replace(self, old: Any, new: Any) -> None:
        """Give a tensor's consumers and its name to another one; a network output stays one."""
        name = old.name
        for layer, at in self._consumers.get(name, ()):
            layer.set_input(at, new)
        if name in self._outputs:
            self._definition.unmark_output(old)
        old.name = f"{name}: before"
        new.name = name
        if name in self._outputs:
            self._definition.mark_output(new)
