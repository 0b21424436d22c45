"""Names of tensors: what wrappers put before and between them, and averaged weights beside the others."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from mmcaf_engine.errors import ExportError

_AROUND = ("module.",)
"""Left by DataParallel and its kin where every name begins with it; elsewhere the network may be meant."""
_ANYWHERE = ("_orig_mod", "_fsdp_wrapped_module", "_fpw_module", "_checkpoint_wrapped_module")
"""Components of names left by torch.compile, FSDP and activation checkpointing, which no network has of its own."""

COUNT = "n_averaged"
_AVERAGED = re.compile(r"(^|[^a-z])(ema|swa|averag(e|ed|ing)|avg|shadow|polyak)($|[^a-z])")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def says_averaged(name: str) -> bool:
    """Whether a name in a document says that what lies there was averaged over training: ema, model_ema, modelEMA."""
    return bool(_AVERAGED.search(_CAMEL.sub("_", name).lower()))


def unwrapped(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors under names without wrappers', and what was removed.

    Where two names would become one, they stay as they are.
    """
    names = list(state)
    removed: list[str] = []
    found = {part for name in names for part in name.split(".")[:-1]}
    for wrapper in (part for part in _ANYWHERE if part in found):
        names = [".".join(part for part in name.split(".") if part != wrapper) for name in names]
        removed.append(f"{wrapper}.")
    while prefix := next((p for p in _AROUND if names and all(name.startswith(p) for name in names)), None):
        names = [name.removeprefix(prefix) for name in names]
        removed.append(prefix)
    if len(set(names)) != len(state):
        return dict(state), ()
    return dict(zip(names, state.values(), strict=True)), tuple(dict.fromkeys(removed))


def without_module(name: str) -> str:
    """The name without `module` as a component: of a part of the network that was in DataParallel."""
    *path, last = name.split(".")
    return ".".join([*(part for part in path if part != "module"), last])


@dataclass(frozen=True)
class Split:
    """Tensors of one state_dict: averaged ones under names of the others, the others, and counters of the averaging."""

    averaged: dict[str, dict[str, Tensor]]
    rest: dict[str, Tensor]
    counters: tuple[str, ...]


def split_averaged(state: Mapping[str, Tensor]) -> Split:
    """Part a state_dict that holds weights twice: averaged ones below a name that says so, with twins elsewhere.

    A module of a network may be called `ema` or `average`: it counts only where other entries have its names, after
    some prefix, and its shapes.
    """
    counters = tuple(name for name, value in state.items() if name.split(".")[-1] == COUNT and value.dim() == 0)
    plain = {name: value for name, value in state.items() if name not in counters}
    groups: dict[str, dict[str, Tensor]] = {}
    for name, value in plain.items():
        first, _, below = name.partition(".")
        if below and says_averaged(first):
            groups.setdefault(first, {})[below] = value
    found = {first: group for first, group in groups.items() if _has_twins(group, plain, first)}
    rest = {name: value for name, value in plain.items() if name.partition(".")[0] not in found}
    return Split({first: _with_dots(group, rest) for first, group in found.items()}, rest, counters)


def refuse_unaveraged(counters: Mapping[str, Tensor], path: Path) -> None:
    """Refuse averaged weights that no average was taken for.

    Raises:
        ExportError: a counter of theirs is 0.
    """
    for name, value in counters.items():
        if value.numel() == 1 and not value.is_meta and not bool(value.any()):
            raise ExportError(
                f"{path}: {name} is 0: its averaged weights were never updated, and are those of the first moment.",
                "Export a checkpoint from after the averaging began.",
            )


def _with_dots(group: Mapping[str, Tensor], rest: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Averaged weights that were stored without the dots of their names: under those of the rest, which fills in what
    is never averaged, as the code that stored them does."""
    weights = [name for name, value in group.items() if value.dim() > 0]
    if any("." in name for name in weights):
        return dict(group)
    below = {name.partition(".")[2]: value for name, value in rest.items()}
    flat = {name.replace(".", ""): name for name in below}
    if len(flat) != len(below) or not set(weights) <= set(flat):
        return dict(group)
    return below | {flat[name]: group[name] for name in weights}


def _has_twins(group: Mapping[str, Tensor], state: Mapping[str, Tensor], first: str) -> bool:
    mine = {_flat(name): value.shape for name, value in unwrapped(group)[0].items() if value.dim() > 0}
    others = [(name, value.shape) for name, value in state.items() if name.partition(".")[0] != first]
    known = {(_flat(part), shape) for name, shape in others for part in (name, name.partition(".")[2])}
    return bool(mine) and 2 * sum(one in known for one in mine.items()) >= len(mine)


def _flat(name: str) -> str:
    return without_module(name).replace(".", "")
