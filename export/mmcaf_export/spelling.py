"""A checkpoint's names as a network spells them: what the training code put before them is found by what is left."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase

from torch import Tensor

from mmcaf_engine.errors import ExportError, Remedy

from .checkpoint import Checkpoint, Reading
from .checkpoint.find import lacks
from .checkpoint.load import with_prefix
from .checkpoint.names import says_averaged, without_module
from .networks.registry import Networks

_DEEPEST = 3
_OF_TRAINING = re.compile(r"loss|criterion|metric|accuracy|(^|_)(acc|auc|auroc|f1|precision|recall|confmat)(_|$)", re.I)
"""First component of names that a training module has beside its network."""


def spelled(networks: Networks, checkpoint: Checkpoint, network: str | None, reading: Reading) -> Checkpoint:
    """The checkpoint under names that a network knows; as it is where there is none.

    As they are is tried first, then without `module` within them, then below a common prefix. What lies beside such a
    prefix is left out where it is the training's, or where `reading` allows it.

    Raises:
        ExportError: there are several prefixes below which one fits, or weights beside it.
    """
    if networks.fitting(checkpoint.state, checkpoint.metadata, network):
        return checkpoint
    for depth in range(_DEEPEST + 1):
        fitting = [
            one for one in _spellings(checkpoint, depth) if networks.fitting(one.state, checkpoint.metadata, network)
        ]
        if fitting:
            return _one(fitting, checkpoint, reading)
    return checkpoint


def _spellings(checkpoint: Checkpoint, depth: int) -> Iterator[Checkpoint]:
    """Below each prefix of so many components, the names without it, and without `module` within them."""
    if depth == 0:
        yield from _within(checkpoint)
        return
    parts = [name.split(".") for name in checkpoint.state]
    for prefix in dict.fromkeys(".".join(part[:depth]) for part in parts if len(part) > depth):
        below = with_prefix(checkpoint, prefix)
        yield below
        yield from _within(below)


def _within(checkpoint: Checkpoint) -> Iterator[Checkpoint]:
    state = {without_module(name): value for name, value in checkpoint.state.items()}
    if len(state) == len(checkpoint.state) and list(state) != list(checkpoint.state):
        yield replace(checkpoint, state=state, stripped=(*checkpoint.stripped, "module."))


def _one(fitting: list[Checkpoint], whole: Checkpoint, reading: Reading) -> Checkpoint:
    """Raises ExportError where several fit, or where what lies beside the one may belong to the network too."""
    prefixes = {one.stripped[len(whole.stripped) :][:1]: one for one in reversed(fitting)}
    if len(prefixes) > 1:
        names = [prefix for (prefix,) in sorted(prefixes)]
        raise ExportError(
            f"{whole.path}: a network fits below each of {', '.join(names)}.",
            Remedy("Name one", option="prefix", value=names[0]),
        )
    (prefix,), chosen = next(iter(prefixes.items()))
    beside = chosen.left_out[len(whole.left_out) :]
    doubtful = [name for name in beside if not _harmless(name, whole.state, reading)]
    if doubtful:
        raise ExportError(
            f"{whole.path}: a network fits below {prefix}, and {len(doubtful)} further weights lie beside it: "
            f"{', '.join(doubtful[:8])}.",
            Remedy("If they are no part of its answer, leave them out", option="prefix", value=prefix),
        )
    averaged = whole.averaged or says_averaged(prefix)
    if averaged and reading.weights == "raw":
        raise lacks(whole.path, "weights but averaged ones")
    return replace(chosen, averaged=averaged)


def _harmless(name: str, state: Mapping[str, Tensor], reading: Reading) -> bool:
    return (
        state[name].dim() == 0
        or bool(_OF_TRAINING.search(name.partition(".")[0]))
        or any(fnmatchcase(name, pattern) for pattern in reading.allow_extra)
    )
