"""The checkpoints of an export: one, or the members of an ensemble, which must be of one network throughout."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmcaf_engine.errors import ExportError
from mmcaf_engine.manifest import FEWEST_MEMBERS, MOST_MEMBERS, WeightsEntry

from .checkpoint import Checkpoint
from .checkpoint.shards import joint_sha256 as joint_sha256_of_files
from .networks.ensemble import Ensemble, EnsembleEntry
from .networks.entry import NetworkEntry
from .networks.registry import Networks
from .networks.repair import Repair
from .repairs import chosen_repairs
from .settings import apply_settings, arranged, with_absent_fields

_ALONE = "Name different checkpoints of one network with one configuration, or export them one by one."
_SHOWN = 4
"""Differences that a message names."""


def read_all(paths: Sequence[Path], read: Callable[[Path], Checkpoint]) -> tuple[Checkpoint, ...]:
    """The checkpoints, no two of which are one file.

    Raises:
        ExportError: none or too many are named, one of them twice, or what `read` refuses.
    """
    if not 1 <= len(paths) <= MOST_MEMBERS:
        raise ExportError(
            f"{len(paths)} checkpoints were named; a bundle is of one, or an ensemble of {FEWEST_MEMBERS} to "
            f"{MOST_MEMBERS}.",
            "Name fewer." if paths else "Name one.",
        )
    found: dict[str, Checkpoint] = {}
    for path in paths:
        checkpoint = read(path)
        if (other := found.get(checkpoint.sha256)) is not None:
            raise ExportError(
                f"{path}: the same file as {other.path}, by its SHA-256, {checkpoint.sha256[:16]}: members that are "
                "one network agree about everything.",
                _ALONE,
            )
        found[checkpoint.sha256] = checkpoint
    return tuple(found.values())


def recognised(
    networks: Networks, checkpoints: Sequence[Checkpoint], network: str | None, repair: str | None
) -> tuple[str, Any, tuple[Repair, ...]]:
    """The network that all of the checkpoints hold, its configuration, and the repairs to make.

    Args:
        network: its name, if it is not to be recognised. repair: the setting that asks for repairs.

    Raises:
        ExportError: one holds none, another than the first, or what `chosen_repairs` refuses.
    """
    names = []
    for one in checkpoints:
        with _of(one, checkpoints):
            names.append(networks.identify(one.state, one.metadata, network))
    _check_alike(checkpoints, "what it holds", [{"network": name} for name in names])
    name, entry = names[0], networks.entry(names[0])
    repairs, configs = [], []
    for one in checkpoints:
        with _of(one, checkpoints):
            with networks.blamed(name):
                repairs.append(chosen_repairs(entry, one.state, repair))
            configs.append(networks.configure(name, one.state, one.metadata))
    _check_alike(checkpoints, "its configuration", [dataclasses.asdict(config) for config in configs])
    return name, configs[0], repairs[0]


@contextmanager
def _of(checkpoint: Checkpoint, checkpoints: Sequence[Checkpoint]) -> Iterator[None]:
    """Have what is said of a checkpoint name it, where there are several."""
    try:
        yield
    except ExportError as failure:
        if len(checkpoints) == 1 or str(checkpoint.path) in failure.problem:
            raise
        raise ExportError(f"{checkpoint.path}: {failure.problem}", *failure.remedies) from failure.__cause__


def described_alike(
    entry: NetworkEntry[Any],
    config: Any,
    checkpoints: Sequence[Checkpoint],
    network: nn.Module,
    settings: Mapping[str, str],
) -> dict[str, Any]:
    """What the entry says of the network, with the settings in it; of an ensemble also `ensemble`, without members.

    Raises:
        ExportError: a setting leads nowhere, a file's metadata cannot be, or a member says something else than the
            first.
    """
    several = isinstance(entry, EnsembleEntry)
    member = entry.member if isinstance(entry, EnsembleEntry) else entry
    networks = network.members if isinstance(network, Ensemble) else [network]
    found = []
    for checkpoint, one in zip(checkpoints, networks, strict=True):
        try:
            described = with_absent_fields(member.describe(config, one, checkpoint.metadata))
        except ValueError as failure:
            raise ExportError(f"{checkpoint.path}: {failure}.", "Correct the file's metadata.") from None
        described = apply_settings(described | ({"ensemble": {"spread_bound": None}} if several else {}), settings)
        found.append(arranged(described, settings))
    _check_alike(checkpoints, "what it says of itself", found)
    return found[0]


def _check_alike(checkpoints: Sequence[Checkpoint], what: str, found: Sequence[Mapping[str, Any]]) -> None:
    """All members say the same of themselves.

    Args:
        what: that is compared, in the message. found: of each checkpoint, plain values by name, also nested.

    Raises:
        ExportError: one says something else than the first; the message names the first few differences.
    """
    first = dict(_leaves(found[0]))
    for checkpoint, document in zip(checkpoints[1:], found[1:], strict=True):
        own = dict(_leaves(document))
        differing = [path for path in {**first, **own} if first.get(path, _NOTHING) != own.get(path, _NOTHING)]
        if differing:
            told = [f"{path} is {_shown(own, path)}, not {_shown(first, path)}" for path in differing[:_SHOWN]]
            told += [f"and {len(differing) - _SHOWN} more"] if len(differing) > _SHOWN else []
            raise ExportError(
                f"{checkpoint.path}: {what} differs from that of {checkpoints[0].path}: {'; '.join(told)}.", _ALONE
            )


def check_different(checkpoints: Sequence[Checkpoint], states: Sequence[Mapping[str, Tensor]]) -> None:
    """No two members have the same weights, in whatever files.

    Raises:
        ExportError: two have.
    """
    members = list(zip(checkpoints, states, strict=True))
    for (first, one), (second, other) in itertools.combinations(members, 2):
        if all(torch.equal(tensor, other[name]) for name, tensor in one.items()):
            raise ExportError(
                f"{second.path}: holds the same weights as {first.path}: members that are one network agree about "
                "everything.",
                _ALONE,
            )


def members_in_manifest(
    checkpoints: Sequence[Checkpoint], weights: Sequence[WeightsEntry | None]
) -> list[dict[str, Any]]:
    """As `ensemble.members` of the manifest has them."""
    return [
        {"checkpoint_sha256": one.sha256, "checkpoint_format": one.kind}
        | ({"weights": entry.model_dump(mode="json")} if entry else {})
        for one, entry in zip(checkpoints, weights, strict=True)
    ]


def joint_sha256(checkpoints: Sequence[Checkpoint]) -> str:
    """Of one checkpoint its own; of several that of their SHA-256 in hexadecimal, each on a line that ends."""
    if len(checkpoints) == 1:
        return checkpoints[0].sha256
    return joint_sha256_of_files(one.sha256 for one in checkpoints)


_NOTHING = object()


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is no mapping and no list of mappings, by its dotted path."""
    if isinstance(value, Mapping) and value:
        for name, part in value.items():
            yield from _leaves(part, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple) and value and all(isinstance(part, Mapping) for part in value):
        for at, part in enumerate(value):
            yield from _leaves(part, f"{path}.{part.get('name', at)}")
    else:
        yield path, list(value) if isinstance(value, tuple) else value


def _shown(leaves: Mapping[str, Any], path: str) -> str:
    return f"{leaves[path]!r:.80}" if path in leaves else "absent"
