"""How many answers there were of late, and how long they took: from the times that the memory keeps of each step."""

import math
import sqlite3
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

PERIODS: dict[int, int] = {1: 12, 24: 24, 168: 28}
"""Hours that are looked back -> into how many parts."""
STAGES = {"queued": "waiting", "running": "answering", "sending": "sending"}
"""State that a stage begins with -> what it is called; it ends with the next state."""


@dataclass
class Part:
    """A part of the period. seconds: from queued to written, of each answer that was written in it."""

    begin: float
    written: int = 0
    delivered: int = 0
    bad: int = 0
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float | None:
        """Of its seconds."""
        return statistics.median(self.seconds) if self.seconds else None

    @property
    def p95(self) -> float | None:
        """Of its seconds."""
        return percentile(self.seconds, 0.95)


@dataclass(frozen=True)
class Figures:
    """Of a period. length_s: of each part. stages: seconds of each, of every answer."""

    hours: int
    length_s: float
    parts: list[Part]
    stages: dict[str, list[float]]


def figures_of(connection: sqlite3.Connection, hours: int, now: float) -> Figures:
    """The last so many hours, one of PERIODS."""
    number = PERIODS[hours]
    length = hours * 3600 / number
    begin = now - hours * 3600
    parts = [Part(begin + at * length) for at in range(number)]
    stages: dict[str, list[float]] = {name: [] for name in STAGES.values()}
    since: dict[int, tuple[str, float]] = {}
    queued: dict[int, float] = {}
    for answer, state, at in connection.execute(
        "select answer, state, at from event where at >= ? and at <= ? and answer is not null order by id", (begin, now)
    ):
        part = parts[min(int((at - begin) / length), number - 1)]
        before = since.pop(answer, None)
        if before is not None and before[0] in STAGES:
            stages[STAGES[before[0]]].append(at - before[1])
        since[answer] = (state, at)
        if state == "queued":
            queued.setdefault(answer, at)
        elif state == "written":
            part.written += 1
            if answer in queued:
                part.seconds.append(at - queued.pop(answer))
        elif state == "delivered":
            part.delivered += 1
        elif state in ("refused", "failed", "expired"):
            part.bad += 1
            queued.pop(answer, None)
    return Figures(hours, length, parts, stages)


def percentile(values: Sequence[float], share: float) -> float | None:
    """The least value that so large a share of them does not exceed; None of none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]
