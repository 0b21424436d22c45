"""Which repairs an export makes: those that the checkpoint needs, and only where they were asked for by name."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from mmcaf_engine.errors import ExportError, Remedy

from .networks.entry import NetworkEntry
from .networks.repair import Repair

SETTING = "repair"
"""The setting that asks for them: names, separated by commas."""


def chosen_repairs(entry: NetworkEntry[Any], state: Mapping[str, Tensor], asked: str | None) -> tuple[Repair, ...]:
    """The repairs to make, in the order in which the network declares them.

    Args:
        state: the checkpoint's tensors under the names that they are stored by.
        asked: the value of the setting; None where it was not given.

    Raises:
        ExportError: one is asked for that the network does not declare or the checkpoint does not need, or one that it
            needs is not asked for.
    """
    known = {repair.name: repair for repair in entry.repairs}
    names = [] if asked is None else [name.strip() for name in asked.split(",")]
    for name in names:
        if name not in known:
            told = "; ".join(map(str, known.values()))
            raise ExportError(
                f"{entry.title} has no repair {name!r}; {f'known: {told}' if told else 'it has none'}.",
                Remedy("Correct it, or leave it out", option="set"),
            )
    needed = entry.needed_repairs(state)
    if undeclared := [name for name in needed if name not in known]:
        raise TypeError(f"its needed_repairs names {', '.join(undeclared)}, which its repairs do not declare")
    if idle := [name for name in names if name not in needed]:
        raise ExportError(
            f"{entry.title}: this checkpoint does not need the repair {', '.join(idle)}; it is exported as it is.",
            Remedy("Leave it out", option="set"),
        )
    if lacking := [known[name] for name in known if name in needed and name not in names]:
        raise ExportError(
            f"{entry.title}: not exported as published, since {'; and '.join(one.fault for one in lacking)}. With the "
            f"repair {', '.join(one.name for one in lacking)} {'; '.join(one.change for one in lacking)}; the bundle, "
            "and every answer of it, then says so.",
            Remedy(
                "If the network was trained with that change, ask for it",
                option="set",
                value=f"{SETTING}={','.join(name for name in known if name in needed)}",
            ),
        )
    return tuple(repair for name, repair in known.items() if name in names)


def in_provenance(repairs: Sequence[Repair]) -> dict[str, Any]:
    """As entries of the manifest's provenance; nothing without any."""
    entries = [{"name": repair.name, "description": repair.change} for repair in repairs]
    return {"repairs": entries} if entries else {}


def notes(repairs: Sequence[Repair]) -> tuple[str, ...]:
    """For the export's report."""
    return tuple(f"repaired as asked for, which provenance says: {repair}" for repair in repairs)
