"""What every kind of output decision does: from scores to an answer, to a cohort's figures, and into words."""

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from ...bundle.accuracy import CohortSummary, Flips
from ...machine.plugins import may_raise
from ...manifest import AggregationSpec, Manifest
from ..aggregate import StudyScore, refuse_impossible, refuse_not_finite
from ..result import Wording
from .questions import Questions

Label = float | tuple[int, ...] | None
"""What is known of a study: the position of its label among the network's; of those that it has, ascending, where any
number may hold; a value, where that is predicted. None where it is not known."""

Method = Literal["max", "mean"]
"""How windows become a study."""


def reduction(spec: AggregationSpec) -> Method:
    """How windows become a study, of decisions that know nothing else.

    Raises:
        ValueError: it is by a regression, which only a decision of one logit has.
    """
    if spec.method == "logistic_regression":
        raise ValueError(f"aggregation {spec.method} is of one logit that tells two labels apart")
    return spec.method


def called(name: str, origin: str) -> str:
    """What messages call a decision, with the package that it comes from where that is another one."""
    return f"The output decision {name} of the package {origin}" if origin else f"The output decision {name}"


class Decision(ABC):
    """What a network's scores mean. A subclass is the only place that knows its kind.

    names: what a manifest's `activation` may call it.
    one_question: the answer is that to a single question by yes or no, label 1 or label 0, which has a ROC curve.
    alone: each label is a question of its own, with a threshold of its own.
    joins: whether it can answer for an ensemble, by `shares` and `_joined`.
    origin: the package that it comes from, with version, where that is another one; set by the registry.
    labels: the manifest's.
    threshold, thresholds: as reports repeat them; None where the answer follows from none.

    What another package's class raises is that package's fault, and what it gives back is checked against the types
    declared here (`machine.plugins.guard`).
    """

    names: ClassVar[tuple[str, ...]]
    origin: ClassVar[str] = ""
    one_question: ClassVar[bool] = False
    alone: ClassVar[bool] = False
    joins: ClassVar[bool] = False

    labels: tuple[str, ...]
    threshold: float | None = None
    thresholds: tuple[float, ...] | None = None

    @classmethod
    @abstractmethod
    @may_raise(ValueError)
    def of(cls, manifest: Manifest) -> Self:
        """The decision that a manifest declares.

        Raises:
            ValueError: its labels, thresholds or score's shape are not what the decision needs; in words, which.
        """

    # One study

    def aggregate(self, starts: tuple[int, ...], logits: NDArray[np.float32]) -> StudyScore:
        """The study's answer from its windows.

        Each member of an ensemble answers by itself, from all windows; then the mean of their probabilities counts.
        With "max" it may be above the mean of every window, since members may rest on different ones.

        Args:
            starts: first slice of each window, length N.
            logits: float32 [N, scores], of an ensemble [N, members, scores].

        Raises:
            BackendError: a logit is not finite, or the answer is impossible.
        """
        refuse_not_finite(starts, logits)
        score = self._of_members(starts, logits) if logits.ndim == 3 else self._aggregate(starts, logits)
        refuse_impossible(score, len(self.labels), len(starts), called(self.names[0], self.origin))
        return score

    def _of_members(self, starts: tuple[int, ...], logits: NDArray[np.float32]) -> StudyScore:
        count = logits.shape[1]
        each = [np.ascontiguousarray(logits[:, member]) for member in range(count)]
        members = tuple(self.aggregate(starts, own).probabilities for own in each)
        mean = np.array([math.fsum(column) / count for column in zip(*members, strict=True)])
        of_windows: NDArray[np.float64] = np.mean([self.shares(own) for own in each], axis=0)
        return replace(self._joined(mean, of_windows), members=members)

    @abstractmethod
    def _aggregate(self, starts: tuple[int, ...], logits: NDArray[np.float32]) -> StudyScore:
        """As `aggregate`, of finite logits."""

    def shares(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Each window's probability of every label, [N, K], from finite logits [N, scores]; of those that `joins`."""
        raise NotImplementedError

    def _joined(self, probabilities: NDArray[np.float64], shares: NDArray[np.float64]) -> StudyScore:
        """What follows from the means over an ensemble's members; of those that `joins`.

        Args:
            probabilities: of every label of the study, [K]. shares: of every window, [N, K].
        """
        raise NotImplementedError

    @abstractmethod
    def wording(self, score: StudyScore) -> Wording:
        """The answer as a person reads it."""

    @abstractmethod
    def rule(self) -> str:
        """In words, how the answer follows from the windows' scores."""

    def cotangent(self, label: int) -> NDArray[np.float32]:
        """What a label's own score is of the network's, [scores]: a heat map is of what raises it.

        Args:
            label: its position among the labels.
        """
        own: NDArray[np.float32] = (np.arange(len(self.labels)) == label).astype(np.float32)
        return own

    # What is known of studies

    @may_raise(ValueError)
    def read_label(self, cell: str | None) -> Label:
        """A study's label from a table's cell; None, or an empty one, is not known.

        Raises:
            ValueError: it names no label; in words, what was accepted.
        """
        return self._position(cell) if cell else None

    def label_of(self, present: Sequence[str], all_names: Collection[str]) -> Label:
        """The label of a study of which `present` hold out of `all_names`; None if these are not the network's."""
        if len(present) != 1 or set(self.labels) != set(all_names):
            return None
        return self.labels.index(present[0])

    def counted(self, labels: Sequence[Label]) -> tuple[int, ...]:
        """How many studies are of each label."""
        return tuple(sum(label == at for label in labels) for at in range(len(self.labels)))

    # A cohort's scores

    def arrays(self, scores: Sequence[StudyScore]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Probabilities and logits of S studies, as precisions are compared by them: [S], or [S, K] as here."""
        return (
            np.array([score.probabilities for score in scores], np.float64),
            np.array([score.logits for score in scores], np.float64),
        )

    @abstractmethod
    def decided(self, probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
        """What is said of each study, [S] or [S, K], from the probabilities that `arrays` gives."""

    def flips(self, before: NDArray[np.float64], after: NDArray[np.float64]) -> Flips:
        """The studies of which something else is said than before, from the probabilities of both; at least one."""
        changed = self.decided(before) != self.decided(after)
        changed = changed if changed.ndim == 1 else changed.any(axis=1)
        return Flips(changed=int(changed.sum()), fraction=float(changed.mean()))

    @abstractmethod
    def questions(self, labels: Sequence[Label], probabilities: NDArray[np.float64]) -> Questions:
        """What is asked of studies whose labels are known, to say how well the network tells them.

        Args:
            labels: length S, none of them None.
            probabilities: of the same studies, as `arrays` gives them.
        """

    def without_auroc(self, labels: Sequence[Label]) -> str:
        """In words, why no question about these studies has answers of both kinds; at least one label."""
        return f"all {len(labels)} labelled studies are of label {labels[0]}"

    # A cohort's figures in words

    table_title: ClassVar[str] = "one label against the others"
    """Over the table that has a row for each question."""

    mean_title: ClassVar[str] = ""
    """Over the rows' names where a figure is a mean over the questions, if that is to be said."""

    def cutoff(self) -> str:
        """Which threshold the verdict follows from, if it is one."""
        return ""

    def cohort_words(self, cohort: CohortSummary) -> tuple[str, ...]:
        """How many labelled studies are of which label."""
        counts = zip(cohort.per_label or (), self.labels, strict=False)
        return tuple(f"{count} {label}" for count, label in counts if count)

    def question_title(self, label: int) -> str:
        """What the question about a label is called in tables."""
        return self.labels[label]

    def _position(self, cell: str) -> int:
        names = [name.casefold() for name in self.labels]
        if cell.casefold() in names:
            return names.index(cell.casefold())
        numbers = [str(number) for number in range(len(names))]
        if cell in numbers:
            return int(cell)
        few = len(names) <= 2
        accepted = ", ".join([*self.labels, *(numbers if few else [f"0 to {numbers[-1]}"])])
        raise ValueError(f"the label {cell[:40]!r} is not known (accepted: {accepted})")
