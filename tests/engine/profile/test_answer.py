"""Which of several answers a profile tells stage by stage; what is answered, and how long that takes, is played."""

from typing import Any

import pytest

from mmcaf_engine.profile.answer import measure_answer
from mmcaf_engine.timing import Stopwatch


class Played:
    """The first answer takes 10 s by its stopwatch, the second 20, and so on."""

    answered = 0

    def __init__(self, session: Any) -> None:
        pass

    def answer(self, study: Any, record: Any, *, watch: Stopwatch) -> None:
        Played.answered += 1
        watch.started -= 10.0 * Played.answered


def test_the_run_nearest_the_median_is_told_and_no_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmcaf_engine.profile.answer.Answerer", Played)
    monkeypatch.setattr(Played, "answered", 0)
    session: Any = None
    found = measure_answer(session, None, None, 3)
    assert found.wall.discarded == Played.answered - 3 > 0
    assert found.wall_ms == pytest.approx(10_000 * (Played.answered - 1), rel=1e-3)
