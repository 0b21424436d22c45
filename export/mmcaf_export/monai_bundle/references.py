"""A MONAI configuration's values as data: references to other entries are followed, expressions are never evaluated."""

from collections.abc import Mapping
from typing import Any

from mmcaf_engine.errors import ExportError, printable

_DEEPEST = 32


class Expression(str):
    """A value that MONAI would evaluate as Python, `$...`, or take from another file, `%...`; here it stays a text."""


class References:
    """The entries of one document, by the ids that MONAI gives them: `network_def`, `preprocessing::transforms::0`."""

    def __init__(self, document: Mapping[str, Any], name: str) -> None:
        self._document = document
        self._name = name

    def __contains__(self, key: str) -> bool:
        return key in self._document

    def get(self, key: str) -> Any:
        """An entry with all references within it followed; None where there is no such.

        Raises:
            ExportError: a reference that leads nowhere, in a circle, or deeper than any bundle needs.
        """
        return self._resolved(self._document.get(key), ())

    def _resolved(self, value: Any, via: tuple[str, ...]) -> Any:
        if len(via) > _DEEPEST:
            raise ExportError(f"{self._name}: references of more than {_DEEPEST} steps: {via[0]}, {via[1]}, ...")
        if isinstance(value, dict):
            return {key: self._resolved(one, via) for key, one in value.items()}
        if isinstance(value, list):
            return [self._resolved(one, via) for one in value]
        if not isinstance(value, str):
            return value
        if value.startswith(("$", "%")):
            return Expression(value)
        if not value.startswith("@"):
            return value
        if value in via:
            raise ExportError(f"{self._name}: the reference {printable(value)} leads back to itself.")
        return self._resolved(self._at(value), (*via, value))

    def _at(self, reference: str) -> Any:
        place: Any = self._document
        for part in reference[1:].replace("::", "#").split("#"):
            if isinstance(place, dict) and part in place:
                place = place[part]
            elif isinstance(place, list) and part.isascii() and part.isdigit() and int(part) < len(place):
                place = place[int(part)]
            else:
                raise ExportError(f"{self._name}: the reference {printable(reference)} leads nowhere.")
        return place


def plain(value: Any) -> bool:
    """Whether it holds nothing that MONAI would evaluate or make an object of."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and not key.startswith("_") and plain(one) for key, one in value.items())
    if isinstance(value, list):
        return all(map(plain, value))
    return not isinstance(value, Expression) and (value is None or isinstance(value, bool | int | float | str))


def shown(value: Any) -> str:
    """A value as messages quote it."""
    return printable(str(value), 120)
