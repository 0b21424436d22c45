"""Which layers of a network INT8 can pay for, and what each costs in FP32."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from .edit import constant_of, elements


@dataclass(frozen=True)
class Layer:
    """A convolution whose weights are stored in the model.

    node: its name in the graph; input: the value it reads; flops: per window, 2 per multiply-add.
    """

    node: str
    input: str
    flops: int


def convolutions(model: ir.Model, *, grouped: bool = False) -> tuple[Layer, ...]:
    """The convolutions of a model, in order.

    Args:
        grouped: with those of several groups; on a CPU their INT8 kernels are hardly faster, or slower, than FP32.
    """
    found = []
    for node in model.graph:
        weight = constant_of(node.inputs[1]) if node.op_type == "Conv" else None
        if weight is None or (not grouped and node.attributes.get_int("group", 1) != 1):
            continue
        source, output = node.inputs[0], node.outputs[0]
        if source is None or source.name is None or node.name is None:
            continue
        flops = 2 * elements(output.shape) * int(np.prod(weight.shape[1:], dtype=np.int64))
        found.append(Layer(node.name, source.name, flops))
    return tuple(found)


def worthwhile(layers: tuple[Layer, ...], spent_ms: Mapping[str, tuple[float, float]] | None) -> dict[str, float]:
    """Node -> milliseconds that INT8 saves, of the layers that it makes faster.

    Args:
        spent_ms: node -> (FP32, INT8) milliseconds as measured; without it the arithmetic stands for the time.
    """
    if spent_ms is None:
        return {layer.node: layer.flops / 1e9 for layer in layers}
    saved = {layer.node: before - after for layer in layers for before, after in [spent_ms.get(layer.node, (0.0, 0.0))]}
    enough = LEAST_SHARE * sum(before for before, _ in spent_ms.values())
    return {node: gain for node, gain in saved.items() if gain > enough}


LEAST_SHARE = 0.0005
"""A layer must save this share of all convolutions' FP32 time to be worth any error."""
