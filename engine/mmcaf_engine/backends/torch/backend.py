"""PyTorch with this project's kernels: on an NVIDIA GPU as one CUDA graph, on the processor in plain PyTorch."""

from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import Remedy, UnsupportedNetworkError
from ...machine.gpu import DRIVER_REMEDY, OLDEST_CUDA, find_gpus, first_gpu
from ...machine.installation import install_command, install_packages
from ...manifest import Precision, TensorSpec
from ...volume import Arrays
from ..base import Availability, Backend, Detail, Window
from ..registry import installed_version
from ..remedies import OTHER_BACKEND, SEE_WHAT_RUNS

_RECORDED = "CUDA graph"
"""What the program's `execution` says where its launches were recorded."""

_BF16_GPU = (8, 0)
_OLDEST_GPU = (7, 5)
_WHEELS = "https://download.pytorch.org/whl"
"""Where each release of PyTorch lies in a build for each CUDA version."""


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
        self.device = _gpu() or "CPU"

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
            install = Remedy("Install it", command=install_command("kernels"))
            return Availability(False, f"{cls.name} cannot be imported ({failure})", (install,))
        place = f"on {_gpu()}" if _gpu() else "on the processor, where it runs the kernels' references: exact, but slow"
        return Availability(True, f"torch {found} {place}")

    @classmethod
    def _can_run(cls, precision: Precision) -> Availability:
        if precision == "int8":
            return Availability(False, "it has no INT8 kernels; openvino and onnxruntime run INT8")
        if precision == "bf16" and _gpu() and cls.runtime().cuda.get_device_capability(0) < _BF16_GPU:
            return Availability(False, f"{_gpu()} has no BF16 units (compute capability 8.0 has them)")
        return super()._can_run(precision)

    @classmethod
    def excluded_from_auto(cls) -> str | None:
        """On the processor it runs the kernels' references; and GPUs that CUDA 13 has dropped are not tried."""
        if name := _gpu():
            found = cls.runtime().cuda.get_device_capability(0)
            said = f"{name} has compute capability {found[0]}.{found[1]}, and CUDA {OLDEST_CUDA} begins with 7.5"
            return said if found < _OLDEST_GPU else None
        if find_gpus().found:
            return _without_gpu()
        return "its kernels are for NVIDIA GPUs; on the processor it runs their references"

    @classmethod
    def details(cls) -> Sequence[Detail]:
        """Where the driver shows a GPU that PyTorch does not use: why, and what helps."""
        if not find_gpus().found or installed_version("torch") is None or _gpu():
            return ()
        gpu = first_gpu()
        remedy = DRIVER_REMEDY if gpu is not None and gpu.too_old else _cuda_build()
        return (Detail("PyTorch on the GPU", False, _without_gpu(), (remedy,)),)

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

        self._network = Network(self.model, device="cuda:0" if _gpu() else "cpu")
        self._programs: dict[int, Any] = {}
        self._program: Any = self._program_for(self.lengths[-1] if self.lengths else 0)

    def _program_for(self, length: int) -> Any:
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
        length = 0
        for spec in self.inputs:
            if "L" in spec.shape:
                given = arrays[spec.name]
                length = next(one for one in self.lengths if one >= given.shape[1])
                arrays[spec.name] = np.pad(given, ((0, 0), (0, length - given.shape[1])))
        program = self._program_for(length)
        self.runtime().set_num_threads(self.threads)
        answers = program(arrays)
        return {spec.name: answers[spec.name] for spec in self.outputs}

    def _close(self) -> None:
        del self._program, self._programs, self._network


def _without_gpu() -> str:
    """Why PyTorch uses no GPU although the driver shows one, as far as it says."""
    torch = import_module("torch")
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is a build for the processor alone"
    return f"torch {torch.__version__}, built for CUDA {torch.version.cuda}, cannot use the GPU with this driver"


def _cuda_build() -> Remedy:
    """What brings the same PyTorch built for the CUDA that the other packages are for (PyTorch, "Get Started")."""
    wanted = (installed_version("torch") or "").partition("+")[0]
    index = f"{_WHEELS}/cu{OLDEST_CUDA}0"
    return Remedy(
        "Install the same for CUDA",
        command=install_packages("--force-reinstall", f"torch=={wanted}", "--index-url", index),
    )


def _gpu() -> str | None:
    """The name of the first GPU that PyTorch can use."""
    cuda = import_module("torch").cuda
    return str(cuda.get_device_name(0)) if cuda.is_available() else None


BACKEND = TorchBackend
