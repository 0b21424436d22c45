"""Machines with GPUs that are not here: what the driver says, which TensorRT is installed, what torch can use."""

import enum
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from mmcaf_engine.backends.base import Backend
from mmcaf_engine.backends.tensorrt.fitting import RTX_TARGETS, usable_on
from mmcaf_engine.bundle.bundle import Bundle
from mmcaf_engine.errors import BackendError
from mmcaf_engine.machine import gpu as gpu_module
from mmcaf_engine.machine.compute_capability import Target
from mmcaf_engine.machine.gpu import DRIVER_REMEDY, Gpu, Gpus, find_gpus
from mmcaf_engine.session.opening import Opening
from mmcaf_engine.session.self_test import SelfTest

GIB = 2**30

RTX_4090 = Gpu(0, "NVIDIA GeForce RTX 4090", Target(8, 9), 24 * GIB, "0000:01:00.0", "580.65.06", (13, 0))
TESLA_T4 = replace(RTX_4090, name="Tesla T4", target=Target(7, 5), memory=15 * GIB)
H200 = replace(RTX_4090, name="NVIDIA H200", target=Target(9, 0), memory=140 * GIB)
B200 = replace(H200, name="NVIDIA B200", target=Target(10, 0))
B300 = replace(H200, name="NVIDIA B300 SXM6 AC", target=Target(10, 3))
GTX_1080 = replace(RTX_4090, name="NVIDIA GeForce GTX 1080", target=Target(6, 1), memory=8 * GIB)
OLD_DRIVER = replace(RTX_4090, driver="550.54", cuda=(12, 4))

NO_GPU = Gpus((), "no NVIDIA driver was found (libcuda)", False)
NO_DRIVER = Gpus((), "an NVIDIA card is in this machine, but no NVIDIA driver (libcuda)", True, (DRIVER_REMEDY,))


FOR_CUDA_13 = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")
FOR_CUDA_12_6 = ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90")
"""What PyTorch 2.11 to 2.13 hold code for (.ci/manywheel/build_cuda.sh)."""


def _computes(gpu: Gpu, precision: str) -> str:
    """The precision, or nothing where the GPU has no units for it."""
    return "" if precision == "bf16" and gpu.target < Target(8, 0) else precision


@dataclass(frozen=True)
class Machine:
    """What is installed on it.

    torch: none; built for the processor; for CUDA and able to use the first GPU; or for CUDA and not able to.
    code: what it holds code for, where it can use a GPU.
    lean: whether TensorRT's lean runtime is.
    extras: whether what this project's extras bring is, beside PyTorch.
    """

    gpus: Gpus
    tensorrt_rtx: bool = False
    tensorrt: bool = False
    cuda_python: bool = True
    lean: bool = False
    torch: Literal["none", "cpu", "cuda", "unusable"] = "cpu"
    code: tuple[str, ...] = FOR_CUDA_13
    extras: bool = True

    def open(self, bundle: Bundle, backend: Backend, **options: Any) -> Opening:
        """In place of `open_backend`: refuses what its runtimes could not run.

        Raises:
            BackendError: with the place of the missing code, as a runtime would have it.
        """
        first = next(iter(self.gpus.found), None)
        if backend.device == "CPU":
            runs = backend.name != "tensorrt" and (backend.name, backend.precision) != ("torch", "int8")
        else:
            assert first is not None and backend.device == first.name
            known = {"torch": self._torch_runs, "tensorrt": self._tensorrt_runs}
            runs = known[backend.name](first, backend.precision)
        if not runs:
            raise BackendError(f"no kernel image is available for {backend.precision} on {backend.device}")
        return Opening(False, "not opened", SelfTest({"logit": 0.0}, 1.0, 1, False))

    def _torch_runs(self, gpu: Gpu, precision: str) -> bool:
        fits = any(f"sm_{gpu.target.major}{minor}" in self.code for minor in range(gpu.target.minor + 1))
        return (
            self.torch == "cuda"
            and fits
            and gpu.target >= Target(7, 5)
            and _computes(gpu, precision) not in ("", "int8")
        )

    def _tensorrt_runs(self, gpu: Gpu, precision: str) -> bool:
        rtx = self.tensorrt_rtx and gpu.target in RTX_TARGETS and (precision != "fp32" or gpu.target != Target(7, 5))
        other = self.tensorrt and gpu.target not in RTX_TARGETS and gpu.target >= Target(7, 5)
        return (rtx or other) and gpu.cuda >= (13, 0) and self.cuda_python and bool(_computes(gpu, precision))


def machine(*gpus: Gpu, **installed: Any) -> Machine:
    """One with these GPUs."""
    return Machine(Gpus(tuple(replace(gpu, index=index) for index, gpu in enumerate(gpus)), "", True), **installed)


@contextmanager
def running_on(given: Machine) -> Iterator[None]:
    """Let the engine find itself on a machine."""
    import torch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu_module, "ask_driver", lambda *arguments: given.gpus)
        patch.setattr(gpu_module, "free_memory", lambda gpu: gpu.memory - GIB)
        patch.setitem(sys.modules, "tensorrt_rtx", _stand_in("1.7.1.116") if given.tensorrt_rtx else None)
        patch.setitem(sys.modules, "tensorrt", _stand_in("11.4.0.106") if given.tensorrt else None)
        packages = {"cuda-python": given.cuda_python, "cuda-bindings": given.cuda_python, "torch": True}
        packages["tensorrt-lean-cu13-bindings"] = given.lean
        for module in ("backend", "fitting", "flavour"):
            name = f"mmcaf_engine.backends.tensorrt.{module}.installed_version"
            patch.setattr(name, lambda package: "13.4.4" if packages.get(package) else None)
        absent = ("torch", "triton") if given.torch == "none" else ()
        absent += () if given.extras else ("onnx", "tokenizers")
        for user in ("checkup.doctor", "machine.installation", "backends.torch.backend") if absent else ():
            patch.setattr(f"mmcaf_engine.{user}.version", _version_without(*absent))
        for package in absent:
            patch.setitem(sys.modules, package, None)
        patch.setattr(torch.version, "cuda", None if given.torch in ("none", "cpu") else "13.0")
        if given.code == FOR_CUDA_12_6:
            patch.setattr(torch.version, "cuda", "12.6")
        first = next(iter(given.gpus.found), None)
        if given.torch == "cuda" and first is not None:
            patch.setattr(torch.cuda, "is_available", lambda: True)
            patch.setattr(torch.cuda, "get_arch_list", lambda: list(given.code))
            patch.setattr(torch.cuda, "get_device_name", lambda index: first.name)
            patch.setattr(torch.cuda, "get_device_capability", lambda index: (first.target.major, first.target.minor))
        else:
            patch.setattr(torch.cuda, "is_available", lambda: False)
        _forget()
        try:
            yield
        finally:
            _forget()


def _forget() -> None:
    """What was found out of another machine."""
    find_gpus.cache_clear()
    usable_on.cache_clear()


def _version_without(*absent: str) -> Callable[[str], str]:
    def found(package: str) -> str:
        if package in absent:
            raise PackageNotFoundError(package)
        return version(package)

    return found


def _stand_in(version: str) -> Any:
    """A module with as much of TensorRT as choosing needs."""

    class Logger:
        Severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, WARNING=2, INFO=3, VERBOSE=4)

    names = ["NONE", "CURRENT", *(f"SM{target.major}{target.minor}" for target in RTX_TARGETS)]
    return SimpleNamespace(__version__=version, ILogger=Logger, ComputeCapability=enum.Enum("ComputeCapability", names))
