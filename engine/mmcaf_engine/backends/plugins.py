"""Backends of other packages: found by entry point, checked one by one, so that a broken one harms no other."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from ..errors import printable
from ..machine.plugins import PluginError, contained, guard, origin
from .base import Backend
from .runtime import called

GROUP = "mmcaf.backends"
"""The entry-point group under which a package names its backends: name -> class."""

RESERVED = ("auto", "all")
"""What people write in a backend's place."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,40}")


@dataclass(frozen=True)
class BrokenPlugin:
    """A backend that another package adds and that cannot be used: its name, the package with version, and why."""

    name: str
    origin: str
    reason: str


def installed(taken: Collection[str]) -> tuple[dict[str, type[Backend]], tuple[BrokenPlugin, ...]]:
    """The backends of all other packages by name, and those that cannot be used; of two with one name, neither can.

    Args:
        taken: names of this package's backends.
    """
    points = sorted(entry_points(group=GROUP), key=lambda point: (point.name, origin(point)))
    added: dict[str, type[Backend]] = {}
    broken: list[BrokenPlugin] = []
    for point in points:
        others = [origin(other) for other in points if other.name == point.name and other is not point]
        try:
            with contained():
                if point.name in taken or point.name in RESERVED:
                    raise ValueError(f"the name {point.name!r} is taken")
                if others:
                    raise ValueError(f"the name {point.name!r} is also used by {', '.join(others)}")
                added[point.name] = _load(point)
        except PluginError as fault:
            broken.append(BrokenPlugin(printable(point.name), origin(point), f"{printable(point.value)}: {fault}"))
    return added, tuple(broken)


def _load(point: EntryPoint) -> type[Backend]:
    kind = point.load()
    if not (isinstance(kind, type) and issubclass(kind, Backend)):
        raise TypeError(f"expected a subclass of Backend, got {kind!r}")
    if kind.name != point.name or not _NAME.fullmatch(point.name):
        raise ValueError(
            f"expected one name of lower-case letters, digits and - _ . for both, got {point.name!r} for the entry "
            f"point and {kind.name!r} for the class"
        )
    kind.origin = origin(point)
    guard(kind, Backend, called(kind.name, kind.origin))
    return kind
