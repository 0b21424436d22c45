"""The runtimes that can run a bundle's network, and the rule that chooses between them."""

import platform
from dataclasses import dataclass
from importlib import import_module

from ..errors import BackendError
from ..manifest import Precision
from .base import Availability, Backend

_CLASSES = {
    "openvino": ("openvino_backend", "OpenVinoBackend"),
    "onnxruntime": ("onnxruntime_backend", "OnnxRuntimeBackend"),
}
BACKENDS = tuple(_CLASSES)


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
        raise BackendError(f"No backend is called {name!r}.", f"Choose one of: auto, {', '.join(BACKENDS)}.")
    module, attribute = _CLASSES[name]
    found: type[Backend] = getattr(import_module(f".{module}", __name__), attribute)
    return found


def availability() -> dict[str, Availability]:
    """For each backend, whether this machine can run it and why or why not."""
    return {name: backend_class(name).availability() for name in BACKENDS}


def choose_backend(name: str, precision: Precision = "fp32") -> Choice:
    """Resolve a backend's name, for a precision.

    "auto" takes OpenVINO on x86-64 and ONNX Runtime elsewhere; if that one is not available, or cannot usefully
    run the precision here, the other, and `fallback` says so.

    Raises:
        BackendError: the named backend, or with "auto" every backend, cannot run it; the message lists why.
    """
    if name != "auto":
        found = backend_class(name)
        if not (answer := found.availability()).available:
            raise BackendError(
                f"Backend {name} cannot run here: {answer.reason}.",
                "See what can: mmcaf doctor. Or pass --backend auto.",
            )
        if not (answer := found.can_run(precision)).available:
            raise BackendError(
                f"Backend {name} does not run {precision} here: {answer.reason}.",
                "Pass --precision auto, or see what each backend runs: mmcaf doctor",
            )
        return Choice(found, None)
    passed_over: list[str] = []
    none_available = True
    for candidate in _preference():
        found = backend_class(candidate)
        answer = found.can_run(precision)
        if answer.available:
            return Choice(found, "; ".join(passed_over) or None)
        passed_over.append(f"{candidate}: {answer.reason}")
        none_available = none_available and not found.availability().available
    if none_available:
        raise BackendError(
            f"No backend can run here: {'; '.join(passed_over)}.", "Install one: pip install onnxruntime"
        )
    raise BackendError(
        f"No backend runs {precision} here: {'; '.join(passed_over)}.",
        "Pass --precision auto, or see what each backend runs: mmcaf doctor",
    )


def _preference() -> tuple[str, ...]:
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return ("openvino", "onnxruntime") if x86 else ("onnxruntime", "openvino")
