"""A prepared study through a session: every window once, in order, as many at a time as suit the backend."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mmcaf_engine.cancel import CancelToken, limited
from mmcaf_engine.errors import CancelledError
from mmcaf_engine.session.run import run_windows


class Windows:
    """So many windows, each of which holds its own number."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def inputs(self, at: int, manifest: Any) -> dict[str, Any]:
        return {"image": np.full((1, 2), at, np.float32)}


class Doubling:
    """A session that answers twice what it is given; batches: how many windows each call had."""

    bundle = SimpleNamespace(manifest=None)

    def __init__(self, windows_per_call: int) -> None:
        self.windows_per_call = windows_per_call
        self.batches: list[int] = []

    def run(self, inputs: dict[str, Any], *, optional: bool) -> dict[str, Any]:
        self.batches.append(len(inputs["image"]))
        return {"logit": 2 * inputs["image"][:, :1]}


@pytest.mark.parametrize(("at_once", "batches"), [(1, [1] * 5), (2, [2, 2, 1]), (5, [5]), (8, [5])])
def test_every_window_is_answered_once_and_told_when_it_is_done(at_once: int, batches: list[int]) -> None:
    session: Any = Doubling(at_once)
    study: Any = Windows(5)
    told: list[tuple[str, int, int]] = []
    found = run_windows(session, study, lambda *step: told.append(step))
    np.testing.assert_array_equal(found["logit"], [[0], [2], [4], [6], [8]])
    assert session.batches == batches
    assert told == [("infer", int(done), 5) for done in np.cumsum(batches)]


def test_it_ends_between_windows_when_it_is_cancelled() -> None:
    session: Any = Doubling(2)
    study: Any = Windows(5)
    token = CancelToken()
    with pytest.raises(CancelledError), limited(token, None):
        run_windows(session, study, lambda *step: token.cancel())
    assert session.batches == [2]
