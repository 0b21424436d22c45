"""What PyTorch computes on here: the first GPU, where its build and driver reach that, else the processor."""

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ...errors import Remedy, printable
from ...machine.compute_capability import OLDEST_TARGET, Target
from ...machine.gpu import OLDEST_CUDA, Gpu, first_gpu
from ...machine.installation import install_packages, installed_version

_WHEELS = "https://download.pytorch.org/whl"
"""Where each release of PyTorch lies in a build for each CUDA version."""

_IN_WHEELS = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")
"""What those for CUDA 13.0 hold code for (PyTorch 2.11 to 2.13, .ci/manywheel/build_cuda.sh)."""

_CODE = re.compile(r"(?P<kind>sm|compute)_(?P<major>\d+)(?P<minor>\d)(?P<only>[af]?)")


@dataclass(frozen=True)
class Place:
    """The GPU's name and compute capability, or None for both: then why not, in words, and what helps."""

    gpu: str | None
    target: Target | None = None
    reason: str = ""
    remedies: tuple[Remedy, ...] = ()


def place() -> Place:
    """What PyTorch computes on: this alone decides it, for what is said of it as for what is opened.

    Raises:
        ImportError: PyTorch cannot be imported.
    """
    torch, gpu = import_module("torch"), first_gpu()
    if gpu is not None and gpu.target < OLDEST_TARGET:
        return Place(None, reason=f"{gpu.name}: {gpu.unusable}")
    if not _is_available(torch):
        return Place(None, reason=_why_unavailable(torch, gpu), remedies=_for_cuda(torch, gpu))
    name, target = printable(torch.cuda.get_device_name(0)), Target(*torch.cuda.get_device_capability(0))
    built_for = torch.cuda.get_arch_list()
    if target < OLDEST_TARGET or not holds_code_for(target, built_for):
        reason = (
            f"torch {torch.__version__} is built for {', '.join(built_for) or 'no GPU'}, and not for {name} ({target})"
        )
        return Place(None, reason=reason, remedies=_for_cuda(torch, gpu))
    return Place(name, target)


def holds_code_for(target: Target, names: Iterable[str]) -> bool:
    """Whether a build for these, as `torch.cuda.get_arch_list` names them, runs on a GPU.

    sm_86 is machine code for 8.6 to 8.9, sm_90a for 9.0 alone, sm_100f for 10.0 to 10.9; compute_80 is compiled when it
    is first run, for whatever came later too (NVIDIA, CUDA C++ Programming Guide, "Binary Compatibility").
    """
    for found in filter(None, map(_CODE.fullmatch, names)):
        code = Target(int(found["major"]), int(found["minor"]))
        if found["only"] == "a":
            fits = code == target
        elif found["kind"] == "sm" or found["only"]:
            fits = code.major == target.major and code <= target
        else:
            fits = code <= target
        if fits:
            return True
    return False


def _is_available(torch: Any) -> bool:
    """Without the warning that it prints of a driver that is too old for it: `Place` says so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bool(torch.cuda.is_available())


def _why_unavailable(torch: Any, gpu: Gpu | None) -> str:
    if gpu is None:
        return "its kernels are for NVIDIA GPUs; on the processor it runs their references"
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is a build for the processor alone"
    return f"torch {torch.__version__}, built for CUDA {torch.version.cuda}, cannot use the GPU with this driver"


def _for_cuda(torch: Any, gpu: Gpu | None) -> tuple[Remedy, ...]:
    """What lets PyTorch use the GPU: the driver, the same PyTorch built for the CUDA of the other packages, or both.

    Nothing where that build would not run on this GPU either, or is the one that is installed.
    """
    if gpu is None or not holds_code_for(gpu.target, _IN_WHEELS):
        return ()
    driver = gpu.remedies
    for_cuda = torch.version.cuda is not None
    if driver and for_cuda:
        return driver
    if for_cuda and _is_available(torch) and int(torch.version.cuda.partition(".")[0]) >= OLDEST_CUDA:
        return ()
    wanted = (installed_version("torch") or "").partition("+")[0]
    index = f"{_WHEELS}/cu{OLDEST_CUDA}0"
    command = install_packages("--force-reinstall", f"torch=={wanted}", "--index-url", index)
    return (*driver, Remedy("Install the same for CUDA", command=command))
