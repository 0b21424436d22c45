"""One logit, which scores label 1 of two: a threshold decides."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ...bundle.accuracy import CohortSummary, Flips
from ...manifest import Manifest
from ..aggregate import StudyScore, WindowScore, in_figures, logit_of, sigmoid
from ..parts import Positive
from ..result import Wording
from .base import Decision, Label, Method, reduction
from .questions import Question, Questions
from .regression import ScoreRegression


@dataclass(frozen=True)
class BinaryDecision(Decision):
    """Two labels told apart: label 1 from a threshold on.

    What is decided on is the score of label 1: with "max" that of its highest window, with "mean" its mean probability,
    with a regression what that makes of all windows. The answer rests most on the highest window; with a regression, on
    the one that moves it furthest. Of that label alone are also arrays, [S].
    """

    names: ClassVar[tuple[str, ...]] = ("sigmoid",)
    one_question: ClassVar[bool] = True
    joins: ClassVar[bool] = True

    labels: tuple[str, ...]
    threshold: float
    method: Method = "max"
    regression: ScoreRegression | None = None

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """See `Decision.of`."""
        if manifest.threshold is None:
            raise ValueError("it has no threshold")
        regression = ScoreRegression.of(manifest.aggregation)
        method: Method = "max" if regression is not None else reduction(manifest.aggregation)
        return cls(manifest.labels, manifest.threshold, method, regression)

    def _aggregate(self, starts: tuple[int, ...], logits: NDArray[np.float32]) -> StudyScore:
        windows = [WindowScore(logit, sigmoid(logit)) for logit in map(float, logits[:, 0])]
        deciding = max(range(len(windows)), key=lambda at: windows[at].logit)
        probability, logit = windows[deciding].probability, windows[deciding].logit
        if self.regression is not None:
            logit = self.regression.logit([window.probability for window in windows])
            probability = sigmoid(logit)
        elif self.method == "mean":
            probability = math.fsum(window.probability for window in windows) / len(windows)
            logit = logit_of(probability)
        return self._answer(probability, logit, windows, deciding)

    def shares(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """See `Decision.shares`."""
        present = np.array([sigmoid(logit) for logit in map(float, logits[:, 0])])
        return np.stack([1.0 - present, present], axis=1)

    def _joined(self, probabilities: NDArray[np.float64], shares: NDArray[np.float64]) -> StudyScore:
        windows = [WindowScore(logit_of(share), share) for share in shares[:, 1].tolist()]
        probability = float(probabilities[1])
        return self._answer(probability, logit_of(probability), windows, int(shares[:, 1].argmax()))

    def _answer(self, probability: float, logit: float, windows: list[WindowScore], deciding: int) -> StudyScore:
        """All of label 1."""
        label = int(probability >= self.threshold)
        if self.regression is not None:
            deciding = self._moving_most(self.regression, windows, towards=1 if label == 1 else -1)
        if label == 0:
            windows = [WindowScore(-window.logit, 1.0 - window.probability) for window in windows]
        probabilities = (1.0 - probability, probability)
        return StudyScore(
            label=label,
            verdict=self.labels[label],
            probability=probabilities[label],
            probabilities=probabilities,
            logits=(logit,),
            windows=tuple(windows),
            deciding=deciding,
            positive=Positive(self.labels[1], probability, logit, self.threshold),
        )

    @staticmethod
    def _moving_most(regression: ScoreRegression, windows: Sequence[WindowScore], towards: int) -> int:
        """The window that adds most to the logit, or takes most from it; among equals that of the furthest score."""
        parts = regression.parts([window.probability for window in windows])
        return max(range(len(windows)), key=lambda at: (towards * parts[at], towards * windows[at].logit))

    def wording(self, score: StudyScore) -> Wording:
        """The verdict with its probability and label 1's threshold, both probabilities, and always the windows."""
        absent, present = score.probabilities
        shares = in_figures(absent), in_figures(present, self.threshold)
        return Wording(
            f"{score.verdict}   {shares[score.label]}   ({self.labels[1]} from {self.threshold:g})",
            (
                (
                    "probability",
                    "   ".join(f"{label} {share}" for label, share in zip(self.labels, shares, strict=True)),
                ),
            ),
            windows=True,
        )

    def cotangent(self, label: int) -> NDArray[np.float32]:
        """The one score, or what lowers it, [1]; see `Decision.cotangent`."""
        return np.array([1.0 if label == 1 else -1.0], np.float32)

    def rule(self) -> str:
        """See `Decision.rule`."""
        how: str = self.method
        if self.regression is not None:
            how = f"logistic regression of probabilities in {len(self.regression.coefficients)} ranges"
        return f"{how} over windows, label 1 from {self.threshold:g}"

    def arrays(self, scores: Sequence[StudyScore]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of label 1, [S]."""
        return (
            np.array([score.probabilities[1] for score in scores], np.float64),
            np.array([score.logits[0] for score in scores], np.float64),
        )

    def decided(self, probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
        """The label of each study, [S]."""
        return (probabilities >= self.threshold).astype(np.int64)

    def flips(self, before: NDArray[np.float64], after: NDArray[np.float64]) -> Flips:
        """In which direction they changed, too."""
        old, new = self.decided(before), self.decided(after)
        return Flips(
            to_label_0=int((old > new).sum()), to_label_1=int((new > old).sum()), fraction=float((old != new).mean())
        )

    def questions(self, labels: Sequence[Label], probabilities: NDArray[np.float64]) -> Questions:
        """Whether a study is of label 1."""
        known = np.array(labels, np.int64)
        said = probabilities >= self.threshold
        return Questions((Question(1, known, probabilities, said, self.threshold),), strata=known)

    def cutoff(self) -> str:
        """See `Decision.cutoff`."""
        return f"threshold {self.threshold:g}"

    def cohort_words(self, cohort: CohortSummary) -> tuple[str, ...]:
        """Both labels, also one that nobody has."""
        positives = cohort.positives or 0
        return (f"{cohort.labelled - positives} {self.labels[0]}", f"{positives} {self.labels[1]}")
