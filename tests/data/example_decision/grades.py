"""An output decision of another package: grades in order, such as none, mild, severe.

The network has one logit for each step from a grade to the next, whose sigmoid is the probability that a study is
above it (Cao, Mirjalili and Raschka, Pattern Recognition Letters 140, 2020). The grade is the number of steps that are
as likely as not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from mmcaf_engine.manifest import Manifest
from mmcaf_engine.result.aggregate import StudyScore, WindowScore
from mmcaf_engine.result.decisions import Decision, Label, Method
from mmcaf_engine.result.decisions.questions import Question, Questions
from mmcaf_engine.result.result import Wording


@dataclass(frozen=True)
class OrdinalDecision(Decision):
    """One of several grades. The logit of a window is that of the step to the study's grade.

    With "max" the answer is that of the window with the highest expected grade, with "mean" of the mean probabilities.
    """

    names: ClassVar[tuple[str, ...]] = ("ordinal",)
    table_title: ClassVar[str] = "from one grade on"

    labels: tuple[str, ...]
    method: Method = "max"

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """One logit less than labels, and no threshold."""
        if manifest.score.shape[1] != len(manifest.labels) - 1:
            raise ValueError(f"{len(manifest.labels)} grades have {len(manifest.labels) - 1} steps between them")
        if manifest.threshold or manifest.thresholds:
            raise ValueError("a grade is told without thresholds")
        return cls(manifest.labels, manifest.aggregation.method)

    def _aggregate(self, starts: tuple[int, ...], logits: NDArray[np.float32]) -> StudyScore:
        exact = logits.astype(np.float64)
        above = np.minimum.accumulate(1 / (1 + np.exp(-exact)), axis=1)  # [N, K - 1], falling
        deciding = int(above.sum(axis=1).argmax())
        mean = self.method == "mean"
        of_study = self._shares(above.mean(axis=0) if mean else above[deciding])
        steps = exact.mean(axis=0) if mean else exact[deciding]
        grade = int(self.decided(of_study[None])[0])
        step = max(grade - 1, 0)
        shares = [self._shares(row) for row in above]
        return StudyScore(
            label=grade,
            verdict=self.labels[grade],
            probability=float(of_study[grade]),
            probabilities=tuple(map(float, of_study)),
            logits=tuple(map(float, steps)),
            windows=tuple(WindowScore(float(exact[at, step]), float(shares[at][grade])) for at in range(len(starts))),
            deciding=deciding,
        )

    def wording(self, score: StudyScore) -> Wording:
        """The grade, its number, and every grade's probability in order."""
        shares = zip(self.labels, score.probabilities, strict=True)
        rows = (
            ("grade", f"{score.label} of 0 to {len(self.labels) - 1}"),
            ("probability", "   ".join(f"{label} {probability:.3f}" for label, probability in shares)),
        )
        return Wording(score.verdict, rows, windows=True)

    def rule(self) -> str:
        """See `Decision.rule`."""
        return f"{self.method} over windows, the highest grade that is as likely as not"

    def cotangent(self, label: int) -> NDArray[np.float32]:
        """What speaks for a grade: the step that leads to it, and against the step that leads beyond it, [K - 1]."""
        steps = np.zeros(len(self.labels) - 1, np.float32)
        steps[label - 1 : label] = 1
        steps[label : label + 1] = -1
        return steps

    def decided(self, probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
        """The grade of each study, [S]."""
        grades: NDArray[np.int64] = (self._reached(probabilities) >= 0.5).sum(axis=1)
        return grades

    def questions(self, labels: Sequence[Label], probabilities: NDArray[np.float64]) -> Questions:
        """Of each grade but the lowest, whether a study has reached it."""
        known, said, reached = np.array(labels, np.int64), self.decided(probabilities), self._reached(probabilities)
        each = tuple(
            Question(grade, (known >= grade).astype(np.int64), reached[:, grade - 1], said >= grade)
            for grade in range(1, len(self.labels))
        )
        return Questions(each, strata=known, right=said == known)

    def question_title(self, label: int) -> str:
        """See `Decision.question_title`."""
        return f"at least {self.labels[label]}"

    def _shares(self, above: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability of each grade, [K], from those of the steps, falling [K - 1]."""
        return -np.diff(above, prepend=1.0, append=0.0)

    def _reached(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability that a study is of a grade or above, for each but the lowest, [S, K - 1]."""
        return probabilities[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
