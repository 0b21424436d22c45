"""One logit, which scores label 1 of two: a threshold decides."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ...bundle.accuracy import CohortSummary, Flips
from ...manifest import Manifest
from ..aggregate import StudyScore, logit_of, sigmoid
from ..result import WindowScore, Wording
from .base import Decision, Label, Method
from .questions import Question, Questions


@dataclass(frozen=True)
class BinaryDecision(Decision):
    """Two labels told apart: label 1 from a threshold on.

    Probability and logit, also the windows', are those of label 1 whatever the verdict; arrays are of it alone, [S].
    With "max" they are the highest window's, with "mean" of the mean probability.
    """

    names: ClassVar[tuple[str, ...]] = ("sigmoid",)
    one_question: ClassVar[bool] = True

    labels: tuple[str, ...]
    threshold: float
    method: Method = "max"

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """See `Decision.of`."""
        if manifest.threshold is None:
            raise ValueError("it has no threshold")
        return cls(manifest.labels, manifest.threshold, manifest.aggregation.method)

    def _aggregate(self, starts: tuple[int, ...], logits: NDArray[np.float32]) -> StudyScore:
        windows = tuple(
            WindowScore(start, logit, sigmoid(logit))
            for start, logit in zip(starts, map(float, logits[:, 0]), strict=True)
        )
        deciding = max(range(len(windows)), key=lambda at: windows[at].logit)
        probability, logit = windows[deciding].probability, windows[deciding].logit
        if self.method == "mean":
            probability = math.fsum(window.probability for window in windows) / len(windows)
            logit = logit_of(probability)
        label = int(probability >= self.threshold)
        return StudyScore(
            label=label,
            verdict=self.labels[label],
            probability=probability,
            probabilities=(1.0 - probability, probability),
            logit=logit,
            logits=(logit,),
            windows=windows,
            deciding=deciding,
            threshold=self.threshold,
        )

    def wording(self, score: StudyScore) -> Wording:
        """The verdict with its threshold, both probabilities, and always the windows."""
        shares = zip(self.labels, score.probabilities, strict=True)
        return Wording(
            f"{score.verdict}   (threshold {self.threshold:g})",
            (("probability", "   ".join(f"{label} {probability:.3f}" for label, probability in shares)),),
            windows=True,
        )

    def rule(self) -> str:
        """See `Decision.rule`."""
        return f"{self.method} over windows, label 1 from {self.threshold:g}"

    def arrays(self, scores: Sequence[StudyScore]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of label 1, [S]."""
        return (
            np.array([score.probability for score in scores], np.float64),
            np.array([score.logit for score in scores], np.float64),
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
        return Questions((Question(1, known, probabilities, probabilities >= self.threshold),), strata=known)

    def cutoff(self) -> str:
        """See `Decision.cutoff`."""
        return f"threshold {self.threshold:g}"

    def cohort_words(self, cohort: CohortSummary) -> tuple[str, ...]:
        """Both labels, also one that nobody has."""
        positives = cohort.positives or 0
        return (f"{cohort.labelled - positives} {self.labels[0]}", f"{positives} {self.labels[1]}")
