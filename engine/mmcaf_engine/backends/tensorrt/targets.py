"""Which GPUs a flavour of TensorRT builds engines for."""

from collections.abc import Iterable

from ...errors import Remedy, UsageError
from ...machine.compute_capability import Target
from .flavour import Flavour, install_flavour


def supported_targets(flavour: Flavour) -> tuple[Target, ...]:
    """The targets that a flavour can build for without having such a GPU, in order; none of TensorRT."""
    if not flavour.builds_ahead:
        return ()
    names = (f"sm_{name[2:]}" for name in flavour.module.ComputeCapability.__members__ if name.startswith("SM"))
    return tuple(sorted(Target.parse(name) for name in names))


def choose_targets(flavour: Flavour, names: Iterable[str]) -> tuple[Target, ...]:
    """The named targets in order, each once.

    Raises:
        UsageError: one is not written as a target, or the flavour cannot build for it.
    """
    chosen = tuple(sorted({Target.parse(name) for name in names}))
    supported = supported_targets(flavour)
    for target in chosen:
        if target not in supported:
            known = f"it builds for {', '.join(map(str, supported))}" if supported else "it builds for the GPU at hand"
            other = Remedy("On a machine with such a GPU, NVIDIA TensorRT builds", command=install_flavour("tensorrt"))
            raise UsageError(
                f"{flavour.name} {flavour.version} cannot build for {target}: {known}.",
                Remedy("Name one of these" if supported else "Leave it out", option="target"),
                *((other,) if supported and target > min(supported) else ()),
            )
    return chosen
