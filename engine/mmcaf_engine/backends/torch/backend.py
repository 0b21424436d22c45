"""PyTorch with this project's kernels: on an NVIDIA GPU as one CUDA graph, on the processor in plain PyTorch."""

from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import Remedy, UnsupportedNetworkError
from ...machine.compute_capability import BF16_FROM, OLDEST_TARGET
from ...machine.gpu import find_gpus, first_gpu
from ...machine.installation import install_command
from ...manifest import Precision, TensorSpec, types_in
from ...volume import Arrays
from ..base import Availability, Backend, Detail, Window
from ..remedies import OTHER_BACKEND, SEE_WHAT_RUNS
from .place import place

_RECORDED = "CUDA graph"
"""What the program's `execution` says where its launches were recorded."""


class TorchBackend(Backend):
    """The bundle's ONNX network as a PyTorch program for one window, its special blocks as kernels.

    On the processor the kernels' blocks are computed in plain PyTorch: as exact, but slower than the other backends,
    so that "auto" never chooses it there. Of a network with a text there is one program for each length that texts are
    padded to, made when the first such text comes; they share the network's weights.
    """

    name = "torch"
    packages = ("torch",)
    rank = 40
    auto_needs_gpu = True

    def __init__(
        self,
        model: Path,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        threads: int,
        precision: Precision = "fp32",
        *,
        lengths: Sequence[int] = (),
    ):
        super().__init__(model, inputs, outputs, threads, precision, lengths=lengths)
        self.device = place().gpu or "CPU"

    @classmethod
    def auto_rank(cls) -> int | None:
        """After TensorRT and before the processor where the driver shows a GPU; not asked for without one."""
        return 1 if find_gpus().found else None

    @classmethod
    def availability(cls) -> Availability:
        """Whether PyTorch, the kernels and ONNX can be imported, and on what they would run."""
        try:
            found = cls.version()
            for package in ("mmcaf_kernels.graph", "onnx"):
                import_module(package)
        except (ImportError, OSError) as failure:
            reason = f"{cls.name} cannot be imported ({failure})"
            found_gpu = first_gpu()
            if found_gpu is not None and found_gpu.target < OLDEST_TARGET:  # No PyTorch would help it.
                return Availability(False, f"{reason}; {found_gpu.name}: {found_gpu.unusable}")
            return Availability(False, reason, (Remedy("Install it", command=install_command("kernels")),))
        gpu = place().gpu
        where = f"on {gpu}" if gpu else "on the processor, where it runs the kernels' references: exact, but slow"
        return Availability(True, f"torch {found} {where}")

    @classmethod
    def _can_run(cls, precision: Precision) -> Availability:
        if "int8" in types_in(precision):
            return Availability(False, "it has no INT8 kernels; openvino and onnxruntime run INT8")
        here = place()
        if precision == "bf16" and here.target is not None and here.target < BF16_FROM:
            return Availability(False, f"{here.gpu} has no BF16 units (compute capability 8.0 has them)")
        return super()._can_run(precision)

    @classmethod
    def excluded_from_auto(cls) -> str | None:
        """On the processor it runs the kernels' references."""
        here = place()
        return None if here.gpu else here.reason

    @classmethod
    def details(cls) -> Sequence[Detail]:
        """Where the driver shows a GPU that PyTorch does not use: why, and what helps."""
        if not find_gpus().found or not cls.availability().available:
            return ()
        here = place()
        return () if here.gpu else (Detail("PyTorch on the GPU", False, here.reason, here.remedies),)

    @classmethod
    def build(cls) -> str:
        """As `version`, with what tells one state of the kernels from another."""
        return f"{cls.version()}, kernels {import_module('mmcaf_kernels.fingerprint').fingerprint()}"

    @classmethod
    def version(cls) -> str:
        """The versions of PyTorch and, where it is installed, Triton."""
        found = str(cls.runtime().__version__)
        try:
            return f"{found}, triton {version('triton')}"
        except PackageNotFoundError:
            return found

    @property
    def degraded(self) -> str | None:
        """Why, on a GPU, no CUDA graph was recorded."""
        if not self._is_open or self.device == "CPU" or self._program.execution == _RECORDED:
            return None
        return str(self._program.execution)

    def describe(self) -> dict[str, Any]:
        """As every backend, with how the kernels run, and how the network as a whole does."""
        facts = super().describe()
        if self._is_open:
            path = self._program.path
            facts["kernel_path"] = f"{path.name}: {path.reason}"
            facts["execution"] = self._program.execution
        return facts

    def _kernels(self) -> dict[str, int]:
        return dict(sorted(self._program.kernels.items()))

    def _open(self) -> None:
        from mmcaf_kernels.graph import Network

        self._network = Network(self.model, device="cpu" if self.device == "CPU" else "cuda:0")
        self._programs: dict[int, Any] = {}
        self._program: Any = self.program_for(self.lengths[-1] if self.lengths else 0)

    def program_for(self, length: int) -> Any:
        """The program for texts of this length.

        Raises:
            UnsupportedNetworkError: the network has an operator, or a setting of one, that programs do not compute.
        """
        if length not in self._programs:
            from mmcaf_kernels.graph import UnsupportedGraphError

            self.runtime().set_num_threads(self.threads)
            shapes = {
                spec.name: (1, *(length if axis == "L" else int(axis) for axis in spec.shape[1:]))
                for spec in self.inputs
            }
            try:
                self._programs[length] = self._network.program(shapes)
            except UnsupportedGraphError as failure:
                raise UnsupportedNetworkError(
                    f"{self.name} does not compute {self.model.name}: {failure}.",
                    OTHER_BACKEND,
                    SEE_WHAT_RUNS,
                ) from None
        return self._programs[length]

    def _infer(self, window: Window) -> Arrays:
        arrays = {name: np.asarray(array) for name, array in window.items()}
        length = told = 0
        for spec in self.inputs:
            if "L" in spec.shape:
                given = arrays[spec.name]
                told = given.shape[1]
                length = next(one for one in self.lengths if one >= given.shape[1])
                arrays[spec.name] = np.pad(given, ((0, 0), (0, length - given.shape[1])))
        program = self.program_for(length)
        self.runtime().set_num_threads(self.threads)
        answers = program(arrays)
        return {
            spec.name: answers[spec.name][:, :told] if "L" in spec.shape else answers[spec.name]
            for spec in self.outputs
        }

    def _close(self) -> None:
        del self._program, self._programs, self._network


BACKEND = TorchBackend
