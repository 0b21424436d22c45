"""This project's kernels as OpenVINO's operators, from the extension that the package of kernels brings.

A layer that is a kernel has the kernel's name as the last part of its own.
"""

from collections import Counter
from typing import Any

from ...errors import Remedy
from ..availability import Detail

_OWN = "Reference"
"""What OpenVINO calls a layer that is computed by an extension's operator, or by a plain form of one of its own."""

KERNELS = ("gated_lstm", "groupnorm_act", "grouped_convolution", "max_pool", "msdc", "upsample_dw")


def kernels_missing() -> str | None:
    """Why a network is left to OpenVINO's own operators on this machine, or None."""
    from mmcaf_kernels.cpu.extension import missing

    return missing()


def kernels_detail() -> Detail:
    """What `mmcaf doctor` says of them."""
    from mmcaf_kernels.cpu.extension import fault, instructions

    found = fault()
    if found is None:
        return Detail("processor kernels", True, f"for openvino, with {instructions()}")
    text = f"{found}; OpenVINO's own operators answer, later"
    remedies = (Remedy(found.remedy, command=found.command or None),) if found.remedy else ()
    return Detail("processor kernels", False, text, remedies)


def kernels_fingerprint() -> str:
    """What tells one build of the kernels, and the instructions that they use, from another."""
    from mmcaf_kernels.cpu.extension import fingerprint

    return fingerprint()


def add_operators(core: Any) -> None:
    """Let a core of OpenVINO compile networks, and read engines, that hold kernels.

    Raises:
        KernelsMissingError: there are none here.
    """
    from mmcaf_kernels.cpu.extension import extension

    core.add_extension(str(extension()))


def place_kernels(core: Any, network: Any) -> Any:
    """Replace, in place, every loop and block of an openvino.Model that a kernel computes; gives what was done to it.

    Args:
        core: with `add_operators`. network: whose inputs have their shapes.
    """
    from mmcaf_kernels.cpu.openvino.placing import place_kernels

    return place_kernels(core, network)


def kernel_of(name: str, kind: str) -> str | None:
    """Which kernel a layer of a compiled network is; reorders before one have its name too."""
    kernel = name.split("/")[-1]
    return kernel if kind == _OWN and kernel in KERNELS else None


def kernels_in(compiled: Any) -> dict[str, int]:
    """The kernels in a compiled network -> how many layers each is."""
    layers = compiled.get_runtime_model().get_ops()
    kernels = (kernel_of(one.get_friendly_name(), one.get_rt_info()["layerType"].value) for one in layers)
    found = Counter(kernel for kernel in kernels if kernel is not None)
    return {name: found[name] for name in sorted(found)}
