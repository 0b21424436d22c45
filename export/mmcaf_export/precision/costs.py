"""What a layer costs in FP32 and in INT8 on a family of processors, by their peaks: nothing is timed.

So that the same network gets the same INT8 layers on every machine, whatever else runs there.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mmcaf_engine.errors import UsageError

from .layers import Layer

DEFAULT_FAMILY = "avx512-vnni"
"""The family that INT8 is made for unless another is named, whatever the machine at hand is."""

LEAST_SHARE = 0.0005
"""A layer must save this share of all candidates' FP32 time to be worth any error."""

LEAST_CHANNELS = 4
"""Inputs, and outputs, below which runtimes have no fast INT8 kernel: a dot product is of four."""


@dataclass(frozen=True)
class Family:
    """Peaks of one core of a family of processors; units and sources are in processors.toml."""

    name: str
    title: str
    source: str
    fp32: float
    int8: float
    bytes: float
    lanes: int
    depth: int
    grouped: bool


TARGETS = ("cpu", "gpu")
"""What INT8 is made for: a processor of DEFAULT_FAMILY, or of the family that is named instead; or a GPU."""


def family_for(target: str) -> Family | None:
    """The family of processors of a target: "cpu" or a family's name; None for "gpu".

    Raises:
        UsageError: no such target.
    """
    known = families()
    if target == "gpu":
        return None
    name = DEFAULT_FAMILY if target == "cpu" else target
    if name not in known:
        raise UsageError(f"Unknown processor {target!r}.", f"Choose one of: {', '.join((*TARGETS, *known))}.")
    return known[name]


@cache
def families() -> dict[str, Family]:
    """The families of processors, by name."""
    with Path(__file__).with_name("processors.toml").open("rb") as file:
        return {name: Family(name=name, **facts) for name, facts in tomllib.load(file).items()}


def fp32_cycles(layer: Layer, family: Family) -> float:
    """Clock cycles of a layer in FP32 on one core: of its arithmetic or of its memory traffic, whichever are more."""
    arithmetic = layer.flops * _filled(layer.outputs, family.lanes) / family.fp32
    return max(arithmetic, 4 * (layer.read + layer.weights + layer.written) / family.bytes)


def int8_cycles(layer: Layer, family: Family) -> float:
    """As `fp32_cycles`, of its input and weights in INT8 and its result in FP32, as QDQ has it."""
    filled = _filled(layer.outputs, family.lanes) * _filled(layer.inputs, family.depth)
    return max(layer.flops * filled / family.int8, (layer.read + layer.weights + 4 * layer.written) / family.bytes)


def worthwhile(layers: Sequence[Layer], family: Family | None) -> dict[str, float]:
    """Node -> what INT8 gains, above 0, of the layers that it makes faster.

    Args:
        family: of processors, of which the gain is in cycles of one core; None for a GPU, of which the arithmetic
            stands for the gain.
    """
    if family is None:
        return {layer.node: layer.flops / 1e9 for layer in layers}
    enough = LEAST_SHARE * sum(fp32_cycles(layer, family) for layer in layers)
    saved = {layer.node: fp32_cycles(layer, family) - int8_cycles(layer, family) for layer in layers if _wide(layer)}
    return {node: gain for node, gain in saved.items() if gain > enough}


def _wide(layer: Layer) -> bool:
    return min(layer.inputs, layer.outputs) >= LEAST_CHANNELS


def _filled(count: int, places: int) -> float:
    """Places taken, in whole vectors, for each that is used."""
    return -(-count // places) * places / max(count, 1)
