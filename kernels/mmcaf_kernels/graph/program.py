"""A program: an ONNX network run by PyTorch and this package's kernels; on a GPU as one CUDA graph."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..launch import path as kernel_path
from .fuse import fuse
from .fusions import FUSIONS
from .graph import KERNEL, Graph
from .operators.steps import Step, read_by, run, steps_of
from .read import read
from .tensor_cores import fill_channels, innermost

WARM_UP = 3
"""Runs before a CUDA graph is recorded: kernels are compiled and libraries choose their algorithms."""
_log = logging.getLogger(__name__)


class Program:
    """A network for inputs of fixed shapes; call it with arrays. Not safe to call from several threads at once.

    An input is float32, or int64 where the network has it so.

    Args:
        network: an ONNX file, FP32 or with FP16 or BF16 maps.
        inputs: input -> shape, the batch included.
        device: "cpu" or a CUDA device.
        fused: whether the kernels take the place of the blocks that they compute.

    Attributes:
        kernels: kernel -> how many of its calls are in use.
        path: how those calls run ("triton", "interpreter" or "reference"), and why.
        execution: "CUDA graph", or "operator by operator" and why.

    Raises:
        UnsupportedGraphError: an operator, or a setting of one, that is not known.
        ValueError: the network's inputs are others.
    """

    def __init__(
        self, network: Path, inputs: Mapping[str, Sequence[int]], *, device: str = "cpu", fused: bool = True
    ) -> None:
        graph = read(network, inputs)
        if fused:
            fuse(graph, FUSIONS)
        self.device = torch.device(device)
        if self.device.type == "cuda":
            fill_channels(graph)
        self.kernels = Counter(
            node.operator.removeprefix(KERNEL) for node in graph.nodes if node.operator.startswith(KERNEL)
        )
        self.path = kernel_path(torch.empty(0, device=self.device))
        self.execution = "operator by operator, as the device is the CPU"
        self._names = graph.outputs
        self._steps = steps_of(graph)
        self._constants = _placed(graph, self._steps, self.device)
        self._inputs = {
            name: torch.zeros(shape, dtype=graph.types[name], device=self.device)
            for name, shape in graph.inputs.items()
        }
        self._recorded: torch.cuda.CUDAGraph | None = None
        self._outputs: dict[str, Tensor] = {}
        if self.device.type == "cuda":
            self._record()

    def __call__(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        """Input name -> array of its shape; gives output name -> float32 array."""
        for name, tensor in self._inputs.items():
            array = np.require(arrays[name], np.int64 if tensor.dtype == torch.int64 else np.float32, ["C", "W"])
            if array.shape != tuple(tensor.shape):
                raise ValueError(f"input {name} is {list(array.shape)}; expected {list(tensor.shape)}")
            tensor.copy_(torch.from_numpy(array))
        if self._recorded is not None:
            self._recorded.replay()
            made = self._outputs
        else:
            made = self.run_on_device()
        return {name: tensor.float().cpu().numpy().copy() for name, tensor in made.items()}

    def run_on_device(self) -> dict[str, Tensor]:
        """Compute from the inputs of the last call, operator by operator; the outputs stay on the device."""
        values = {**self._constants, **self._inputs}
        with torch.inference_mode(), _full_precision():
            run(self._steps, values)
        return {name: values[name] for name in self._names}

    def _record(self) -> None:
        """Record all launches as one CUDA graph; if CUDA refuses, they stay single ones, and `execution` says why."""
        with torch.cuda.device(self.device):
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(WARM_UP):
                    self.run_on_device()
            torch.cuda.current_stream().wait_stream(side)
            torch.cuda.synchronize()
            recorded = torch.cuda.CUDAGraph()
            try:
                with torch.cuda.graph(recorded):
                    outputs = self.run_on_device()
            except RuntimeError as failure:
                torch.cuda.synchronize()
                self.execution = f"operator by operator: recording a CUDA graph failed ({str(failure).splitlines()[0]})"
                _log.warning("The network runs %s.", self.execution)
                return
        self._recorded, self._outputs, self.execution = recorded, outputs, "CUDA graph"


def _placed(graph: Graph, steps: Sequence[Step], device: torch.device) -> dict[str, Tensor]:
    """The constants on the device, dense convolutions' weights in the layout that suits it.

    On a GPU, half-precision convolutions of more than one tap, ungrouped and with channels in multiples of eight, get
    weights with the channels innermost, which makes PyTorch run them in that layout: tensor cores read it, and cuDNN
    would otherwise turn every map there and back. All else, convolutions of one tap included, stays in the layout
    that this package's kernels read and write.
    """
    needed = read_by(steps)
    placed = {name: tensor.to(device) for name, tensor in graph.constants.items() if name in needed}
    if device.type == "cuda":
        for node in graph.nodes:
            if (
                node.operator == "Conv"
                and node.inputs[1] in placed
                and innermost(node.attributes, placed[node.inputs[1]])
            ):
                name = node.inputs[1]
                placed[name] = placed[name].contiguous(memory_format=torch.channels_last_3d)
    return placed


@contextmanager
def _full_precision() -> Iterator[None]:
    """Float32 is not shortened to TF32, half-precision sums are formed in float32, and the order of sums is fixed."""
    matmul = torch.backends.cuda.matmul
    names = ("allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction")
    before = [getattr(matmul, name) for name in names], torch.get_float32_matmul_precision()
    try:
        for name in names:
            setattr(matmul, name, False)
        torch.set_float32_matmul_precision("highest")
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            yield
    finally:
        for name, value in zip(names, before[0], strict=True):
            setattr(matmul, name, value)
        torch.set_float32_matmul_precision(before[1])
