"""One logit for each of several labels, of which one holds: the most probable is the answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ...manifest import Manifest
from ..aggregate import StudyScore, WindowScore, log_of, softmax
from ..result import Wording
from .base import Decision, Label, Method, reduction
from .questions import Question, Questions


@dataclass(frozen=True)
class MulticlassDecision(Decision):
    """One of several labels: the most probable.

    With "max" the answer is that of the window that is surest of its own label, with "mean" of the mean probabilities.
    Between equal labels the first is taken.
    """

    names: ClassVar[tuple[str, ...]] = ("softmax",)
    joins: ClassVar[bool] = True

    labels: tuple[str, ...]
    method: Method = "max"

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """See `Decision.of`."""
        return cls(manifest.labels, reduction(manifest.aggregation))

    def _aggregate(self, starts: tuple[int, ...], logits: NDArray[np.float32]) -> StudyScore:
        exact = logits.astype(np.float64)
        shares = softmax(exact)
        deciding = int(shares.max(axis=1).argmax())
        of_study, chosen = shares[deciding], exact[deciding]
        if self.method == "mean":
            of_study = shares.mean(axis=0)
            # With this constant, the logits of a single window are its own.
            constant = (exact.max(axis=1) - np.log(shares.max(axis=1))).mean()
            chosen = np.log(np.maximum(of_study, np.finfo(np.float64).tiny)) + constant
        label = int(of_study.argmax())
        if self.method == "mean":
            deciding = int(shares[:, label].argmax())
        return StudyScore(
            label=label,
            verdict=self.labels[label],
            probability=float(of_study[label]),
            probabilities=tuple(map(float, of_study)),
            logits=tuple(map(float, chosen)),
            windows=tuple(map(WindowScore, exact[:, label].tolist(), shares[:, label].tolist())),
            deciding=deciding,
        )

    def shares(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """See `Decision.shares`."""
        return softmax(logits.astype(np.float64))

    def _joined(self, probabilities: NDArray[np.float64], shares: NDArray[np.float64]) -> StudyScore:
        label = int(probabilities.argmax())
        chosen = [log_of(probability) for probability in probabilities.tolist()]
        return StudyScore(
            label=label,
            verdict=self.labels[label],
            probability=float(probabilities[label]),
            probabilities=tuple(probabilities.tolist()),
            logits=tuple(chosen),
            windows=tuple(WindowScore(log_of(share), share) for share in shares[:, label].tolist()),
            deciding=int(shares[:, label].argmax()),
        )

    def wording(self, score: StudyScore) -> Wording:
        """The verdict with its probability, and all probabilities, the highest first."""
        shares = sorted(zip(self.labels, score.probabilities, strict=True), key=lambda share: -share[1])
        return Wording(
            f"{score.verdict}   {score.probability:.3f}",
            (("probability", "   ".join(f"{label} {probability:.3f}" for label, probability in shares)),),
            windows=len(score.windows) > 1,
        )

    def rule(self) -> str:
        """See `Decision.rule`."""
        return f"{self.method} over windows, softmax; the most probable label"

    def decided(self, probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
        """The label of each study, [S]."""
        most_probable: NDArray[np.int64] = probabilities.argmax(axis=1).astype(np.int64)
        return most_probable

    def questions(self, labels: Sequence[Label], probabilities: NDArray[np.float64]) -> Questions:
        """Of each label, whether a study is of it and of none of the others."""
        known, said = np.array(labels, np.int64), self.decided(probabilities)
        each = tuple(
            Question(at, (known == at).astype(np.int64), probabilities[:, at], said == at)
            for at in range(len(self.labels))
        )
        return Questions(each, strata=known, right=said == known)
