"""Which state_dict of a document is meant: where there may be two answers, nothing is chosen."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmcaf_engine.errors import ExportError, Remedy, UsageError

from .convert import convert
from .model import Reading, Weights
from .names import COUNT, refuse_unaveraged, says_averaged, split_averaged, unwrapped
from .restricted import type_name

USUAL = ("model_state", "state_dict", "model", "model_state_dict")
"""Names under which most training code keeps the weights."""

KNOWN = (
    *USUAL,
    *("net", "network", "weights", "params", "parameters"),
    *("module", "model_weights", "net_state", "net_state_dict", "network_state_dict", "current_model_state"),
)
"""Names under which weights are kept; others count only where none of these is there."""

_BESIDE = re.compile(r"loss|criterion|critic|discriminator|metric", re.I)
_OPTIMIZER = re.compile(r"optim|sched|scaler|(^|_)rng(_|$)|^opt(_|$)", re.I)
_EXTRA_STATE = "_extra_state"
_MAX_DEPTH = 12


@dataclass(frozen=True)
class Found:
    """A state_dict within a document, and what was not taken with it."""

    path: str
    state: dict[str, Tensor]
    averaged: bool
    stripped: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class _Candidate:
    """One set of weights: all tensors at a path, or of these the ones of one kind.

    path: within the document; group: first component of the names that were averaged, where others lie beside them;
    beside_group: whether these are those others.
    """

    path: tuple[str, ...]
    tensors: dict[str, Tensor]
    averaged: bool
    group: str = ""
    beside_group: bool = False
    left_out: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        path = ".".join([*self.path, f"{self.group}."] if self.group else self.path)
        return f"the other names{path and f' of {path}'}" if self.beside_group else path

    @property
    def rank(self) -> int:
        if any(_BESIDE.search(part) for part in self.path):
            return 2
        return 0 if not self.path or any(part in KNOWN or says_averaged(part) for part in self.path) else 1

    @property
    def remedy(self) -> Remedy:
        if self.group:
            return Remedy("Name one", option="prefix", value=f"{self.group}.")
        return Remedy("Name one", option="key", value=self.name)


def find_state(document: Any, path: Path, reading: Reading) -> Found:
    """The weights that are meant.

    Raises:
        ExportError: there are none, several that may be meant, or none of the kind that `reading` asks for.
    """
    above, root = ((), document) if reading.key is None else _at(document, reading.key, path)
    candidates = [part for one in _candidates(root, above, set()) for part in _parted(one, reading.prefix)]
    lists = list(_nameless(root, above, set()))
    if not candidates:
        raise _nothing(root, above, path)
    if reading.weights is None and reading.key is not None and len(candidates) == 1:
        chosen = candidates
    else:
        chosen = _of_kind(candidates, lists, path, reading.weights)
    one = _one(chosen, path)
    if one.averaged:
        refuse_unaveraged(_beside(root, above, one.path), path)
    stripped = (f"{one.group}.",) if one.group else ()
    left = [other.name for other in candidates if other is not one]
    return Found(".".join(one.path), one.tensors, one.averaged, stripped, (*left, *lists, *one.left_out))


def _candidates(node: Any, path: tuple[str, ...], seen: set[int], outside: bool = True) -> Iterator[_Candidate]:
    """The state_dicts below a node; what lies at several paths is walked once, so that no file takes without end."""
    if len(path) > _MAX_DEPTH or (not outside and _OPTIMIZER.search(path[-1])):
        return
    if isinstance(node, Mapping):
        if _is_state(node):
            tensors = {name: value for name, value in node.items() if isinstance(value, Tensor)}
            averaged = COUNT in node or any(map(says_averaged, path))
            yield _Candidate(path, tensors, averaged, left_out=tuple(name for name in node if name not in tensors))
            return
        if ("param_groups" in node and "state" in node) or _again(node, seen):
            return
        inverted = "averaging_state" in node and "current_model_state" in node  # Lightning's WeightAveraging
        for key, value in node.items():
            for found in _candidates(value, (*path, str(key)), seen, outside=False):
                yield replace(found, averaged=found.averaged or (inverted and str(key) == "state_dict"))
    elif isinstance(node, list | tuple) and not _again(node, seen):
        for at, value in enumerate(node):
            yield from _candidates(value, (*path, str(at)), seen, outside=False)


def _again(node: object, seen: set[int]) -> bool:
    """Whether it was walked before; from now on it was."""
    before = id(node) in seen
    seen.add(id(node))
    return before


def _parted(one: _Candidate, prefix: str | None) -> list[_Candidate]:
    """The candidate, or the kinds of weights within it where there are two and no prefix says which."""
    if prefix is not None:
        return [replace(one, averaged=one.averaged or any(map(says_averaged, prefix.split("."))))]
    split = split_averaged(one.tensors)
    left = (*one.left_out, *split.counters)
    groups = [_Candidate(one.path, found, True, group, left_out=left) for group, found in split.averaged.items()]
    weights = [name for name, value in split.rest.items() if value.dim() > 0]
    averaged = all(says_averaged(name.partition(".")[0]) for name in weights) or (one.averaged and not groups)
    return [*groups, replace(one, tensors=split.rest, left_out=left, averaged=averaged, beside_group=bool(groups))]


def _beside(root: Any, above: tuple[str, ...], path: tuple[str, ...]) -> dict[str, Tensor]:
    """Counters of averaging, at the weights and beside them on the way there."""
    found: dict[str, Tensor] = {}
    node = root
    for part in (*path[len(above) :], None):
        for key, value in _children(node):
            if isinstance(value, Tensor | int) and str(key).split(".")[-1] == COUNT:
                found[str(key)] = torch.as_tensor(value)
            elif isinstance(value, Mapping) and str(key) == "averaging_state":
                found |= {f"{key}.{name}": inner for name, inner in value.items() if name == COUNT}
        node = dict(_children(node)).get(part) if not isinstance(node, Mapping) else _child(node, part)
    return found


def _child(node: Mapping[Any, Any], part: str | None) -> Any:
    return next((value for key, value in node.items() if str(key) == part), None)


def _is_state(node: Mapping[Any, Any]) -> bool:
    """Whether it holds tensors under names, of which at least one can be a weight, and nothing else."""
    return (
        all(isinstance(key, str) for key in node)
        and all(isinstance(value, Tensor) or key.endswith(_EXTRA_STATE) for key, value in node.items())
        and any(_is_weight(value) for value in node.values())
    )


def _is_weight(value: object) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0


def _nameless(node: Any, path: tuple[str, ...], seen: set[int]) -> Iterator[str]:
    """Paths of averaged weights that are kept as a list, without names."""
    if len(path) > _MAX_DEPTH:
        return
    if isinstance(node, Mapping):
        for key, value in () if _again(node, seen) else node.items():
            yield from _nameless(value, (*path, str(key)), seen)
    elif isinstance(node, list | tuple) and any(map(says_averaged, path)) and any(map(_is_weight, node)):
        yield ".".join(path)


def _of_kind(
    candidates: Sequence[_Candidate], lists: Sequence[str], path: Path, wanted: Weights | None
) -> list[_Candidate]:
    averaged = [one for one in candidates if one.averaged and one.rank < 2]
    raw = [one for one in candidates if not one.averaged and one.rank < 2]
    if wanted is None and raw and (averaged or lists):
        names = ", ".join([*(one.name for one in averaged), *lists])
        raise both_kinds(path, names, ", ".join(one.name for one in raw))
    if wanted == "ema" and not averaged:
        if lists:
            raise ExportError(
                f"{path}: keeps averaged weights as a list without names ({', '.join(lists)}), which no network can "
                "be filled from.",
                "Copy them into the network on the training machine, and save its state_dict.",
            )
        raise lacks(path, "averaged weights")
    if wanted == "raw" and not raw:
        raise lacks(path, "weights but averaged ones")
    if wanted is None:
        return list(candidates)
    return averaged if wanted == "ema" else raw


def both_kinds(path: Path, averaged: str, raw: str) -> ExportError:
    """The refusal of a file whose weights are there twice."""
    return ExportError(
        f"{path}: holds averaged weights ({averaged}) and those of the last step ({raw}); they give other answers.",
        Remedy("Take the averaged ones", option="weights", value="ema"),
        Remedy("Or the last ones", option="weights", value="raw"),
    )


def lacks(path: Path, what: str) -> ExportError:
    """The refusal of a file without the weights that were asked for."""
    return ExportError(f"{path}: holds no {what}.", Remedy("Leave out", option="weights"))


def _one(candidates: Sequence[_Candidate], path: Path) -> _Candidate:
    best = min(one.rank for one in candidates)
    first, *others = sorted(candidates, key=lambda one: one.rank)  # stable: the file's order stays
    if best == 2 and not others:
        raise ExportError(
            f"{path}: holds the tensors of {first.name} alone, which are not a network's to export.",
            Remedy("If they are, name them", option="key", value=first.name),
        )
    doubtful = [one for one in others if (one.rank == best or _twins(first, one)) and not _equal(first, one)]
    if doubtful:
        names = [one.name for one in (first, *doubtful)]
        raise ExportError(
            f"{path}: holds {len(names)} sets of weights that may be meant: {', '.join(names[:8])}.", doubtful[0].remedy
        )
    return first


def _twins(one: _Candidate, other: _Candidate) -> bool:
    """Whether they have the same names and shapes, so that either fits."""
    mine, its = (unwrapped(candidate.tensors)[0] for candidate in (one, other))
    return {key: value.shape for key, value in mine.items()} == {key: value.shape for key, value in its.items()}


def _equal(one: _Candidate, other: _Candidate) -> bool:
    mine, its = one.tensors, other.tensors
    return mine.keys() == its.keys() and all(
        mine[key].dtype == its[key].dtype
        and mine[key].layout == its[key].layout == torch.strided
        and not (mine[key].is_meta or its[key].is_meta or mine[key].is_quantized)
        and torch.equal(mine[key], its[key])
        for key in mine
    )


def _at(document: Any, key: str, path: Path) -> tuple[tuple[str, ...], Any]:
    """What lies at a dotted path; names that hold dots themselves are taken whole where they are there."""
    walked: list[str] = []
    node, rest = document, key.split(".")
    if not all(rest):
        raise UsageError(f"{key!r} is no path within a checkpoint.", Remedy("As in", option="key", value="ema.model"))
    while rest:
        children = {str(name): value for name, value in _children(node)}
        length = next((n for n in range(len(rest), 0, -1) if ".".join(rest[:n]) in children), 0)
        if not length:
            where = ".".join(walked) or "the file"
            there = ", ".join(list(children)[:12]) or "nothing"
            raise ExportError(f"{path}: no {rest[0]!r} in {where}; there: {there}.", Remedy("Correct it", option="key"))
        walked.append(".".join(rest[:length]))
        node, rest = children[walked[-1]], rest[length:]
    return tuple(walked), node


def _children(node: Any) -> list[tuple[Any, Any]]:
    if isinstance(node, Mapping):
        return list(node.items())
    return list(enumerate(node)) if isinstance(node, list | tuple) else []


def _nothing(root: Any, above: tuple[str, ...], path: Path) -> ExportError:
    where = f"{path}: {'.'.join(above)}" if above else str(path)
    expected = f"A state_dict, or a dict with one under {', '.join(USUAL)}, was expected."
    save = "Save the weights with: torch.save(network.state_dict(), 'weights.pth')"
    if not isinstance(root, Mapping):
        return ExportError(f"{where}: holds a {type_name(root)}; a dict of tensors was expected.", save)
    arrays = [f"{key}" for key, value in _leaves(root, set()) if type_name(value).startswith("numpy.")]
    tensors = [(key, value) for key, value in root.items() if isinstance(value, Tensor)]
    optimizer = any(_OPTIMIZER.search(str(key)) for key in root) or {"param_groups", "state"} <= set(root)
    if optimizer and not tensors:
        return ExportError(f"{where}: holds an optimizer's state, and no weights of a network. {expected}", save)
    others = [f"{key} ({type_name(value)})" for key, value in root.items() if not isinstance(value, Tensor)]
    if arrays and not tensors:
        return ExportError(
            f"{where}: holds numpy arrays ({', '.join(arrays[:8])}), no tensors. {expected}", convert(path)
        )
    if others and tensors:
        found = f"{len(others)} entries that are no tensors: {', '.join(others[:8])}"
    elif tensors:
        found = f"{len(tensors)} tensors that are no weights under names"
    else:
        found = f"no tensors ({', '.join(others[:8])})" if others else "no tensors"
    return ExportError(f"{where}: holds {found}. {expected}", save)


def _leaves(node: Any, seen: set[int], depth: int = 0) -> Iterator[tuple[str, Any]]:
    for key, value in _children(node) if depth <= _MAX_DEPTH and not _again(node, seen) else ():
        if isinstance(value, Mapping | list | tuple):
            yield from _leaves(value, seen, depth + 1)
        else:
            yield str(key), value
