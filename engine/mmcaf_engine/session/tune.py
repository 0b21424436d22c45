"""Times every backend and precision that may answer for a bundle on this machine, and keeps the times."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backends.base import Backend
from ..backends.registry import Backends, unavailable
from ..backends.remedies import SEE_WHAT_RUNS
from ..bundle.accuracy import Accuracy, read_accuracy
from ..bundle.bundle import Bundle
from ..bundle.golden import one_window
from ..bundle.summary import ModelSummary
from ..cancel import Progress
from ..errors import BackendError, Remedy, UsageError
from ..machine.cpu import usable_cores
from ..manifest import Precision
from .judged import offered
from .session import Session, open_session
from .timings import TUNING, Timing, Tuning, keep_tuning, tuned_for

OPENVINO = "openvino"
"""The backend that is told devices."""

REPORT_VERSION = 1
WARM_UP_RUNS = 2


@dataclass(frozen=True)
class LeftOut:
    """A backend and precision that was not timed, and why not."""

    backend: str
    precision: Precision
    reason: str


@dataclass(frozen=True)
class Tuned:
    """The bundle, the times, what "auto" now takes, what was left out, and the file that keeps the times."""

    model: ModelSummary
    tuning: Tuning
    choice: Timing
    left_out: tuple[LeftOut, ...]
    file: Path

    def to_dict(self) -> dict[str, Any]:
        """As plain dicts, lists and numbers; what was left out has no times but a reason."""
        facts = self.tuning.facts
        untimed = dict.fromkeys(("median_ms", "p95_ms", "device"))
        return {
            "schema_version": REPORT_VERSION,
            "model": self.model.to_dict(),
            "processor": facts.processor,
            "gpu": facts.gpu,
            "threads": facts.threads,
            "runs": self.tuning.runs,
            "candidates": [
                *({**timing.model_dump(), "reason": None} for timing in self.tuning.timings),
                *({**asdict(one), **untimed, "reason": one.reason} for one in self.left_out),
            ],
            "choice": {"backend": self.choice.backend, "precision": self.choice.precision},
            "kept": str(self.file),
        }


def tune(
    bundle: Bundle,
    *,
    runs: int = 10,
    threads: int | None = None,
    devices: Sequence[str] = (),
    progress: Progress | None = None,
) -> Tuned:
    """Time a bundle's networks on one window, the first golden case, and keep the times for `choose`.

    Only what may answer is timed: the backend runs the precision here, the bundle's accuracy.json says that a
    precision below FP32 passed its gate in the configuration that it would have here, and the session passes the
    self-test. All sessions are open at once and take turns run by run, so that a drift of the machine hits all alike;
    the memory needed is that of all together, at full size up to 1 GB for each in FP32.

    Args:
        runs: timed runs of each, after the warm-up.
        threads: cores to use; by default all that this process may. The times count for this number alone.
        devices: those on which OpenVINO is timed, as `Backend.on` names them; by default all that it finds.

    Raises:
        UsageError: runs or threads below 1, no device of a name, or the cache cannot be written.
        BundleError: a file of the bundle is damaged.
        BackendError: nothing could be timed, a device that was named is not there, or a session failed after its
            warm-up.
    """
    if runs < 1:
        raise UsageError(f"{runs} runs; at least 1 is needed.", Remedy("Leave it out for 10", option="runs"))
    backends = Backends()
    kinds = _kinds(backends, devices)
    TUNING.folder()  # Refuses an unusable cache before the long work.
    with ExitStack() as opened:
        sessions, left_out = _open_all(bundle, backends, kinds, threads, opened, progress)
        if not sessions:
            reasons = "; ".join(f"{one.backend} {one.precision}: {one.reason}" for one in left_out)
            raise BackendError(f"Nothing of {bundle.manifest.name} can be timed here: {reasons}", SEE_WHAT_RUNS)
        inputs = one_window(bundle)
        taken = np.empty((runs, len(sessions)))  # ms
        for run in range(runs):
            taken[run] = [run_ms(session, inputs) for session in sessions]
            if progress is not None:
                progress("runs", run + 1, runs)
    timings = tuple(
        Timing(
            backend=session.backend,
            precision=session.precision,
            median_ms=float(np.median(column)),
            p95_ms=float(np.percentile(column, 95)),
            device=session.device,
        )
        for session, column in zip(sessions, taken.T, strict=True)
    )
    facts = tuned_for(bundle, threads or usable_cores())
    tuning = Tuning(bundle=bundle.manifest.name, facts=facts, runs=runs, timings=timings)
    choice = tuning.pick()
    if choice is None:
        raise BackendError(f"Nothing of {bundle.manifest.name} was timed.", SEE_WHAT_RUNS)
    return Tuned(bundle.summary, tuning, choice, tuple(left_out), keep_tuning(tuning))


def run_ms(session: Session, inputs: Mapping[str, NDArray[Any]]) -> float:
    """Milliseconds that a session takes for the inputs."""
    started = time.perf_counter()
    session.run(inputs)
    return (time.perf_counter() - started) * 1e3


def _kinds(backends: Backends, devices: Sequence[str]) -> list[type[Backend]]:
    """What is timed: all backends, each also on its further devices; of OpenVINO's those that are named, if any.

    The processor always is: what is kept of an earlier run is replaced, and "auto" chooses among what is.
    """
    if not devices:
        return backends.on_devices()
    named = [backends.named(f"{OPENVINO}:{device}") for device in dict.fromkeys(devices)]
    for kind in named:
        if not (answer := backends.availability(kind)).available:
            raise unavailable(kind, answer)
    return [*backends.classes.values(), *(kind for kind in named if kind not in backends.classes.values())]


def _open_all(
    bundle: Bundle,
    backends: Backends,
    kinds: Sequence[type[Backend]],
    threads: int | None,
    opened: ExitStack,
    progress: Progress | None,
) -> tuple[list[Session], list[LeftOut]]:
    """Sessions that may answer, warmed up and closed with `opened`."""
    accuracy = read_accuracy(bundle)
    sessions: list[Session] = []
    left_out: list[LeftOut] = []
    for backend, kind in ((kind.name, kind) for kind in kinds):
        for precision in bundle.manifest.models:
            answer = backends.can_run(kind, precision)
            reason = backends.excluded_from_auto(kind) or _gate(accuracy, precision)
            if answer.available and reason is None:
                answer = offered(bundle, kind, precision)
            reason = reason if answer.available else answer.reason
            if reason is None:
                try:
                    session = open_session(
                        bundle, backend=backend, precision=precision, threads=threads, progress=progress
                    )
                    opened.callback(session.close)
                    for _ in range(WARM_UP_RUNS):
                        session.run(one_window(bundle))
                except BackendError as failure:
                    reason = failure.problem
                else:
                    sessions.append(session)
            if reason is not None:
                left_out.append(LeftOut(backend, precision, reason))
    return sessions, left_out


def _gate(accuracy: Accuracy | None, precision: Precision) -> str | None:
    """Why a precision may not be chosen for its speed, or None if it may."""
    if precision == "fp32":
        return None
    measured = accuracy.precisions.get(precision) if accuracy is not None else None
    if measured is None:
        return f"not tried: the bundle does not say what {precision} costs; quantizing it measures that"
    if not measured.passed:
        return f"not tried: {precision} did not pass the accuracy gate: {'; '.join(measured.reasons)}"
    return None
