"""The runtimes that can run a bundle's network, by name, and the rule that chooses between them."""

import platform
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from ..errors import BackendError, Remedy
from ..machine.gpu import find_gpus
from ..machine.installation import install_package
from ..manifest import Precision
from .base import Availability, Backend
from .remedies import ANY_BACKEND, ANY_PRECISION, SEE_WHAT_RUNS

_CLASSES = {
    "tensorrt": ("tensorrt.backend", "TensorRtBackend"),
    "openvino": ("openvino.backend", "OpenVinoBackend"),
    "onnxruntime": ("onnxruntime.backend", "OnnxRuntimeBackend"),
    "torch": ("torch.backend", "TorchBackend"),
}
BACKENDS = tuple(_CLASSES)
OPTIONAL = ("tensorrt", "torch")
"""What an installation is whole without."""

_PACKAGES = {
    "tensorrt": ("tensorrt-rtx-cu13", "tensorrt-rtx-cu12", "tensorrt-rtx", "tensorrt"),
    "openvino": ("openvino",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "torch": ("torch",),
}
"""For each backend, the packages of which one is enough."""


@dataclass(frozen=True)
class Choice:
    """The backend to use; fallback says in words why a preferred one was passed over, or is None."""

    backend: type[Backend]
    fallback: str | None


def backend_class(name: str) -> type[Backend]:
    """The backend's class; its runtime is imported only when it is asked whether it is available.

    Raises:
        BackendError: no backend of that name.
    """
    if name not in _CLASSES:
        raise BackendError(
            f"Unknown backend {name!r}.", Remedy(f"Choose one of auto, {', '.join(BACKENDS)}", option="backend")
        )
    module, attribute = _CLASSES[name]
    found: type[Backend] = getattr(import_module(f".{module}", __package__), attribute)
    return found


def availability() -> dict[str, Availability]:
    """For each backend, whether this machine can run it and why or why not."""
    return {name: backend_class(name).availability() for name in BACKENDS}


def installed_packages() -> dict[str, str]:
    """For each backend whose package is installed, that package and its version; no runtime is imported."""
    found = {}
    for backend, packages in _PACKAGES.items():
        versions = [f"{name} {held}" for name in packages if (held := installed_version(name))]
        if versions:
            found[backend] = ", ".join(versions)
    return found


def installed_version(package: str) -> str | None:
    """A package's version, or None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def unavailable(name: str, answer: Availability) -> BackendError:
    """The refusal of a backend that was named and cannot run here."""
    return BackendError(
        f"Backend {name} cannot run here: {answer.reason}.",
        *((answer.remedy,) if answer.remedy is not None else ()),
        ANY_BACKEND,
        SEE_WHAT_RUNS,
    )


def choose_backend(name: str, precision: Precision = "fp32") -> Choice:
    """Resolve a backend's name, for a precision.

    "auto" takes TensorRT where the NVIDIA driver shows a GPU, else OpenVINO on x86-64 and ONNX Runtime elsewhere; if
    that one is not available, or cannot usefully run the precision here, the next, and `fallback` says so.

    Raises:
        BackendError: the named backend, or with "auto" every backend, cannot run it; the message lists why.
    """
    if name != "auto":
        found = backend_class(name)
        if not (answer := found.availability()).available:
            raise unavailable(name, answer)
        if not (answer := found.can_run(precision)).available:
            raise BackendError(
                f"Backend {name} does not run {precision} here: {answer.reason}.", ANY_PRECISION, SEE_WHAT_RUNS
            )
        return Choice(found, None)
    on_gpu = ("tensorrt",) if find_gpus().found else ()
    return _first_of((*on_gpu, *_on_processor()), precision)


def processor_backend(precision: Precision) -> type[Backend]:
    """What "auto" takes on a machine without a GPU.

    Raises:
        BackendError: no backend runs the precision on this processor; the message lists why.
    """
    return _first_of(_on_processor(), precision).backend


def _first_of(candidates: tuple[str, ...], precision: Precision) -> Choice:
    passed_over: list[str] = []
    none_available = True
    for candidate in candidates:
        found = backend_class(candidate)
        answer = found.can_run(precision)
        if answer.available:
            return Choice(found, "; ".join(passed_over) or None)
        passed_over.append(f"{candidate}: {answer.reason}")
        none_available = none_available and not found.availability().available
    if none_available:
        install = Remedy("Install one", command=install_package("onnxruntime"))
        raise BackendError(f"No backend can run here: {'; '.join(passed_over)}.", install)
    raise BackendError(f"No backend runs {precision} here: {'; '.join(passed_over)}.", ANY_PRECISION, SEE_WHAT_RUNS)


def _on_processor() -> tuple[str, ...]:
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return ("openvino", "onnxruntime") if x86 else ("onnxruntime", "openvino")
