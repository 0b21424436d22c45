"""The graph of a bundle's heat maps in the backend of a session: opened when it is first asked for, and tested."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..backends.base import Backend
from ..bundle.bundle import Bundle
from ..bundle.explaining import explaining
from ..cancel import Progress, leave_behind
from .choice import Choice, backend_for, choose
from .first_opening import done_apart
from .opening import open_backend
from .self_test import SelfTest, run_self_test

_OPEN = "mmcaf_engine.session.explaining:opened_and_tested"


def open_explaining(bundle: Bundle, choice: Choice, threads: int, progress: Progress | None = None) -> Backend:
    """The graph in FP32, whatever precision answers; its engine and the pass of its stored cases are kept as others.

    Args:
        choice: of the session that answers: the backend is the same.
        threads: cores to use.
        progress: told of an engine that must be built first, from another thread.

    Raises:
        BundleError: there is no such graph, or it or the stored cases are damaged.
        BackendError: the backend refuses it, or a stored case comes out otherwise.
        CancelledError, DeadlineError: as `cancel.check`.
    """
    graph = explaining(bundle)

    def opened() -> Backend:
        backend = _made(graph, choice, threads, progress)
        open_backend(graph, backend, first=lambda: _first(bundle, graph, backend))
        return backend

    return leave_behind(opened, name="open", discard=Backend.close)


def check_explaining(bundle: Bundle, choice: Choice) -> SelfTest:
    """Run the stored cases through the graph now, whatever is remembered of them, and keep nothing.

    Raises:
        BundleError, BackendError: as `open_explaining`.
    """
    graph = explaining(bundle)
    backend = _made(graph, choice)
    _first(bundle, graph, backend)
    with backend as opened:
        return run_self_test(graph, opened)


def _made(graph: Bundle, choice: Choice, threads: int | None = None, progress: Progress | None = None) -> Backend:
    return backend_for(graph, replace(choice, precision="fp32"), threads=threads, progress=progress)


def _first(bundle: Bundle, graph: Bundle, backend: Backend) -> None:
    """Have it opened where it does no harm, if the caller wants that."""
    given: Mapping[str, Any] = {"backend": backend.name, "threads": backend.threads}
    called = f"{graph.manifest.name} in {backend.name} fp32"
    done_apart(bundle, _OPEN, given, called=called, done="open and self-tested", progress=backend.progress)


def opened_and_tested(bundle: Bundle, *, backend: str, threads: int, progress: Progress | None = None) -> None:
    """What a process of its own does first where nobody vouches for the graph: it is opened, and nobody uses it."""
    open_explaining(bundle, choose(bundle, backend=backend, precision="fp32", threads=threads), threads, progress)
