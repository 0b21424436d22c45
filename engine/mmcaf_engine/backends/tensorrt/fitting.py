"""Which TensorRT runs on a GPU, and the command that installs one that does."""

from functools import cache

from ...errors import BackendError, Remedy
from ...machine.compute_capability import OLDEST_TARGET, Target
from ...machine.gpu import Gpu, first_gpu
from ...machine.installation import install_command, installed_version
from ..availability import Availability
from .flavour import FLAVOURS, Flavour, find_flavour, install_flavour
from .targets import supported_targets

RTX_TARGETS = tuple(Target(*pair) for pair in ((7, 5), (8, 0), (8, 6), (8, 9), (12, 0), (12, 1)))
"""What TensorRT for RTX 1.7 runs on, for where it is not installed: no H100 or H200 (9.0), no B200 or B300 (10.x)."""


def fitting_flavour() -> Flavour:
    """The flavour that runs on the GPU that is used; without a GPU, or where none does, the one that is installed.

    Raises:
        BackendError: none is installed.
    """
    gpu = first_gpu()
    found = find_flavour() if gpu is None else usable_on(gpu)
    return found if isinstance(found, Flavour) else find_flavour()


@cache
def usable_on(gpu: Gpu) -> Flavour | Availability:
    """The first flavour that is installed and runs on a GPU, or why there is none and what to do."""
    if gpu.target < OLDEST_TARGET:
        return Availability(False, f"{gpu.unusable}; no TensorRT runs there")
    install = what_to_install(gpu)
    if installed_version("cuda-bindings") is None:
        return Availability(False, "cuda-python is not installed", install)
    reasons = []
    for name in FLAVOURS:
        try:
            flavour = find_flavour(name)
        except BackendError as failure:
            reasons.append(failure.problem.removeprefix("TensorRT cannot be used here. ").rstrip("."))
            continue
        known = supported_targets(flavour)
        if not known or gpu.target in known:
            return flavour
        runs = ", ".join(f"{target.major}.{target.minor}" for target in known)
        reasons.append(f"{name} {flavour.version} runs on compute capability {runs}, not on {gpu.compute_capability}")
    return Availability(False, "; ".join(reasons), install)


def what_to_install(gpu: Gpu | None) -> tuple[Remedy, ...]:
    """What brings a TensorRT that runs on a GPU, with all that it needs; this project's extra where there is no GPU."""
    if gpu is None or gpu.target in RTX_TARGETS:
        return (Remedy("Install it", command=install_command("tensorrt")),)
    if gpu.target < OLDEST_TARGET:
        return ()
    return (
        Remedy(f"Install NVIDIA TensorRT, which runs on {gpu.compute_capability}", command=install_flavour("tensorrt")),
    )
