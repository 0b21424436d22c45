"""One study from its files to the result, with a session that is open already; each instant given to one stage."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..pipeline import Answerer
from ..session.session import Session
from ..timing import Account, Stopwatch
from .report import Answer, SpanTime, StageTime
from .steady import Each, timed


def measure_answer(
    session: Session,
    study: str | Path | None,
    record: str | Path | Mapping[str, Any] | None,
    runs: int,
    each: Each | None = None,
) -> Answer:
    """Answer the study again and again.

    Raises:
        UsageError: runs below 1.
        StudyError, RecordError, BackendError: as of `Answerer.answer`.
    """
    answerer = Answerer(session)
    measured: list[tuple[Stopwatch, Account]] = []

    def answer() -> None:
        watch = Stopwatch()
        answerer.answer(study, record, watch=watch)
        measured.append((watch, watch.account()))

    wall = timed(answer, runs, each)
    counted = measured[-runs:]  # The others were to warm up.
    totals = np.asarray([account.total_ms for _, account in counted])
    watch, account = counted[int(np.argmin(np.abs(totals - np.median(totals))))]
    together = watch.stages_ms()
    stages = tuple(
        StageTime(name, ms, ms / account.total_ms, together.get(name, 0.0)) for name, ms in account.stages.items()
    )
    spans = tuple(SpanTime(span.name, span.start_ms, span.end_ms, span.track) for span in watch.spans)
    return Answer(wall, account.total_ms, stages, account.unaccounted_ms, spans, watch.tracks)
