"""TensorRT for RTX, or TensorRT, on an NVIDIA GPU."""

import mmap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ...errors import BackendError, Remedy, UsageError, program
from ...machine.compute_capability import BF16_FROM, TURING
from ...machine.gpu import Gpu, find_gpus, first_gpu
from ...machine.installation import installed_version
from ...manifest import Precision, TensorSpec, types_in
from ...volume import Arrays
from ..base import Availability, Backend, Detail, Window
from ..device_arrays import device_array, lies_on_device
from ..inputs import Adopted, Input
from ..node_time import NodeTime
from ..remedies import SEE_WHAT_RUNS
from .cuda import Cuda
from .cuda_errors import CudaError, in_words
from .engine_key import engine_facts
from .fitting import fitting_flavour, usable_on, what_to_install
from .kernel_cache import KernelCache
from .layers import SOURCE, node_times, profiler
from .loading import Place, Plan
from .runner import CAPTURED, Runner
from .targets import supported_targets


class TensorRtBackend(Backend):
    """An engine for one window, on the first GPU that $CUDA_VISIBLE_DEVICES leaves visible.

    `threads` is of no use here: it is taken, as of every backend, and described as None. Inputs may lie in the GPU's
    memory already; these are not searched for NaN. No output that is not finite is ever returned.
    """

    name = "tensorrt"
    packages = (
        "tensorrt-rtx-cu13",
        "tensorrt-rtx-cu12",
        "tensorrt-rtx",
        "tensorrt-cu13",
        "tensorrt-cu12",
        "tensorrt",
    )
    needs_gpu = True
    rank = 10
    keeps_engines = True
    windows_per_call = 8  # So that the next window is copied while one is computed.
    _runner: Runner
    _plan: Plan

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
        super().__init__(model, inputs, outputs, 0, precision, lengths=lengths)
        self._gpu = _gpu()
        self.device = self._gpu.name

    @classmethod
    def availability(cls) -> Availability:
        """Whether driver, GPU and packages are there and fit each other."""
        gpu = first_gpu()
        if gpu is None:
            return Availability(False, find_gpus().reason, find_gpus().remedies)
        if gpu.unusable:
            return Availability(False, f"{gpu.name}: {gpu.unusable}", gpu.remedies)
        found = usable_on(gpu)
        if isinstance(found, Availability):
            return replace(found, reason=f"{gpu.name}: {found.reason}")
        return Availability(True, f"{cls.build()} on {gpu.name}, compute capability {gpu.compute_capability}")

    @classmethod
    def auto_rank(cls) -> int | None:
        """The first where the driver shows a GPU; without one nobody misses it."""
        return 0 if find_gpus().found else None

    @classmethod
    def details(cls) -> Sequence[Detail]:
        """Which TensorRT, and cuda-python, with the command that installs what is missing."""
        gpu = first_gpu()
        missing = "not installed; optional, for NVIDIA GPUs only" if gpu is None else "not installed"
        install = what_to_install(gpu)
        if gpu is not None and not install:
            missing = "not installed; of no use with this GPU"
        try:
            flavour = fitting_flavour()
        except BackendError as failure:
            found = Detail("TensorRT", False, failure.problem, install)
        else:
            targets = ", ".join(map(str, supported_targets(flavour))) or "the GPU at hand"
            found = Detail("TensorRT", True, f"{flavour.name} {flavour.version}, builds engines for {targets}")
        python = installed_version("cuda-python") or installed_version("cuda-bindings")
        return found, Detail("cuda-python", python is not None, python or missing, () if python else install)

    @classmethod
    def _can_run(cls, precision: Precision) -> Availability:
        gpu = _gpu()
        if "bf16" in types_in(precision) and gpu.target < BF16_FROM:
            reason = f"{gpu.name} has no BF16 units (compute capability {gpu.compute_capability}, 8.0 has them)"
            return Availability(False, reason)
        if precision == "fp32" and gpu.target == TURING and fitting_flavour().builds_ahead:
            reason = f"TensorRT for RTX has no FP32 convolutions for {gpu.name} (compute capability 7.5); fp16 runs"
            lower = Remedy("Add an FP16 network", command=program("quantize", "BUNDLE", "--precision", "fp16"))
            return Availability(False, reason, (lower,))
        return super()._can_run(precision)

    @classmethod
    def runtime(cls) -> Any:
        """The module of the flavour that is used."""
        return fitting_flavour().module

    @classmethod
    def build(cls) -> str:
        """Flavour and version."""
        flavour = fitting_flavour()
        return f"{flavour.name} {flavour.version}"

    @classmethod
    def version(cls) -> str:
        """As `build`."""
        return cls.build()

    def engine_facts(self) -> dict[str, Any]:
        """As an engine that was built ahead for this GPU has them."""
        gpu, flavour = self._gpu, fitting_flavour()
        return engine_facts(
            flavour,
            self.precision,
            gpu.target,
            self.inputs,
            self.outputs,
            gpu=gpu.name,
            driver=gpu.driver,
            lengths=self.lengths,
        )

    def machine(self) -> list[str]:
        """GPU and driver, besides the system."""
        gpu = self._gpu
        return [*super().machine()[:3], gpu.name, gpu.compute_capability, gpu.driver, ".".join(map(str, gpu.cuda))]

    @property
    def degraded(self) -> str | None:
        """Why no CUDA graph was captured."""
        return None if not self._is_open or self._runner.graph == CAPTURED else self._runner.graph

    def describe(self) -> dict[str, Any]:
        """As every backend; and GPU, driver, and whether a CUDA graph was captured or why not."""
        gpu = self._gpu
        return {
            **super().describe(),
            "threads": None,
            "compute_capability": gpu.compute_capability,
            "driver": gpu.driver,
            "graph": self._runner.graph if self._is_open else "closed",
        }

    def layers(self) -> "CountingTensorRt":
        """With TensorRT's profiler on."""
        return self._like(CountingTensorRt)

    def _open(self) -> None:
        from .builder import build_engine
        from .timing_cache import timing_cache_file

        flavour, gpu = fitting_flavour(), self._gpu
        try:
            measured = None if flavour.builds_ahead else timing_cache_file(flavour, gpu.name, gpu.driver)
        except UsageError:
            measured = None  # The opening has said that nothing can be kept.
        targets = (gpu.target,) if flavour.builds_ahead else None
        built = build_engine(
            flavour,
            self.model,
            self.inputs,
            self.outputs,
            precision=self.precision,
            targets=targets,
            progress=self.progress,
            timing_cache=measured,
            lengths=self.lengths,
        )
        self._start(built.plan)

    def _export(self, output: BinaryIO) -> None:
        output.write(self._plan)

    def _import(self, engine: mmap.mmap) -> None:
        self._start(engine)

    def _start(self, plan: Plan) -> None:
        flavour, gpu = fitting_flavour(), self._gpu
        kept = KernelCache(self.engine_facts(), plan, gpu)
        place = Place(f"{self.model.name} in {self.precision}", gpu.compute_capability, gpu.driver)
        runner = Runner(
            flavour, Cuda(gpu.index), plan, self.inputs, self.outputs, place, kept.read(), lengths=self.lengths
        )
        try:
            kept.keep(runner.compiled_kernels())
        except BaseException:
            runner.close()
            raise
        self._runner, self._plan = runner, plan

    def _infer(self, window: Window) -> Arrays:
        return self._infer_windows([window])[0]

    def _infer_all(self, windows: Sequence[Window]) -> list[Arrays]:
        return self._in_turn(self._infer_windows, windows)

    def _infer_windows(self, windows: Sequence[Window]) -> list[Arrays]:
        answers = self._runner.run(windows)
        for answer in answers:
            for name, values in answer.items():
                if not np.isfinite(values).all():
                    raise BackendError(
                        f"{self.build()} answered with NaN or infinity for {name}.",
                        "Check the inputs, which are not searched for NaN in GPU memory.",
                        Remedy("Or answer in FP32", option="precision", value="fp32"),
                    )
        return answers

    def _close(self) -> None:
        self._runner.close()
        del self._runner, self._plan

    def _adopt(self, name: str, given: Input) -> Adopted:
        return device_array(given, name) if lies_on_device(given) else super()._adopt(name, given)

    def _foreign(self, doing: str, failure: Exception) -> BackendError:
        if isinstance(failure, CudaError):
            return in_words(failure, f"{doing} {self.model.name} on {self.device}")
        return super()._foreign(doing, failure)


class CountingTensorRt(TensorRtBackend):
    """The backend with TensorRT's profiler on, which launches without CUDA graphs, and waits for each window."""

    source = SOURCE
    _windows = 0

    def start_counting(self) -> None:
        """Leave out all windows until now."""
        self._windows = 0
        self._spent.clear()

    def counted(self, extra_ms: float = 0.0) -> list[NodeTime]:
        """Every layer of the engine, on the mean of the windows since."""
        with self.reading():
            return node_times(self._spent, self._windows, self._report, self.model, self.inputs, self.outputs)

    def _start(self, plan: Plan) -> None:
        super()._start(plan)
        self._spent: dict[str, float] = {}
        self._report = self._runner.report_layers(profiler(self.runtime(), self._spent))

    def _infer_windows(self, windows: Sequence[Window]) -> list[Arrays]:
        self._windows += len(windows)
        return super()._infer_windows(windows)


BACKEND = TensorRtBackend


def _gpu() -> Gpu:
    gpu = first_gpu()
    if gpu is None:
        raise BackendError(f"TensorRT needs a GPU: {find_gpus().reason}.", *find_gpus().remedies, SEE_WHAT_RUNS)
    return gpu
