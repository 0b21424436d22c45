"""What a caller in Python hands over, held against the types that its function names, before any work."""

import re
from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, get_origin

from .errors import MmcafError, UsageError

if TYPE_CHECKING:
    from pydantic import TypeAdapter


_LEVELS = 16
"""Of dictionaries and lists in each other; more than FHIR has."""


def checked(
    given: Mapping[str, Any], types: Mapping[str, Any], *, error: type[MmcafError] = UsageError, where: str = ""
) -> dict[str, Any]:
    """Values by name, numpy's scalars as Python's, and lists as tuples where those are named.

    Args:
        types: name -> annotation; more than are given may be named.
        where: what messages say before a name.

    Raises:
        error: a value is of another type, NaN or infinite.
    """
    values = {}
    for name, value in given.items():
        annotation = types[name]
        plain = plain_scalars(value)
        plain = tuple(plain) if isinstance(plain, list) and get_origin(annotation) is tuple else plain
        if (found := _fault(plain, annotation)) is not None:
            raise error(f"{where}{name}: expected {in_words(annotation)}, got {found}.")
        values[name] = plain
    return values


def expect(name: str, value: object, kinds: tuple[type, ...], *remedies: str) -> None:
    """Refuse what is no instance of any of these classes.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(value, kinds):
        wanted = " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)
        raise UsageError(f"{name}: expected {wanted}, got {type(value).__name__}.", *remedies)


def plain_scalars(value: Any, levels: int = _LEVELS) -> Any:
    """The same with numpy's scalars as Python's, also within dictionaries and lists, to so many levels."""
    if isinstance(value, dict) and levels:
        return {key: plain_scalars(item, levels - 1) for key, item in value.items()}
    if isinstance(value, list) and levels:
        return [plain_scalars(item, levels - 1) for item in value]
    # By its module, so that whatever has no numpy need not import it.
    return value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") and not value.shape else value


def in_words(annotation: Any) -> str:
    """An annotation without the modules that its names come from."""
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return re.sub(r"\b(?:[A-Za-z_]\w*\.)+", "", text)


def _fault(value: object, annotation: Any) -> str | None:
    """What a value is instead, by pydantic and strictly; of a dataclass, that it is one is all that is asked."""
    from pydantic import ValidationError

    found = type(value).__name__
    if is_dataclass(annotation):
        return None if isinstance(annotation, type) and isinstance(value, annotation) else found
    try:
        _adapter(annotation).validate_python(value)
    except ValidationError as failure:
        kinds = {one["type"] for one in failure.errors(include_url=False, include_input=False)}
        return "a value that is not finite" if "finite_number" in kinds else found
    return None


@cache
def _adapter(annotation: Any) -> "TypeAdapter[Any]":
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(annotation, config=ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False))
