"""Half-precision convolutions in the form that a GPU's tensor cores read."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .graph import Node
from .tensors import TensorGraph

TENSOR_CORE_CHANNELS = 8
"""Channels in multiples of which cuDNN's half-precision convolutions use tensor cores without padding."""


def innermost(attributes: Mapping[str, Any], weight: Tensor) -> bool:
    """Whether a convolution is one that runs with the channels innermost on a GPU."""
    dense = attributes.get("group", 1) == 1 and weight.ndim == 5 and weight.shape[2:].numel() > 1
    even = weight.shape[0] % TENSOR_CORE_CHANNELS == 0 and weight.shape[1] % TENSOR_CORE_CHANNELS == 0
    return dense and even and weight.dtype in (torch.float16, torch.bfloat16)


def fill_channels(graph: TensorGraph) -> None:
    """Give convolutions that would run with the channels innermost, but for a few input channels, those as zeros.

    So the stem's seven taps become eight. A zero channel with zero weights adds nothing to a sum, and what fills it up
    is never what is not finite: the results are the same.
    """
    for node in list(graph.nodes):
        weight = graph.constants.get(node.inputs[1]) if node.operator == "Conv" else None
        if weight is None or weight.ndim != 5:
            continue
        missing = -weight.shape[1] % TENSOR_CORE_CHANNELS
        filled = F.pad(weight, (0, 0) * 3 + (0, missing))
        if missing and missing < weight.shape[1] and innermost(node.attributes, filled):
            source, place = node.inputs[0], f"{node.outputs[0]}:filled"
            pads = graph.add_tensor(f"{place}.pads", torch.tensor([0] * 6 + [missing] + [0] * 3))
            name = graph.add_tensor(f"{place}.weight", filled)
            batch, channels, *sides = graph.sizes[source]
            graph.sizes[place], graph.types[place] = (batch, channels + missing, *sides), graph.types[source]
            inputs = (place, name, *node.inputs[2:])
            new = [
                Node("Pad", (source, pads), (place,), {}, place),
                Node("Conv", inputs, node.outputs, node.attributes, node.name),
            ]
            graph.replace([node], new)
    graph.drop_unused()
