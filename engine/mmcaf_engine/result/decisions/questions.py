"""A cohort's labels and scores as questions that are answered by yes or no, for AUROC and tables of decisions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Question:
    """One question about each of S studies.

    label: position of the label that it is about.
    truth: 1 for yes and 0 for no, int64 [S].
    score: higher for yes, float64 [S].
    said: whether the network says yes, bool [S].
    threshold: from which score on it does, where the question has one of its own.
    """

    label: int
    truth: NDArray[np.int64]
    score: NDArray[np.float64]
    said: NDArray[np.bool_]
    threshold: float | None = None


@dataclass(frozen=True)
class Questions:
    """All questions about S studies whose labels are known.

    strata: studies of one number are drawn apart from the others by a bootstrap, int64 [S].
    right: whether the answer as a whole is right, bool [S]; None where accuracy is the mean over the questions.
    """

    each: tuple[Question, ...]
    strata: NDArray[np.int64]
    right: NDArray[np.bool_] | None = None
