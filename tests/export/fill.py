"""Weights and inputs of the golden files, drawn from names and seeds alone."""

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def fill(name: str, shape: tuple[int, ...]) -> Array | NDArray[np.int64]:
    """The golden value of a parameter: a draw seeded with its clean name, row-major, rounded to float32."""
    draw = np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")))
    kind = name.rsplit(".", 1)[-1]
    if kind == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if kind == "running_var":
        value = draw.uniform(0.5, 1.5, shape)
    elif kind == "running_mean":
        value = 0.1 * draw.standard_normal(shape)
    elif name.startswith("kan."):
        value = _kan(kind, shape, draw)
    elif len(shape) == 1:
        value = draw.uniform(0.8, 1.2, shape) if kind == "weight" else 0.05 * draw.standard_normal(shape)
    else:
        value = draw.standard_normal(shape) * math.sqrt(1 / math.prod(shape[1:]))
    return np.asarray(value, np.float32)


def image(seed: int, shape: tuple[int, ...]) -> Array:
    """Normal noise of standard deviation 0.3."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32) * np.float32(0.3)


def table(*seeds: int) -> Array:
    """One row of seven uniform values in -1..1 per seed."""
    rows = [np.random.default_rng(1000 + seed).uniform(-1, 1, (1, 7)) for seed in seeds]
    return np.concatenate(rows).astype(np.float32)


def _kan(kind: str, shape: tuple[int, ...], draw: np.random.Generator) -> NDArray[np.floating]:
    if kind == "mask":
        return np.ones(shape)
    if kind != "grid":
        return 0.5 * draw.standard_normal(shape)
    # Knots from -2.2 to 2.2, each rounded to float32 on the way, as the published network builds them:
    # the inner six count from the nearer end of -1..1, the outer three step away from there.
    one = np.float32(1)
    step = np.float32(2) / np.float32(5)
    knots = [step * np.float32(i) - one for i in range(3)] + [one - step * np.float32(i) for i in (2, 1, 0)]
    outward = (knots[-1] - knots[0]) / np.float32(5)
    for _ in range(3):
        knots = [knots[0] - outward, *knots, knots[-1] + outward]
    return np.tile(np.array(knots, np.float32), (shape[0], 1))
