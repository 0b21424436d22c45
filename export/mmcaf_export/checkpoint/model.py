"""What a checkpoint is here, and which of the weights in it are meant."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from torch import Tensor

TRAINING, STATE_DICT, SAFETENSORS, SHARDED = "training checkpoint", "state_dict", "safetensors", "shards"

Weights = Literal["ema", "raw"]
"""Those that were averaged over training (EMA, SWA), or those of its last step."""


@dataclass(frozen=True)
class Reading:
    """Which of the weights in a file are meant; without any of it, there may be one answer only.

    key: path within the file of the weights, as in "ema.state_dict".
    prefix: only the names that begin with it, and without it.
    weights: which, where a file holds both.
    allow_extra: patterns (as of file names) of entries that the network has no use for and that may be left out.
    """

    key: str | None = None
    prefix: str | None = None
    weights: Weights | None = None
    allow_extra: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checkpoint:
    """Weights as found in a file.

    state: parameter name without wrappers' prefixes -> tensor, backed by the file where possible.
    metadata: what the file says of itself, e.g. network, slices, size.
    sha256: of the file; of shards, that of the index's and theirs, each on a line.
    kind: TRAINING, STATE_DICT, SAFETENSORS or SHARDED.
    taken: path within the file; "" where the file holds nothing else.
    averaged: whether the weights are averages over training.
    stripped: prefixes and wrappers that were removed from names.
    left_out: paths and names of tensors in the file that are not in `state`, as of counters and other weights.
    shards: further file -> its SHA-256, where the weights lie in several.
    """

    path: Path
    kind: str
    sha256: str
    state: dict[str, Tensor]
    metadata: dict[str, str]
    taken: str = ""
    averaged: bool = False
    stripped: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    shards: Mapping[str, str] = field(default_factory=dict)
