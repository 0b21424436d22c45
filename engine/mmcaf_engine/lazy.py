"""Public names of a package that are imported on first use, so that importing the package stays cheap."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any


def imported(package: str, homes: Mapping[str, str], name: str) -> Any:
    """What a package's `__getattr__` gives for `name`, whose module `homes` says.

    Raises:
        AttributeError: the package has no such name.
        ImportError: what went wrong below, also where it was an AttributeError: Python takes one for a missing name
            and would only say that it "cannot import" it.
    """
    if name not in homes:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f".{homes[name]}", package), name)
    except AttributeError as failure:
        raise ImportError(f"{package}.{name} could not be imported: {failure}", name=package) from failure
