"""From the windows' logits to the study's answer."""

import math

import numpy as np
from numpy.typing import NDArray

from .errors import BackendError
from .manifest import AggregationSpec
from .result import WindowScore


def score_windows(starts: tuple[int, ...], logits: NDArray[np.float32]) -> tuple[WindowScore, ...]:
    """Pair each window's first slice with its score.

    Args:
        starts: first slice of each window, length N.
        logits: float32 [N, 1].

    Raises:
        BackendError: a logit is not finite.
    """
    if not np.isfinite(logits).all():
        window = int(np.flatnonzero(~np.isfinite(logits[:, 0]))[0])
        raise BackendError(
            f"The network's answer for the window at slice {starts[window]} is {logits[window, 0]}, no number.",
            "Try another precision or backend: --precision fp32 --backend onnxruntime",
        )
    return tuple(
        WindowScore(start, float(logit), sigmoid(float(logit)))
        for start, logit in zip(starts, logits[:, 0], strict=True)
    )


def aggregate(windows: tuple[WindowScore, ...], spec: AggregationSpec) -> tuple[float, float]:
    """The study's (probability, logit): of the highest window, or of the mean probability."""
    if spec.method == "max":
        highest = max(windows, key=lambda window: window.logit)
        return highest.probability, highest.logit
    probability = math.fsum(window.probability for window in windows) / len(windows)
    return probability, _logit(probability)


def sigmoid(logit: float) -> float:
    """1 / (1 + exp(-logit)), without overflow."""
    if logit >= 0:
        return 1.0 / (1.0 + math.exp(-logit))
    return math.exp(logit) / (1.0 + math.exp(logit))


def _logit(probability: float) -> float:
    tiny = np.finfo(np.float64).tiny
    return math.log(max(probability, tiny)) - math.log(max(1.0 - probability, tiny))
