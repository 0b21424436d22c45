"""A program: an ONNX network run by PyTorch and this package's kernels; on a GPU as one CUDA graph."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..launch import Path as KernelPath
from ..launch import path as kernel_path
from ..msdc.cuda import twin
from .fuse import fuse
from .fusions.pytorch import FUSIONS
from .graph import KERNEL
from .operators.steps import Step, read_by, run, steps_of
from .read import read
from .tensor_cores import fill_channels, innermost
from .tensors import TensorGraph
from .weights import Weights

WARM_UP = 3
"""Runs before a CUDA graph is recorded: kernels are compiled and libraries choose their algorithms."""
_log = logging.getLogger(__name__)


class Network:
    """An ONNX file for programs of several shapes; it is read once, and what they share lies on the device once.

    Args:
        path: FP32, or with FP16 or BF16 maps.
        device: "cpu" or a CUDA device.
        fused: whether the kernels take the place of the blocks that they compute.
        innermost: whether, on a GPU, the convolutions that suit tensor cores run with the channels innermost.
        benchmark: whether, on a GPU, cuDNN's deterministic algorithms are timed for each convolution before a program
            is recorded, and the fastest kept; else cuDNN's heuristics choose, the same in every process.

    Raises:
        OSError: the file cannot be read.
    """

    def __init__(
        self, path: Path, *, device: str = "cpu", fused: bool = True, innermost: bool = True, benchmark: bool = False
    ) -> None:
        self.model = read(path)
        self.device = torch.device(device)
        self.fused, self.benchmark = fused, benchmark
        self.innermost = innermost and self.device.type == "cuda"
        self.weights = Weights(self.device)
        # PyTorch keeps cuDNN's choices for each thread, whoever made them. Programs are recorded in a thread in which
        # nothing else runs, which lives as long as what it recorded: so another user of PyTorch in this process
        # changes no choice, and this network none of theirs.
        self.recorder = ThreadPoolExecutor(1, thread_name_prefix="mmcaf-record")

    def program(self, inputs: Mapping[str, Sequence[int]]) -> "Program":
        """The program for inputs of these shapes, the batch included.

        Raises:
            UnsupportedGraphError: an operator, or a setting of one, that is not known.
            ValueError: the network's inputs are others.
        """
        return Program(self, inputs)


class Program:
    """A network for inputs of fixed shapes; call it with arrays. Not safe to call from several threads at once.

    An input is float32, or int64 where the network has it so. `Network.program` makes it.

    Attributes:
        kernels: kernel -> how many of its calls are in use.
        path: how those calls run ("triton", "interpreter" or "reference"), and why.
        execution: "CUDA graph", or "operator by operator" and why.
    """

    def __init__(self, network: Network, inputs: Mapping[str, Sequence[int]]) -> None:
        graph = network.model.settled(inputs)
        if network.fused:
            fuse(graph, FUSIONS)
        if network.innermost:
            fill_channels(graph)
        self._network, self.device = network, network.device
        self.kernels = Counter(
            node.operator.removeprefix(KERNEL) for node in graph.nodes if node.operator.startswith(KERNEL)
        )
        self.path = _path(self.device, self.kernels)
        self.execution = "operator by operator, as the device is the CPU"
        self._names = graph.outputs
        self._steps = steps_of(graph)
        self._constants = _placed(graph, self._steps, network)
        self._inputs = {
            name: torch.zeros(shape, dtype=getattr(torch, graph.types[name]), device=self.device)
            for name, shape in graph.inputs.items()
        }
        self._recorded: torch.cuda.CUDAGraph | None = None
        self._outputs: dict[str, Tensor] = {}
        if self.device.type == "cuda":
            network.recorder.submit(self._record).result()

    def __call__(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        """Input name -> array of its shape; gives output name -> float32 array."""
        for name, tensor in self._inputs.items():
            array = np.require(arrays[name], np.int64 if tensor.dtype == torch.int64 else np.float32, ["C", "W"])
            if array.shape != tuple(tensor.shape):
                raise ValueError(f"input {name} is {list(array.shape)}; expected {list(tensor.shape)}")
            tensor.copy_(torch.from_numpy(array))
        return {name: tensor.float().cpu().numpy().copy() for name, tensor in self.launch().items()}

    def launch(self) -> dict[str, Tensor]:
        """Compute from the inputs of the last call, recorded or not; the outputs stay on the device."""
        if self._recorded is None:
            return self.run_on_device()
        self._recorded.replay()
        return self._outputs

    def run_on_device(self) -> dict[str, Tensor]:
        """Compute from the inputs of the last call, operator by operator; the outputs stay on the device."""
        return self._run(benchmark=False)

    def _run(self, *, benchmark: bool) -> dict[str, Tensor]:
        values = {**self._constants, **self._inputs}
        with torch.inference_mode(), _full_precision(benchmark):
            run(self._steps, values)
        return {name: values[name] for name in self._names}

    def _record(self) -> None:
        """Record all launches as one CUDA graph; if CUDA refuses, they stay single ones, and `execution` says why.

        What the last warm-up chose is recorded. Single launches leave the choice to cuDNN's heuristics, since each
        calling thread would otherwise time the algorithms for itself.
        """
        benchmark = self._network.benchmark
        with torch.cuda.device(self.device):
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(WARM_UP):
                    self._run(benchmark=benchmark)
            torch.cuda.current_stream().wait_stream(side)
            torch.cuda.synchronize()
            recorded = torch.cuda.CUDAGraph()
            try:
                with torch.cuda.graph(recorded):
                    outputs = self._run(benchmark=benchmark)
            except RuntimeError as failure:
                torch.cuda.synchronize()
                self.execution = f"operator by operator: recording a CUDA graph failed ({str(failure).splitlines()[0]})"
                _log.warning("The network runs %s.", self.execution)
                return
            recorded.replay()  # The first launch of a graph brings it to the GPU, for which no answer should wait.
            torch.cuda.synchronize()
        self._recorded, self._outputs, self.execution = recorded, outputs, "CUDA graph"


def _path(device: torch.device, kernels: Mapping[str, int]) -> KernelPath:
    """How the kernels run on a device; where Triton runs them, also whether msdc is the one in CUDA C++."""
    empty = torch.empty(0, device=device)
    found = kernel_path(empty)
    if found.name != "triton" or not kernels.get("msdc"):
        return found
    return found._replace(reason=f"{found.reason}; msdc by {twin(empty.device.index).reason}")


def _placed(graph: TensorGraph, steps: Sequence[Step], network: Network) -> dict[str, Tensor]:
    """The constants on the device, dense convolutions' weights in the layout that suits it.

    On a GPU, half-precision convolutions of more than one tap, ungrouped and with channels in multiples of eight, get
    weights with the channels innermost, which makes PyTorch run them in that layout: tensor cores read it, and cuDNN
    would otherwise turn every map there and back. All else, convolutions of one tap included, stays in the layout
    that this package's kernels read and write.
    """
    turned = {
        node.inputs[1]
        for node in graph.nodes
        if network.innermost
        and node.operator == "Conv"
        and node.inputs[1] in graph.constants
        and innermost(node.attributes, graph.constants[node.inputs[1]])
    }
    needed = read_by(steps)
    return {
        name: network.weights.place(name, tensor, innermost=name in turned)
        for name, tensor in graph.constants.items()
        if name in needed
    }


@contextmanager
def _full_precision(benchmark: bool) -> Iterator[None]:
    """Float32 is not shortened to TF32, half-precision sums are formed in float32, and the order of sums is fixed.

    benchmark: whether cuDNN's algorithms are timed where this thread has chosen none yet.
    """
    matmul = torch.backends.cuda.matmul
    names = ("allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction")
    before = [getattr(matmul, name) for name in names], torch.get_float32_matmul_precision()
    try:
        for name in names:
            setattr(matmul, name, False)
        torch.set_float32_matmul_precision("highest")
        with torch.backends.cudnn.flags(enabled=True, benchmark=benchmark, deterministic=True, allow_tf32=False):
            yield
    finally:
        for name, value in zip(names, before[0], strict=True):
            setattr(matmul, name, value)
        torch.set_float32_matmul_precision(before[1])
