"""What a runtime tells of its nodes, and the arithmetic of convolutions and matrix products."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol, runtime_checkable

PRODUCTS = ("Conv", "ConvTranspose", "MatMul", "Gemm", "Einsum")
"""Operators of ONNX that multiply; of nodes made one, the one that multiplies gives its module to all."""


@dataclass(frozen=True)
class NodeTime:
    """A node as a runtime ran it, on the mean of the counted windows.

    onnx: the nodes of the ONNX file that went into it, as far as the runtime says; flops: 2 per multiply-add of
    convolutions and matrix products, 0 for others; bytes: of inputs, weights and outputs, each once, 0 where nothing is
    moved. Both None where shapes are not known.
    """

    name: str
    kind: str
    onnx: tuple[str, ...]
    ms: float
    flops: int | None
    bytes: int | None


@runtime_checkable
class Counting(Protocol):
    """A backend that also tells the time of every node: what `Backend.layers` gives.

    source: where the times are from, in words.
    """

    source: str

    def open(self) -> object:
        """Load the network; as of every backend."""

    def infer(self, arrays: Any) -> Any:
        """One window; as of every backend."""

    def start_counting(self) -> None:
        """Leave out all windows until now."""

    def counted(self, extra_ms: float) -> list[NodeTime]:
        """Every node, on the mean of the windows since; the backend answers no more after this.

        Args:
            extra_ms: what counting added to a window.
        """

    def close(self) -> None:
        """Release everything."""


def convolution_flops(output: Sequence[int], weight: Sequence[int]) -> int:
    """2 per multiply-add; weight [O, I / groups, *kernel] or [groups, O / groups, I / groups, *kernel]."""
    return 2 * prod(output) * prod(weight[len(weight) - len(output) + 1 :])


def transposed_flops(given: Sequence[int], weight: Sequence[int]) -> int:
    """2 per multiply-add; weight [I, O / groups, *kernel] or [groups, I / groups, O / groups, *kernel]."""
    return 2 * prod(given) * prod(weight[len(weight) - len(given) + 1 :])


def product_flops(output: Sequence[int], summed: int) -> int:
    """2 per multiply-add of a matrix product over an axis of length `summed`."""
    return 2 * prod(output) * summed
