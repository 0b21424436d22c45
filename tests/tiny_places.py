"""What lets the tests' tiny networks see geometry: a weight for each place of an input, without any symmetry.

A plain mean would answer the same for an image that is flipped, turned, or whose slices come in another order.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def place_weights(shape: Sequence[int], seed: int) -> NDArray[np.float32]:
    """Positive weights of mean 1, so that an image of one value is answered as by its mean.

    A few large draws see where single values lie; slopes, each axis its own, see where a smooth image is bright.
    """
    drawn = np.random.default_rng(seed).gamma(0.5, size=shape)
    for axis, size in enumerate(shape):
        slope = np.linspace(1, axis + 2, size)
        drawn *= slope.reshape([-1 if at == axis else 1 for at in range(len(shape))])
    return (drawn / drawn.mean()).astype(np.float32)


def weighted_mean(values: NDArray[Any], weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """Over all axes but the first: [N, *weights.shape] -> [N], in float64."""
    flat = values.astype(np.float64).reshape(len(values), -1)
    return flat @ weights.astype(np.float64).ravel() / weights.size
