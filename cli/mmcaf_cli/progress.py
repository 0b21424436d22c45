"""A progress bar on stderr, for work that takes more than a second."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import typer

from mmcaf_engine.errors import printable

from .console import shows_progress, terminal

QUIET_SECONDS = 1.0
_STAGES = {
    "read": "reading",
    "decode": "decoding",
    "open": "opening the network",
    "infer": "windows",
    "explain": "explaining",
}


class ProgressBar:
    """Called with (stage, done, total). Shows nothing in the first second, with -q, or where stderr is no terminal."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._shown = shows_progress()
        self._stage = ""
        self._bar: Any = None

    def __call__(self, stage: str, done: int, total: int) -> None:
        if not self._shown or time.perf_counter() - self._started < QUIET_SECONDS:
            return
        if stage != self._stage:
            self._finish()
            self._stage = stage
            self._bar = typer.progressbar(length=total, label=_STAGES.get(stage, printable(stage)), file=terminal())
            self._bar.__enter__()
        self._bar.update(done - self._bar.pos)

    def between(self, say: Callable[[str], None]) -> Callable[[str], None]:
        """Says a line where no bar stands; the next stage begins below it."""

        def said(line: str) -> None:
            self._finish()
            self._stage = ""
            say(line)

        return said

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish()

    def _finish(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None
