"""Which layers of a network INT8 is possible for, and how large they are."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

import onnx_ir as ir

from .edit import elements

PRODUCT_FLOPS = 1 << 20
"""A matrix product of fewer operations per window costs less than it risks: gates, classifiers and the like."""

_PART = re.compile(r"(.*\.\d+)[./]")


@dataclass(frozen=True)
class Layer:
    """A convolution or matrix product whose weights are stored in the model.

    node: its name in the graph; input: the value it reads; flops: per window, 2 per multiply-add; group: the numbered
    part of the source network that a product belongs to, such as encoder.layer.3, "" for a convolution. read, written,
    weights: elements of its input and result per window, and of its stored weight. inputs, outputs: channels, or
    features, that meet in a sum, and that are summed for each place; of a convolution of groups, those of one.
    joined: whether it reads a concatenation.
    """

    node: str
    input: str
    flops: int
    group: str = ""
    read: int = 0
    written: int = 0
    weights: int = 0
    inputs: int = 0
    outputs: int = 0
    joined: bool = False


def candidates(model: ir.Model, *, grouped: bool = False) -> tuple[Layer, ...]:
    """The convolutions of a model, and its products of at least PRODUCT_FLOPS, in order.

    Args:
        grouped: with convolutions of several groups; on a CPU their INT8 kernels are hardly faster, or slower, than
            FP32.
    """
    found = []
    for node in model.graph:
        source = node.inputs[0] if node.inputs else None
        if weight_axis(node) is None or source is None or source.name is None or node.name is None:
            continue
        if node.op_type == "Conv":
            if grouped or node.attributes.get_int("group", 1) == 1:
                found.append(_layer(node, source))
        elif multiplied(node) >= PRODUCT_FLOPS:
            part = _PART.match(node.name)
            found.append(_layer(node, source, part.group(1) if part else ""))
    return tuple(found)


def _layer(node: ir.Node, source: ir.Value, group: str = "") -> Layer:
    weight = node.inputs[1]
    if weight is None or weight.shape is None:
        raise ValueError(f"{node.name}: a layer without a weight")
    maker = source.producer()
    sizes = [int(size) for size in weight.shape if isinstance(size, int)]
    axis = weight_axis(node)
    return Layer(
        str(node.name),
        str(source.name),
        multiplied(node),
        group,
        read=elements(source.shape),
        written=elements(node.outputs[0].shape),
        weights=math.prod(sizes),
        inputs=sizes[0 if axis else 1],
        outputs=sizes[axis or 0] // node.attributes.get_int("group", 1),
        joined=maker is not None and maker.op_type == "Concat",
    )


def grouped_by_part(layers: Iterable[Layer]) -> dict[str, list[str]]:
    """What is decided at once: the group, or the layer's own name -> the names of its layers."""
    found: dict[str, list[str]] = {}
    for layer in layers:
        found.setdefault(layer.group or layer.node, []).append(layer.node)
    return found


def weight_axis(node: ir.Node) -> int | None:
    """The axis of a layer's stored weight that counts its outputs; None for a node that INT8 does not know.

    It knows Conv, MatMul of anything by [K, N], and Gemm of [M, K] by [K, N] or, with transB, [N, K].
    """
    if node.op_type not in ("Conv", "MatMul", "Gemm") or len(node.inputs) < 2:
        return None
    source, weight = node.inputs[0], node.inputs[1]
    if source is None or source.is_initializer() or not _stored(weight):
        return None
    if node.op_type == "Conv":
        return 0
    if weight is None or weight.shape is None or len(weight.shape) != 2 or node.attributes.get_int("transA", 0) != 0:
        return None
    return 0 if node.attributes.get_int("transB", 0) else 1


def multiplied(node: ir.Node) -> int:
    """Operations of a convolution or matrix product for one window, 2 per multiply-add; 0 for other nodes."""
    if node.op_type not in ("Conv", "MatMul", "Gemm"):
        return 0
    source = node.inputs[1 if node.op_type == "Conv" else 0]
    shape = None if source is None else source.shape
    if shape is None:
        return 0
    if node.op_type == "Conv":
        summed = shape[1:]
    else:
        summed = shape[-2:-1] if node.attributes.get_int("transA", 0) else shape[-1:]
    return 2 * elements(node.outputs[0].shape) * elements(ir.Shape(summed))


def _stored(value: ir.Value | None) -> bool:
    """Whether it is a float32 constant of the model."""
    return (
        value is not None
        and value.is_initializer()
        and value.const_value is not None
        and value.const_value.dtype == ir.DataType.FLOAT
    )
