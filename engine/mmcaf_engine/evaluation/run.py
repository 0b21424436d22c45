"""A bundle on a cohort: every precision that can run opened, every study scored, and all that there is to say of it."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack

from ..bundle.bundle import Bundle
from ..cancel import Progress
from ..errors import BackendError
from ..manifest import PRECISIONS, Precision, named_precision
from ..session.session import Session, keeps_reports, open_session
from .cases import Cohort
from .compare import evaluate
from .evaluation import Evaluation

KEPT_REPORTS = 64
"""Encoded reports that a session keeps: enough for a cohort in which the images of a report stand together."""

_log = logging.getLogger(__name__)


def evaluate_bundle(
    bundle: Bundle,
    cohort: Cohort,
    *,
    precisions: Sequence[str] = (),
    backend: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Compare the precisions of a bundle with FP32 on a cohort, which may be one that `open_cohort` read.

    Every session is opened before the first study is read. A fallback to another backend is logged as a warning.

    Args:
        precisions: to compare with FP32; by default all that the bundle holds, of which one that cannot run here is
            left out, and the outcome says why.
        backend: "auto", or a backend's name.
        threads: cores to use; by default all that this process may.
        progress: called with ("studies", studies done, studies).

    Raises:
        UsageError: an unknown precision, or threads below 1.
        BackendError: FP32, or a precision that was named, cannot run here, or a session failed.
        StudyError: every study was refused.
    """
    wanted = known_precisions(precisions)
    sessions: dict[Precision, Session] = {}
    not_run: dict[Precision, str] = {}
    with ExitStack() as opened:
        for precision in wanted or sorted(bundle.manifest.models, key=PRECISIONS.index):
            try:
                session = opened.enter_context(_open(bundle, precision, backend, threads))
            except BackendError as failure:
                if wanted or precision == "fp32":
                    raise
                not_run[precision] = str(failure)
            else:
                sessions[precision] = session
        fallbacks = {name: session.fallback for name, session in sessions.items() if session.fallback}
        for name, reason in fallbacks.items():
            _log.warning("%s runs on %s: %s", name, sessions[name].backend, reason)
        accuracy, outcome = evaluate(cohort, sessions, progress=progress)
    options = {"precisions": ", ".join(precisions) or "all that can run", "backend": backend}
    options |= {} if threads is None else {"threads": str(threads)}
    return Evaluation(bundle, cohort, accuracy, outcome, not_run, fallbacks, options=options)


def known_precisions(given: Sequence[str]) -> tuple[Precision, ...]:
    """The precisions of these names, in order and FP32 among them; none for none.

    Raises:
        UsageError: there is no such precision.
    """
    wanted = [named_precision(name) for name in given]
    return tuple(name for name in PRECISIONS if name in wanted or name == "fp32") if given else ()


def _open(bundle: Bundle, precision: Precision, backend: str, threads: int | None) -> Session:
    keeps = keeps_reports(bundle, backend=backend, precision=precision, threads=threads).available
    reports = KEPT_REPORTS if keeps else 0
    return open_session(bundle, backend=backend, precision=precision, threads=threads, reports=reports)
