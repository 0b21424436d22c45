"""What INT8 of each layer does to the logits, to first order: from one forward and one backward run of each window.

A layer in INT8 changes its result by a known difference. The logit's change is to first order the product of that
difference with the logit's gradient, which one backward run gives for all layers. It stands for runs of as many
networks as there are layers, each with one of them in INT8, of which it leaves out what a change does in proportion to
its square.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmcaf_kernels.graph.graph import Node
from mmcaf_kernels.graph.operators.steps import Step, steps_of
from mmcaf_kernels.graph.read import read
from mmcaf_kernels.graph.tensors import TensorGraph

from .calibration import Window
from .layers import Layer
from .qdq import LEVELS, quantise_weight

DIRECTIONS = 4
"""Backward runs of a window at most; of more logits than that, each takes signed sums of them all."""

Seen = Callable[[str, Tensor], None]


class Sensitivities:
    """Runs a network in PyTorch with reference operators, and its layers in INT8 beside it.

    Args:
        model: the FP32 model.
        layers: of `candidates`.
        output: of the model, the logits.

    Runs of several windows may go on side by side.
    """

    def __init__(self, model: Path, layers: Sequence[Layer], output: str) -> None:
        self._model = read(model)
        self._layers = {layer.node: layer for layer in layers}
        self._output = output
        self._settling = Lock()
        self._graphs: dict[tuple[tuple[str, tuple[int, ...]], ...], tuple[TensorGraph, list[Step]]] = {}

    def of(
        self, window: Window, limits: Mapping[str, float], seen: Seen = lambda _name, _value: None
    ) -> NDArray[np.float64]:
        """Change of the logits by each layer alone, [layers, logits] in the order of the layers.

        Of more than DIRECTIONS logits, [layers, DIRECTIONS] with the same mean square.

        Args:
            limits: value -> magnitude that the last INT8 level stands for.
            seen: called with each value that a layer reads, and its name.

        Raises:
            UnsupportedGraphError: an operator, or a setting of one, that is not known in PyTorch.
            RuntimeError: PyTorch has no derivative of an operator.
        """
        graph, steps = self._settled(window)
        given = {name: torch.from_numpy(np.array(window[name])) for name in graph.inputs}
        values: dict[str, Any] = {**graph.constants, **given}
        changes = {name: torch.zeros((), requires_grad=True) for name in self._layers}
        told: set[str] = set()
        with torch.enable_grad():
            for node, step in zip(graph.nodes, steps, strict=True):
                reads = [values[name] if name else None for name in step.reads]
                made = step.function(*reads)
                if node.name in changes:
                    source = step.reads[0]
                    if source not in told:
                        told.add(source)
                        seen(source, values[source].detach())
                    with torch.no_grad():
                        lowered = step.function(*_in_int8(node, reads, limits[source]))
                        difference = lowered.sub_(made.detach())
                    made = _Along.apply(made, difference, changes[node.name])
                values.update(zip(step.writes, made if isinstance(made, tuple) else (made,), strict=False))
                for name in step.last:
                    values.pop(name, None)
        logits = values[self._output].flatten()
        del values
        along = directions(logits.numel())
        rows = []
        for at, direction in enumerate(along):
            weighted = (logits * torch.from_numpy(direction)).sum()
            kept = at + 1 < len(along)
            found = torch.autograd.grad(weighted, list(changes.values()), retain_graph=kept, allow_unused=True)
            rows.append([0.0 if change is None else float(change) for change in found])
        return np.array(rows, np.float64).T

    def memory(self, window: Window) -> int:
        """Bytes that a run of a window takes at most: all values that are kept for the way back, and the differences.

        Raises:
            UnsupportedGraphError: an operator, or a setting of one, that is not known in PyTorch.
        """
        graph, _ = self._settled(window)
        results = [output for node in graph.nodes for output in node.outputs]
        results += [node.outputs[0] for node in graph.nodes if node.name in self._layers]
        return 4 * sum(math.prod(graph.sizes[name]) for name in results if name)

    def _settled(self, window: Window) -> tuple[TensorGraph, list[Step]]:
        shapes = tuple((name, tuple(window[name].shape)) for name in sorted(window))
        with self._settling:
            if shapes not in self._graphs:
                graph = self._model.settled(dict(shapes))
                self._graphs[shapes] = graph, steps_of(graph)
            return self._graphs[shapes]


def directions(count: int) -> NDArray[np.float32]:
    """Weights of so many logits, a row for each backward run, that keep the mean of their squares; always the same."""
    if count <= DIRECTIONS:
        return np.eye(count, dtype=np.float32)
    signs = np.random.default_rng(0).integers(0, 2, (DIRECTIONS, count))
    return (2 * signs - 1).astype(np.float32) / np.sqrt(count, dtype=np.float32)


class _Along(torch.autograd.Function):
    """A layer's result as it is; of the gradient, what it comes to along a difference."""

    @staticmethod
    def forward(context: Any, made: Tensor, difference: Tensor, _along: Tensor) -> Tensor:
        context.save_for_backward(difference)
        return made.view_as(made)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, Tensor]:
        (difference,) = context.saved_tensors
        return gradients[0], None, torch.dot(gradients[0].flatten(), difference.flatten())


def _in_int8(node: Node, reads: Sequence[Tensor | None], largest: float) -> list[Tensor | None]:
    """What a layer reads, its input and weight rounded through INT8."""
    source, weight, *others = reads
    if source is None or weight is None:
        raise ValueError(f"{node.name}: a layer without input or weight")
    scale = max(largest, 1e-12) / LEVELS
    rounded = source.detach().mul(1 / scale).round_().clamp_(-LEVELS - 1, LEVELS).mul_(scale)
    axis = 0 if node.operator == "Conv" or node.attributes.get("transB", 0) else 1
    stored, scales = quantise_weight(weight.numpy(), axis)
    shape = [-1 if at == axis else 1 for at in range(weight.ndim)]
    return [rounded, torch.from_numpy(stored) * torch.from_numpy(scales).reshape(shape), *others]
