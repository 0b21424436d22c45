"""One logit for each of several labels, of which any number may hold: each has a threshold of its own."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ...bundle.accuracy import CohortSummary
from ...manifest import Manifest
from ..aggregate import StudyScore, WindowScore, in_figures, logit_of, sigmoid
from ..parts import Finding
from ..result import Wording
from .base import Decision, Label, Method, reduction
from .questions import Question, Questions

NONE_PRESENT = "none above its threshold"
"""The verdict where no label is present."""

SEPARATOR, NOT_KNOWN = ";", "?"
"""In a table's cell: between the labels that are present, and in place of them where nobody knows."""


@dataclass(frozen=True)
class MultilabelDecision(Decision):
    """Labels that are present or absent each by itself, from its own threshold on.

    The verdict names those that are present, and has a probability where that is one. Windows are of the most probable
    of these or, if none is present, of all; between equal ones, of the first. With "max" each label has its own highest
    window, with "mean" the mean probability.
    """

    names: ClassVar[tuple[str, ...]] = ("independent",)
    alone: ClassVar[bool] = True
    joins: ClassVar[bool] = True
    table_title: ClassVar[str] = "each label by itself"
    mean_title: ClassVar[str] = "mean over labels"

    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    method: Method = "max"

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """See `Decision.of`."""
        return cls(manifest.labels, manifest.thresholds, reduction(manifest.aggregation))

    def _aggregate(self, starts: tuple[int, ...], logits: NDArray[np.float32]) -> StudyScore:
        exact = logits.astype(np.float64)
        of_windows = [[sigmoid(float(logit)) for logit in row] for row in exact]
        probabilities = [max(column) for column in zip(*of_windows, strict=True)]
        of_study = [float(logit) for logit in exact.max(axis=0)]
        if self.method == "mean" and len(starts) > 1:
            probabilities = [math.fsum(column) / len(starts) for column in zip(*of_windows, strict=True)]
            of_study = [logit_of(probability) for probability in probabilities]
        return self._answer(probabilities, of_study, exact, np.array(of_windows))

    def shares(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """See `Decision.shares`."""
        return np.array([[sigmoid(float(logit)) for logit in row] for row in logits])

    def _joined(self, probabilities: NDArray[np.float64], shares: NDArray[np.float64]) -> StudyScore:
        of_windows = np.array([[logit_of(share) for share in row] for row in shares.tolist()])
        shared = probabilities.tolist()
        return self._answer(shared, [logit_of(share) for share in shared], of_windows, shares)

    def _answer(
        self,
        probabilities: Sequence[float],
        of_study: Sequence[float],
        exact: NDArray[np.float64],
        of_windows: NDArray[np.float64],
    ) -> StudyScore:
        """Of every label: probability and logit of the study [K], and logits and probabilities of windows [N, K]."""
        findings = tuple(
            Finding(label, probability, logit, threshold, probability >= threshold)
            for label, probability, logit, threshold in zip(
                self.labels, probabilities, of_study, self.thresholds, strict=True
            )
        )
        present = [at for at, finding in enumerate(findings) if finding.present]
        label = max(present or range(len(findings)), key=lambda at: findings[at].probability)
        return StudyScore(
            label=label,
            verdict=", ".join(self.labels[at] for at in present) or NONE_PRESENT,
            probability=probabilities[label] if len(present) == 1 else None,
            probabilities=tuple(probabilities),
            logits=tuple(of_study),
            windows=tuple(map(WindowScore, exact[:, label].tolist(), of_windows[:, label].tolist())),
            deciding=int(exact[:, label].argmax()),
            findings=findings,
        )

    def wording(self, score: StudyScore) -> Wording:
        """A row for each label, those that are present first, then the most probable; each with its threshold."""
        width = max(len(finding.label) for finding in score.findings)
        ordered = sorted(score.findings, key=lambda finding: (not finding.present, -finding.probability))
        rows = tuple(
            (
                "present" if finding.present else "absent",
                f"{finding.label:<{width}}   {in_figures(finding.probability, finding.threshold)}   "
                f"(threshold {finding.threshold:g})",
            )
            for finding in ordered
        )
        return Wording(score.verdict, rows, windows=len(score.windows) > 1)

    def rule(self) -> str:
        """See `Decision.rule`."""
        shares = zip(self.labels, self.thresholds, strict=True)
        return "each label by itself, from " + ", ".join(f"{label} {threshold:g}" for label, threshold in shares)

    def read_label(self, cell: str | None) -> Label:
        """The labels that are present, separated by ";"; none if the cell is empty, not known if it is "?"."""
        if cell is None or cell == NOT_KNOWN:
            return None
        parts = [part.strip() for part in cell.split(SEPARATOR)] if cell else []
        present = [self._position(part) for part in parts]
        if len(set(present)) != len(present):
            raise ValueError(f"a label stands twice in {cell[:40]!r}")
        return tuple(sorted(present))

    def label_of(self, present: Sequence[str], all_names: Collection[str]) -> Label:
        """Those that are present; the network may have further labels, which nobody then has."""
        if not set(all_names) <= set(self.labels):
            return None
        return tuple(sorted(self.labels.index(name) for name in present))

    def counted(self, labels: Sequence[Label]) -> tuple[int, ...]:
        """How many studies have each label."""
        return tuple(map(int, self._truth(labels).sum(axis=0)))

    def decided(self, probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
        """1 where a label is present, [S, K]."""
        return (probabilities >= np.asarray(self.thresholds)).astype(np.int64)

    def questions(self, labels: Sequence[Label], probabilities: NDArray[np.float64]) -> Questions:
        """Of each label, whether a study has it. Labels overlap, so that studies are drawn all together."""
        truth = self._truth(labels)
        each = tuple(
            Question(at, truth[:, at], probabilities[:, at], probabilities[:, at] >= threshold, threshold)
            for at, threshold in enumerate(self.thresholds)
        )
        return Questions(each, strata=np.zeros(len(truth), np.int64))

    def without_auroc(self, labels: Sequence[Label]) -> str:
        """See `Decision.without_auroc`."""
        return f"each label is in all or none of the {len(labels)} labelled studies"

    def cohort_words(self, cohort: CohortSummary) -> tuple[str, ...]:
        """None: one study counts for several labels, or for none."""
        return ()

    def _truth(self, labels: Sequence[Label]) -> NDArray[np.int64]:
        """1 where a label is present in a study, [S, K]."""
        known = np.zeros((len(labels), len(self.labels)), np.int64)
        for study, present in enumerate(labels):
            if isinstance(present, tuple):
                known[study, list(present)] = 1
        return known
