"""What an engine of TensorRT depends on besides the model's bytes.

An engine of TensorRT for RTX depends on the version that built it and on the compute capability alone: it runs on every
such GPU, under Linux and Windows, and is finished there for the very GPU (NVIDIA, TensorRT for RTX documentation,
"CPU-Only AOT and TensorRT-RTX Engines"). So one that was built without a GPU has the key that a session with the GPU
asks for. An engine of TensorRT holds kernels that were timed on one GPU under one driver, and both are in its key.
"""

import platform
from collections.abc import Sequence
from typing import Any

from ...errors import BackendError
from ...machine.compute_capability import Target
from ...manifest import Precision, TensorSpec
from ..remedies import SEE_WHAT_RUNS
from .flavour import BUILD_AHEAD, Flavour

Facts = dict[str, Any]


def engine_facts(
    flavour: Flavour,
    precision: Precision,
    compute_capability: Target,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    *,
    gpu: str | None = None,
    driver: str | None = None,
    lengths: Sequence[int] = (),
) -> Facts:
    """All that an engine depends on besides the model's bytes, as JSON; the cache's key is made of it.

    Args:
        compute_capability: of the GPU that will run it.
        gpu: the GPU's name as the driver has it; needed by TensorRT, ignored by TensorRT for RTX.
        driver: the driver's version; as `gpu`.
        lengths: as for `builder.build_engine`.

    Raises:
        BackendError: TensorRT without a GPU and its driver.
    """
    facts: Facts = {
        "runtime": flavour.name,
        "version": flavour.version,
        "precision": precision,
        "compute_capability": str(compute_capability),
        "inputs": [[spec.name, *spec.shape[1:]] for spec in inputs],
        "outputs": [[spec.name, *spec.shape[1:]] for spec in outputs],
        **({"lengths": list(lengths)} if lengths else {}),
    }
    if flavour.builds_ahead:
        return facts
    if gpu is None or driver is None:
        raise BackendError(
            f"{flavour.name} {flavour.version} builds for the GPU at hand, and no GPU was found.",
            SEE_WHAT_RUNS,
            BUILD_AHEAD,
        )
    return {**facts, "gpu": gpu, "driver": driver, "system": [platform.system(), platform.machine()]}


def differences(found: Facts, expected: Facts) -> list[str]:
    """Where two engines' facts differ, in words: "version 1.6.0 (1.7.1 is expected)"."""
    names = [*expected, *(name for name in found if name not in expected)]
    return [
        f"{name.replace('_', ' ')} {_shown(found.get(name))} ({_shown(expected.get(name))} is expected)"
        for name in names
        if found.get(name) != expected.get(name)
    ]


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)
