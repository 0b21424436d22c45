"""What a runtime gives back: taken if it is what the manifest says, else refused with both in words."""

from typing import Any

import numpy as np
import pytest

from mmcaf_engine.backends.outputs import joined
from mmcaf_engine.errors import BackendError
from mmcaf_engine.manifest import TensorSpec
from refusals import refused

LOGIT = TensorSpec(name="logit", kind="score", shape=("N", 2))


def answer(value: float = 0.0) -> dict[str, Any]:
    return {"logit": np.full((1, 2), value, np.float32)}


def test_windows_are_joined_in_order() -> None:
    found = joined([answer(1), answer(2), answer(3)], 3, (LOGIT,), "Backend other")
    np.testing.assert_array_equal(found["logit"], [[1, 1], [2, 2], [3, 3]])


@pytest.mark.parametrize(
    ("given", "got"),
    [
        (None, "nothing"),
        ([[0.0, 0.0]], "list"),
        (np.zeros((1, 3), np.float32), "float32 [1, 3]"),
        (np.zeros((2, 2), np.float32), "float32 [2, 2]"),
        (np.zeros((1, 2, 1), np.float32), "float32 [1, 2, 1]"),
        (np.zeros(2, np.float32), "float32 [2]"),
        (np.zeros((1, 2)), "float64 [1, 2]"),
    ],
    ids=["missing", "list", "wider", "batch", "axes", "axis", "type"],
)
def test_other_answers_are_refused(given: Any, got: str) -> None:
    with refused(BackendError, "other", "logit", "float32 [1, 2]", got):
        joined([answer(), {"logit": given}], 2, (LOGIT,), "Backend other")


def test_a_window_without_an_answer_is_refused() -> None:
    with refused(BackendError, "other", "2 windows", 1):
        joined([answer()], 2, (LOGIT,), "Backend other")


def test_weights_of_word_pieces_are_as_many_as_the_text_has() -> None:
    weights = TensorSpec(name="words", kind="attention", shape=("N", "L"))
    given = {"words": np.ones((1, 5), np.float32)}
    assert joined([given, given], 2, (weights,), "Backend other", length=5)["words"].shape == (2, 5)
    with refused(BackendError, "other", "words", "float32 [1, 4]", "float32 [1, 5]"):
        joined([given], 1, (weights,), "Backend other", length=4)
