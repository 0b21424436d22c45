"""Networks of other packages: found by entry point, tried one by one, so that a broken one harms no other."""

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from mmcaf_engine.machine.plugins import PluginError, contained, origin

from .entry import NetworkEntry

GROUP = "mmcaf_export.networks"
"""The entry-point group under which a package names its NetworkEntry subclasses."""


@dataclass(frozen=True)
class Plugin:
    """A network and the distribution that it comes from, with its version."""

    origin: str
    entry: NetworkEntry[Any]


@dataclass(frozen=True)
class Faulty:
    """A distribution that names a network which cannot be used, and why."""

    origin: str
    reason: str


def installed() -> tuple[list[Plugin], list[Faulty]]:
    """The networks of all installed packages, by name of the package, and those that cannot be used."""
    found: list[Plugin] = []
    faulty: list[Faulty] = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: (origin(point), point.name)):
        try:
            with contained():
                found.append(Plugin(origin(point), _load(point)))
        except PluginError as fault:
            faulty.append(Faulty(origin(point), f"{point.value}: {fault}"))
    return found, faulty


def _load(point: EntryPoint) -> NetworkEntry[Any]:
    loaded = point.load()
    entry = loaded() if isinstance(loaded, type) else loaded
    if not isinstance(entry, NetworkEntry):
        raise TypeError(f"it makes {type(entry).__name__}; a subclass of {NetworkEntry.__name__} is expected")
    for attribute in ("name", "title", "signature"):
        if not getattr(entry, attribute, None):
            raise TypeError(f"its {attribute} is missing or empty")
    return entry
