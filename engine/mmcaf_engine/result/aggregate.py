"""From the windows' logits to the study's answer."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendError, Remedy
from ..manifest import Manifest
from .result import NONE_PRESENT, Finding, WindowScore


@dataclass(frozen=True)
class StudyScore:
    """A study's answer.

    label: position among the manifest's labels of the answer; of the most probable label where they are independent.
    said: the answer in words.
    probabilities: of every label, in their order.
    logits: of label 1 for sigmoid, of every label else.
    windows: each one's score, of label 1 for sigmoid, of `label` else.
    deciding: the window that the answer rests on most.
    findings: each label's, where they are independent.
    """

    label: int
    said: str
    probabilities: tuple[float, ...]
    logits: tuple[float, ...]
    windows: tuple[WindowScore, ...]
    deciding: int
    threshold: float | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def logit(self) -> float:
        """Of label 1 for sigmoid, of `label` else."""
        return self.logits[0] if self._of_two else self.logits[self.label]

    @property
    def probability(self) -> float:
        """Of label 1 for sigmoid, of `label` else."""
        return self.probabilities[1] if self._of_two else self.probabilities[self.label]

    @property
    def _of_two(self) -> bool:
        return len(self.logits) < len(self.probabilities)


def aggregate(starts: tuple[int, ...], logits: NDArray[np.float32], manifest: Manifest) -> StudyScore:
    """The study's answer from its windows: of the highest window, or of the mean probabilities.

    For softmax the highest window is the one that is surest of its own label. Independent labels each have their own
    highest window. Between equal classes the first is taken.

    Args:
        starts: first slice of each window, length N.
        logits: float32 [N, 1] for sigmoid, [N, K] for softmax and independent.

    Raises:
        BackendError: a logit is not finite.
    """
    _refuse_not_finite(starts, logits)
    if manifest.activation == "sigmoid":
        return _of_two(starts, [float(logit) for logit in logits[:, 0]], manifest)
    if manifest.activation == "independent":
        return _of_each(starts, logits.astype(np.float64), manifest)
    return _of_several(starts, logits.astype(np.float64), manifest)


def _of_two(starts: tuple[int, ...], logits: list[float], manifest: Manifest) -> StudyScore:
    windows = tuple(WindowScore(start, logit, sigmoid(logit)) for start, logit in zip(starts, logits, strict=True))
    deciding = max(range(len(windows)), key=lambda at: windows[at].logit)
    probability, logit = windows[deciding].probability, windows[deciding].logit
    if manifest.aggregation.method == "mean":
        probability = math.fsum(window.probability for window in windows) / len(windows)
        logit = _logit(probability)
    if manifest.threshold is None:
        raise ValueError("a manifest with sigmoid has a threshold")
    label = int(probability >= manifest.threshold)
    said = manifest.labels[label]
    return StudyScore(
        label, said, (1.0 - probability, probability), (logit,), windows, deciding, threshold=manifest.threshold
    )


def _of_several(starts: tuple[int, ...], logits: NDArray[np.float64], manifest: Manifest) -> StudyScore:
    shares = softmax(logits)
    deciding = int(shares.max(axis=1).argmax())
    of_study, chosen = shares[deciding], logits[deciding]
    if manifest.aggregation.method == "mean":
        of_study = shares.mean(axis=0)
        # With this constant, the logits of a single window are its own.
        constant = (logits.max(axis=1) - np.log(shares.max(axis=1))).mean()
        chosen = np.log(np.maximum(of_study, np.finfo(np.float64).tiny)) + constant
    label = int(of_study.argmax())
    windows = tuple(
        WindowScore(start, float(logits[at, label]), float(shares[at, label])) for at, start in enumerate(starts)
    )
    if manifest.aggregation.method == "mean":
        deciding = int(shares[:, label].argmax())
    said = manifest.labels[label]
    return StudyScore(label, said, tuple(map(float, of_study)), tuple(map(float, chosen)), windows, deciding)


def _of_each(starts: tuple[int, ...], logits: NDArray[np.float64], manifest: Manifest) -> StudyScore:
    of_windows = [[sigmoid(float(logit)) for logit in row] for row in logits]
    probabilities = [max(column) for column in zip(*of_windows, strict=True)]
    of_study = [float(logit) for logit in logits.max(axis=0)]
    if manifest.aggregation.method == "mean" and len(starts) > 1:
        probabilities = [math.fsum(column) / len(starts) for column in zip(*of_windows, strict=True)]
        of_study = [_logit(probability) for probability in probabilities]
    findings = tuple(
        Finding(label, probability, logit, threshold, probability >= threshold)
        for label, probability, logit, threshold in zip(
            manifest.labels, probabilities, of_study, manifest.thresholds, strict=True
        )
    )
    label = max(range(len(findings)), key=lambda at: findings[at].probability)
    windows = tuple(
        WindowScore(start, float(logits[at, label]), of_windows[at][label]) for at, start in enumerate(starts)
    )
    return StudyScore(
        label,
        ", ".join(finding.label for finding in findings if finding.present) or NONE_PRESENT,
        tuple(probabilities),
        tuple(of_study),
        windows,
        int(logits[:, label].argmax()),
        threshold=findings[label].threshold,
        findings=findings,
    )


def sigmoid(logit: float) -> float:
    """1 / (1 + exp(-logit)), without overflow."""
    if logit >= 0:
        return 1.0 / (1.0 + math.exp(-logit))
    return math.exp(logit) / (1.0 + math.exp(logit))


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """exp(logit) / sum of them, along the last axis, without overflow."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def _refuse_not_finite(starts: tuple[int, ...], logits: NDArray[np.float32]) -> None:
    broken = ~np.isfinite(logits).all(axis=1)
    if broken.any():
        window = int(np.flatnonzero(broken)[0])
        value = next(value for value in logits[window] if not np.isfinite(value))
        raise BackendError(
            f"The network's answer for the window at slice {starts[window]} is {value}, no number.",
            Remedy("Try another precision", option="precision", value="fp32"),
            Remedy("Or another backend", option="backend", value="onnxruntime"),
        )


def _logit(probability: float) -> float:
    tiny = np.finfo(np.float64).tiny
    return math.log(max(probability, tiny)) - math.log(max(1.0 - probability, tiny))
