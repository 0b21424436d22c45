"""A logistic regression over the scores of a study's windows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...manifest import AggregationSpec


@dataclass(frozen=True)
class ScoreRegression:
    """The logit of a study from how many of its windows have a probability in each of equal ranges from 0 to 1.

    coefficients: of the number of windows in each range, in rising order. intercept: of the logit.
    """

    coefficients: tuple[float, ...]
    intercept: float

    @classmethod
    def of(cls, spec: AggregationSpec) -> "ScoreRegression | None":
        """What a manifest declares; None where it declares another method."""
        return None if spec.intercept is None else cls(spec.coefficients, spec.intercept)

    def logit(self, probabilities: Sequence[float]) -> float:
        """Of a study, from the probability of each of its windows."""
        return math.fsum((*self.parts(probabilities), self.intercept))

    def parts(self, probabilities: Sequence[float]) -> list[float]:
        """What each window adds to the study's logit: the coefficient of the range that its probability lies in."""
        return [self.coefficients[at] for at in self._ranges(probabilities)]

    def _ranges(self, probabilities: Sequence[float]) -> NDArray[np.intp]:
        """Each has its lower end and not its upper one, but for the last, as of numpy's histogram."""
        edges = np.linspace(0.0, 1.0, len(self.coefficients) + 1)
        found: NDArray[np.intp] = np.searchsorted(edges, np.asarray(probabilities, np.float64), side="right") - 1
        return np.minimum(found, len(self.coefficients) - 1)
