"""A network's configuration as manifests have it."""

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any

LATER: Mapping[str, Any] = MappingProxyType({"later": True})
"""Metadata of a configuration's field that was added after bundles were written: a manifest has it only where it is not
its default, so that a network which does not use it is exported to the same bytes as before."""


def recorded(config: Any) -> dict[str, Any]:
    """A configuration's fields, by name.

    Args:
        config: a dataclass of plain values.
    """
    held = {one.name: (getattr(config, one.name), one) for one in fields(config)}
    return {name: value for name, (value, one) in held.items() if "later" not in one.metadata or value != one.default}
