"""In which types a parsed network computes its convolutions and matrix products; no GPU is needed to tell.

A strongly typed network says it itself: what a convolution is fed is what it multiplies. An INT8 one is fed by two
DequantizeLinear nodes, one for its input and one for its weight, which TensorRT merges with it; so both are looked
through. What an engine then makes of it is another question, which its inspector answers: `layer_report`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

from ...manifest import Precision
from ..node_names import module_path
from .network import ParsedNetwork

Operator = Literal["convolution", "transposed convolution", "matrix product"]
CONVOLUTIONS: tuple[Operator, ...] = ("convolution", "transposed convolution")
PRODUCTS: tuple[Operator, ...] = ("matrix product",)

_TYPES = {"FLOAT": "FP32", "HALF": "FP16", "float32": "FP32", "float16": "FP16"}
_LOOK_THROUGH = ("SHUFFLE", "IDENTITY", "UNSQUEEZE", "SQUEEZE")


@dataclass(frozen=True)
class Product:
    """A convolution or matrix product of the network.

    name: the ONNX node's, which is MODULE/OPERATOR; operands: types of what it multiplies, the quantised ones where it
    is fed through a dequantisation; flops: for one window, 2 per multiply-add; of a text, for one word piece.
    """

    name: str
    operator: Operator
    operands: tuple[str, str]
    flops: int

    @property
    def module(self) -> str:
        """The source network's module."""
        return module_path(self.name) or self.name

    @property
    def precision(self) -> str:
        """The type it is computed in; INT8 only if both operands are."""
        floating = [operand for operand in self.operands if operand != "INT8"]
        return floating[0] if floating else "INT8"


def products(network: ParsedNetwork) -> tuple[Product, ...]:
    """Every convolution and matrix product, in order."""
    trt, definition = network.flavour.module, network.definition
    layers = [definition.get_layer(index) for index in range(definition.num_layers)]
    producers = {layer.get_output(at).name: layer for layer in layers for at in range(layer.num_outputs)}
    kinds = {
        trt.LayerType.CONVOLUTION: (trt.IConvolutionLayer, _convolution),
        trt.LayerType.DECONVOLUTION: (trt.IDeconvolutionLayer, _transposed_convolution),
        trt.LayerType.MATRIX_MULTIPLY: (trt.IMatrixMultiplyLayer, _matrix_product),
    }
    found = []
    for layer in layers:
        if layer.type in kinds:
            layer.__class__, describe = kinds[layer.type]  # TensorRT's way to reach a layer's own properties.
            operator, flops = describe(layer)
            weight = layer.get_input(1) if layer.num_inputs > 1 else None
            second = _fed(weight, producers) if weight is not None else _type(layer.kernel.dtype)
            found.append(Product(layer.name, operator, (_fed(layer.get_input(0), producers), second), flops))
    return tuple(found)


def flops_by_precision(found: Iterable[Product], operators: Sequence[Operator] = CONVOLUTIONS) -> dict[str, int]:
    """Type -> operations in it, of the products with these operators; the largest first."""
    sums: dict[str, int] = {}
    for product in found:
        if product.operator in operators:
            sums[product.precision] = sums.get(product.precision, 0) + product.flops
    return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))


def share_in(found: Iterable[Product], precision: Precision, operators: Sequence[Operator] = CONVOLUTIONS) -> float:
    """The share of operations, of the products with these operators, that are in a precision; 1.0 if there are none."""
    sums = flops_by_precision(found, operators)
    total = sum(sums.values())
    return sums.get(precision.upper(), 0) / total if total else 1.0


def _convolution(layer: Any) -> tuple[Operator, int]:
    channels = layer.get_input(0).shape[1] // layer.num_groups
    return "convolution", 2 * _elements(layer.get_output(0)) * channels * prod(layer.kernel_size_nd)


def _transposed_convolution(layer: Any) -> tuple[Operator, int]:
    channels = layer.num_output_maps // layer.num_groups
    return "transposed convolution", 2 * _elements(layer.get_input(0)) * channels * prod(layer.kernel_size_nd)


def _matrix_product(layer: Any) -> tuple[Operator, int]:
    shape = layer.get_input(0).shape
    summed = shape[-2] if layer.op0.name == "TRANSPOSE" else shape[-1]
    return "matrix product", 2 * _elements(layer.get_output(0)) * abs(summed)


def _elements(tensor: Any) -> int:
    """Of one window and one word piece: a free axis counts as 1."""
    return prod(abs(size) for size in tensor.shape)


def _fed(tensor: Any, producers: dict[str, Any]) -> str:
    """The type of a tensor, or of what was dequantised to make it."""
    producer = producers.get(tensor.name)
    while producer is not None and producer.type.name in _LOOK_THROUGH:
        producer = producers.get(producer.get_input(0).name)
    if producer is not None and producer.type.name == "DEQUANTIZE":
        return _type(producer.get_input(0).dtype)
    return _type(tensor.dtype)


def _type(dtype: Any) -> str:
    """FP32, FP16, BF16 or INT8, from TensorRT's name or, for weights, numpy's."""
    return _TYPES.get(dtype.name, str(dtype.name))
