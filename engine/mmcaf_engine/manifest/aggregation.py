"""How the scores of a study's windows become the study's."""

from collections.abc import Mapping
from math import isfinite
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from .arithmetic import single
from .base import ManifestModel

REGRESSION = "logistic_regression"
"""The method that has coefficients."""

FEWEST_BINS, MOST_BINS = 2, 1000


class AggregationSpec(ManifestModel):
    """How the windows' probabilities become the study's.

    logistic_regression counts the windows in equal ranges of their probability, as numpy's histogram from 0 to 1 does,
    as many as there are `coefficients`; the logit is the counts times the coefficients, and the intercept.
    """

    method: Literal["max", "mean", "logistic_regression"]
    coefficients: tuple[float, ...] = Field(
        default=(),
        max_length=MOST_BINS,
        description="Of logistic_regression: of the number of windows in each range of probability, from 0 to 1.",
    )
    intercept: float | None = Field(default=None, description="Of logistic_regression.")

    version_2: ClassVar[frozenset[str]] = frozenset({"coefficients", "intercept"})
    version_2_values: ClassVar[Mapping[str, frozenset[str]]] = {"method": frozenset({REGRESSION})}

    @model_validator(mode="after")
    def _meant(self) -> "AggregationSpec":
        if self.method != REGRESSION:
            if self.coefficients or self.intercept is not None:
                raise ValueError(f"coefficients and intercept belong to the method {REGRESSION}, not to {self.method}")
            return self
        if len(self.coefficients) < FEWEST_BINS or self.intercept is None:
            raise ValueError(
                f"{REGRESSION} needs {FEWEST_BINS} to {MOST_BINS} coefficients, one for each range of probability, and "
                f"an intercept; got {len(self.coefficients)} and {'no' if self.intercept is None else 'an'} intercept"
            )
        if not all(isfinite(single(value)) for value in (*self.coefficients, self.intercept)):
            raise ValueError("coefficients and intercept cannot be meant: one is not finite in single precision")
        if len(set(self.coefficients)) == 1:
            raise ValueError(
                f"coefficients cannot be meant: with {self.coefficients[0]:g} for each of them the answer does not "
                "depend on what the network says"
            )
        return self
