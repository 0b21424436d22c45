"""Which output decisions a manifest may name: those of the format, and those that something here provides.

The decisions themselves stand far above the manifest (`result.decisions`); here are only their names.
"""

from importlib.metadata import EntryPoint, entry_points
from typing import Annotated

from pydantic import Field

GROUP = "mmcaf.decisions"
"""The entry-point group under which a package provides an output decision, by the name that manifests give it."""

OF_THE_FORMAT = ("sigmoid", "softmax", "independent")
"""Those whose labels, thresholds and score `consistency` checks."""

STANDARD_NAMES = {"binary": "sigmoid", "multiclass": "softmax", "multilabel": "independent"}
"""What machine learning calls them; version 2 reads these names as well."""

Activation = Annotated[
    str,
    Field(
        pattern=r"^[a-z][a-z0-9_.-]*$",
        max_length=60,
        description="sigmoid, or binary: one logit, which scores label 1 of two; softmax, or multiclass: a logit for "
        "each label, of which one holds; independent, or multilabel: a logit for each label, of which any may hold. "
        "Any other name is that of an output decision of another package.",
    ),
]

_ANNOUNCED: set[str] = set()


def announce(name: str) -> None:
    """This process provides an output decision of that name."""
    _ANNOUNCED.add(name)


def withdraw(name: str) -> None:
    """It does no more."""
    _ANNOUNCED.discard(name)


def entry_points_of(name: str) -> list[EntryPoint]:
    """What installed packages provide under a name; nothing is imported."""
    return list(entry_points(group=GROUP, name=name))


def provided(name: str) -> bool:
    """Whether a manifest that names it can be answered here, as far as that is told without importing anything."""
    return name in OF_THE_FORMAT or name in _ANNOUNCED or bool(entry_points_of(name))
