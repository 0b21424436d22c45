"""A study's score, and the arithmetic that output decisions make it with."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendError, Remedy
from .parts import Finding, Positive


@dataclass(frozen=True)
class WindowScore:
    """One window's score of the study's label."""

    logit: float
    probability: float


@dataclass(frozen=True)
class StudyScore:
    """A study's answer.

    label: position among the manifest's labels of the answer; where any number may hold, of the most probable one of
        those that do or, if none does, of all.
    verdict: the answer in words.
    probability: of the verdict, which is that of `label`; None where the verdict is not that one label alone.
    probabilities: of every label, in their order.
    logits: as the decision compares them between precisions.
    windows: each one's score of `label`, in the order of the windows.
    deciding: the window that the answer rests on most.
    positive: label 1, where a threshold tells two labels apart.
    findings: each label's, where any number may hold.
    members: of an ensemble, each member's probabilities of every label; `probabilities` is their mean.
    """

    label: int
    verdict: str
    probability: float | None
    probabilities: tuple[float, ...]
    logits: tuple[float, ...]
    windows: tuple[WindowScore, ...]
    deciding: int
    positive: Positive | None = None
    findings: tuple[Finding, ...] = ()
    members: tuple[tuple[float, ...], ...] = ()


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


def mean(values: Sequence[float]) -> float:
    """Without any error but the last rounding, whatever the order."""
    return math.fsum(values) / len(values)


def log_of(probability: float) -> float:
    """The logarithm of a probability; finite at 0."""
    return math.log(max(probability, _TINY))


def logit_of(probability: float) -> float:
    """The logit whose sigmoid is a probability; finite at 0 and 1."""
    return log_of(probability) - log_of(1.0 - probability)


def in_figures(probability: float, *limits: float | None) -> str:
    """A probability for people: three decimals, or as many as it takes to be on its side of every limit.

    Args:
        limits: from which on another thing is said; 0.49996 is not 0.500 where one is 0.5. None is no limit.
    """
    given = [limit for limit in limits if limit is not None]
    texts = (f"{probability:.{decimals}f}" for decimals in range(3, 17))
    sides = [probability >= limit for limit in given]
    return next((text for text in texts if [float(text) >= limit for limit in given] == sides), repr(probability))


def refuse_not_finite(starts: tuple[int, ...], logits: NDArray[np.float32]) -> None:
    """Never an answer from what is no number.

    Args:
        starts: first slice of each window, length N.
        logits: float32 [N, scores], of an ensemble [N, members, scores].

    Raises:
        BackendError: a logit is not finite.
    """
    of_windows = logits.reshape(len(logits), -1)
    broken = ~np.isfinite(of_windows).all(axis=1)
    if broken.any():
        window = int(np.flatnonzero(broken)[0])
        value = next(value for value in of_windows[window] if not np.isfinite(value))
        raise BackendError(
            f"The network's answer for the window at slice {starts[window]} is {value}, no number.",
            Remedy("Try another precision", option="precision", value="fp32"),
            Remedy("Or another backend", option="backend", value="onnxruntime"),
        )


def refuse_impossible(score: StudyScore, labels: int, windows: int, called: str) -> None:
    """Never an answer that no network can have given, whoever's decision made it.

    Args:
        labels, windows: how many there are. called: the decision, in the error.

    Raises:
        BackendError: a number is not finite, a probability is not one or is another label's, a window is missing or too
            many, or label, deciding window or verdict is none.
    """
    of_windows = [value for window in score.windows for value in (window.logit, window.probability)]
    possible = (
        all(math.isfinite(number) for number in (*score.probabilities, *score.logits, *of_windows))
        and all(-_ROUNDING <= probability <= 1 + _ROUNDING for probability in score.probabilities)
        and len(score.probabilities) == labels
        and 0 <= score.label < labels
        and score.probability in (None, score.probabilities[score.label])
        and 0 <= score.deciding < windows == len(score.windows)
        and score.verdict.isprintable()
    )
    if not possible:
        raise BackendError(
            f"{called} gave an impossible answer: probabilities {list(score.probabilities)} of {labels} "
            f"labels, from window {score.deciding + 1} of {len(score.windows)}, where {windows} were scored.",
            "Update or remove the package that the decision comes from.",
        )


_TINY = float(np.finfo(np.float64).tiny)
_ROUNDING = 1e-9
"""Means of probabilities may miss 1 by so much."""
