"""A session: one bundle, opened in one backend at one precision, self-tested."""

import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from .backends import choose_backend
from .backends.base import Arrays, Backend
from .bundle import Bundle
from .errors import BackendError, UsageError
from .manifest import Precision
from .self_test import SelfTest, ensure_self_test


class Session:
    """Answers arrays with arrays. A context manager; safe to call from several threads; same input, same bits."""

    def __init__(
        self, bundle: Bundle, backend: Backend, precision: Precision, fallback: str | None, self_test: SelfTest
    ) -> None:
        self.bundle = bundle
        self.precision = precision
        self.fallback = fallback
        self._backend = backend
        self._self_test = self_test

    @property
    def backend(self) -> str:
        """The backend's name."""
        return self._backend.name

    @property
    def device(self) -> str:
        """The device that runs it."""
        return self._backend.device

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Run the network.

        Args:
            inputs: name -> float32 array, e.g. image [N, 1, D, H, W] and table [N, F].

        Returns:
            name -> float32 array, e.g. logit [N, 1].

        Raises:
            UsageError: an input is missing, unknown, or of the wrong shape or type, or not finite.
            BackendError: the session is closed, or the runtime failed.
        """
        return self._backend.infer(inputs)

    def describe(self) -> dict[str, Any]:
        """Backend, precision, device, version, threads, cache_hit, fallback, self_test, inputs and outputs."""
        manifest = self.bundle.manifest
        return {
            **self._backend.describe(),
            "precision": self.precision,
            "fallback": self.fallback,
            "cache_hit": False,
            "self_test": {
                "passed": True,
                "max_abs_error": self._self_test.max_abs_error,
                "tolerance": self._self_test.tolerance,
                "cases": self._self_test.cases,
                "remembered": self._self_test.remembered,
            },
            "inputs": {spec.name: {"shape": list(spec.shape), "dtype": spec.dtype} for spec in manifest.inputs},
            "outputs": {spec.name: {"shape": list(spec.shape), "dtype": spec.dtype} for spec in manifest.outputs},
        }

    def close(self) -> None:
        """Release the network; closing twice is harmless."""
        self._backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_session(
    bundle: Bundle, *, backend: str = "auto", precision: str = "auto", threads: int | None = None
) -> Session:
    """Load a bundle's network and self-test it.

    Args:
        bundle: from `load_bundle`.
        backend: "auto", "openvino" or "onnxruntime".
        precision: "auto" (fp32), or one that the bundle holds.
        threads: cores to use; by default all that this process may.

    Raises:
        BackendError: backend or precision unavailable, or the self-test failed.
        UsageError: threads below 1.
    """
    if threads is not None and threads < 1:
        raise UsageError(f"{threads} threads; at least 1 is needed.")
    chosen_precision = _choose_precision(bundle, precision)
    choice = choose_backend(backend)
    manifest = bundle.manifest
    runtime = choice.backend(
        bundle.file(manifest.models[chosen_precision]), manifest.inputs, manifest.outputs, threads or usable_cores()
    )
    runtime.open()
    try:
        self_test = ensure_self_test(bundle, runtime, chosen_precision)
    except BaseException:
        runtime.close()
        raise
    return Session(bundle, runtime, chosen_precision, choice.fallback, self_test)


def usable_cores() -> int:
    """Cores that this process may use, which in a container can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _choose_precision(bundle: Bundle, wanted: str) -> Precision:
    if wanted == "auto":
        return "fp32"
    for held in bundle.manifest.models:
        if held == wanted:
            return held
    raise BackendError(
        f"{bundle.manifest.name} holds no {wanted} network; it holds {', '.join(bundle.manifest.models)}.",
        "Pass --precision auto.",
    )
