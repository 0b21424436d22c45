"""The networks the exporter knows, and how it tells which one a checkpoint holds."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmcaf_engine.errors import ExportError

from .entry import NetworkEntry
from .mmcaf_entry import MmcafEntry

_ENTRIES: dict[str, NetworkEntry[Any]] = {entry.name: entry for entry in (MmcafEntry(),)}
NETWORKS = tuple(_ENTRIES)


def network_entry(name: str) -> NetworkEntry[Any]:
    """The network of this name.

    Raises:
        ExportError: there is none.
    """
    if name not in _ENTRIES:
        raise ExportError(f"No network is called {name!r}.", f"Known networks: {', '.join(NETWORKS)}.")
    return _ENTRIES[name]


def recognise(state: Mapping[str, Tensor], metadata: Mapping[str, str], network: str | None = None) -> tuple[str, Any]:
    """Tell which network a checkpoint holds and how it is configured.

    Args:
        state: clean parameter names -> tensors; only names and shapes are looked at.
        metadata: what the file says of itself: network, slices, size.
        network: insist on this one instead of looking.

    Returns:
        The network's name and its configuration, of the type that its entry builds from.

    Raises:
        ExportError: no known network, not the one asked for, or no possible configuration.
    """
    wanted = network or metadata.get("network")
    candidates = [network_entry(wanted)] if wanted else list(_ENTRIES.values())
    lacking: list[str] = []
    for entry in candidates:
        missing = [key for key in entry.signature if key not in state]
        if missing:
            lacking.append(f"{entry.name} ({entry.title}), whose {', '.join(missing)} it lacks")
            continue
        try:
            return entry.name, entry.configure(state, metadata)
        except ValueError as failure:
            raise ExportError(
                f"The checkpoint looks like {entry.title} but cannot be one: {failure}.",
                "Check that it was trained with the published network.",
            ) from None
    keys = ", ".join(sorted(state)[:3])
    raise ExportError(
        f"The checkpoint's {len(state)} tensors ({keys}, ...) are not {'; nor '.join(lacking)}.",
        "Export a checkpoint of one of these networks, or register yours in mmcaf_export.networks.registry.",
    )
