"""Whether a value is of the type that a signature declares: of what another package's code gives back."""

import json
import types
import unicodedata
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from math import isfinite
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np


class UndeclaredTypeError(TypeError):
    """A value is not of the declared type; its message holds types and names of ours, never the value's text."""


@dataclass(frozen=True)
class Limit:
    """What must hold of a value besides its type; stands in `Annotated`.

    words: after "expected". holds: whether it does.
    """

    words: str
    holds: Callable[[Any], bool]


def _fits_json(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


Positive = Annotated[int, Limit("a number of at least 1", lambda number: number >= 1)]
JsonObject = Annotated[dict[str, Any], Limit("what JSON can hold", _fits_json)]


def expect(value: object, declared: Any, at: str = "") -> None:
    """Refuse a value of another type than the declared one, or with a part of another type.

    Numbers must be finite, and texts free of control characters, since they end up in answers and messages. An array
    is looked at as to its kind alone, and a type that says nothing of values, such as a variable, holds for all.

    Args:
        at: where in the whole it lies, for the message.

    Raises:
        UndeclaredTypeError: expected this, got that; the value itself is not shown.
    """
    origin, arguments = get_origin(declared), get_args(declared)
    if declared is Any or isinstance(declared, TypeVar | str):
        return
    if origin is ClassVar:
        expect(value, arguments[0], at)
    elif origin is Annotated:
        expect(value, arguments[0], at)
        for limit in arguments[1:]:
            if isinstance(limit, Limit) and not limit.holds(value):
                raise _unexpected(limit.words, value, at, shown=isinstance(value, int))
    elif origin in (Union, types.UnionType):
        _expect_one_of(value, arguments, at)
    elif origin is Literal:
        if value not in arguments:
            raise _unexpected(" or ".join(map(repr, arguments)), value, at)
    elif origin is type:
        if not (isinstance(value, type) and issubclass(value, arguments[0])):
            raise _unexpected(f"a subclass of {arguments[0].__name__}", value, at)
    elif origin is np.ndarray:
        _expect_array(value, arguments[1], at)
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        _expect_class(value, origin, at)
        for key, entry in value.items() if isinstance(value, Mapping) else ():
            expect(key, arguments[0], f"{at} key")
            expect(entry, arguments[1], f"{at}[{key!r}]")
    elif isinstance(origin, type) and issubclass(origin, Collection):
        _expect_class(value, origin, at)
        _expect_entries(value, origin, arguments, at)
    elif origin is None and (declared is None or isinstance(declared, type)):
        _expect_plain(value, declared or type(None), at)


def _expect_one_of(value: object, alternatives: tuple[Any, ...], at: str) -> None:
    """The failure of the alternative that is of the value's own class is the one that tells most."""
    failures = []
    for alternative in alternatives:
        try:
            expect(value, alternative, at)
        except UndeclaredTypeError as failure:
            failures.append((alternative, failure))
        else:
            return
    for alternative, reason in failures:
        if isinstance(alternative, type) and isinstance(value, alternative):
            raise reason
    raise _unexpected(" or ".join(_name(alternative) for alternative in alternatives), value, at)


def _expect_array(value: object, declared: Any, at: str) -> None:
    kind = (get_args(declared) or (Any,))[0]
    wanted = None if kind is Any or isinstance(kind, TypeVar) else np.dtype(kind)
    if not isinstance(value, np.ndarray) or (wanted is not None and value.dtype.kind != wanted.kind):
        got = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
        raise UndeclaredTypeError(
            f"{at and f'{at}: '}expected an array{'' if wanted is None else f' of {wanted}'}, got {got}"
        )


def _expect_entries(value: Any, origin: type, arguments: tuple[Any, ...], at: str) -> None:
    several = origin is tuple and arguments[-1] is not ...
    if several and len(value) != len(arguments):
        raise UndeclaredTypeError(f"{at and f'{at}: '}expected {len(arguments)} values, got {len(value)}")
    for index, entry in enumerate(value):
        expect(entry, arguments[index if several else 0], f"{at}[{index}]")


def _expect_class(value: object, kind: type, at: str) -> None:
    if not isinstance(value, kind) or (isinstance(value, str) and kind is not str):
        raise _unexpected(kind.__name__, value, at)


def _expect_plain(value: object, kind: type, at: str) -> None:
    wanted = (int, float) if kind is float else kind
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind in (int, float)):
        raise _unexpected(kind.__name__, value, at)
    if kind is float and isinstance(value, float) and not isfinite(value):
        raise _unexpected("a finite number", value, at, shown=True)
    if isinstance(value, str) and any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
        raise UndeclaredTypeError(f"{at and f'{at}: '}expected text without control characters")
    if is_dataclass(kind):
        hints = _field_hints(kind)
        for field in fields(kind):
            expect(getattr(value, field.name), hints[field.name], f"{at and f'{at}.'}{field.name}")


@cache
def _field_hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _unexpected(expected: str, value: object, at: str, *, shown: bool = False) -> UndeclaredTypeError:
    article = "" if not expected[:1].isupper() else "an " if expected[0] in "AEIOU" else "a "
    got = f"{value}" if shown else type(value).__name__
    return UndeclaredTypeError(f"{at and f'{at}: '}expected {article}{expected}, got {got}")


def _name(declared: Any) -> str:
    return declared.__name__ if isinstance(declared, type) and not get_args(declared) else str(declared)
