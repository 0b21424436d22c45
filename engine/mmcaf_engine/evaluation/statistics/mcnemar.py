"""Whether two sets of decisions on the same studies are right about equally often (McNemar, Psychometrika 12, 1947)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class McNemar:
    """only_first, only_second: studies that only one of the two has right. p: two-sided and exact, of no difference."""

    only_first: int
    only_second: int
    p: float


def mcnemar(right: NDArray[np.bool_], other_right: NDArray[np.bool_]) -> McNemar:
    """Compare by the exact binomial test; of studies that both have right or wrong nothing follows.

    Args:
        right, other_right: whether each decision is right, of the same studies, [S].
    """
    first, second = int((right & ~other_right).sum()), int((~right & other_right).sum())
    told, fewer = first + second, min(first, second)
    tail = term = 1
    for at in range(1, fewer + 1):
        term = term * (told - at + 1) // at  # The binomial coefficient of `at`.
        tail += term
    return McNemar(first, second, min(1.0, 2 * tail / 2**told))
