"""One field of a record: from how it was written to the value, and the number that the network sees."""

import math
import sys
from functools import lru_cache
from typing import Any

from ..manifest import CategoryField, NumberField, TableField
from .codings.tables import spellings

PATIENT_ID_KEY = "patient_id"


class UnusableValueError(Exception):
    """One field's value cannot be used; the text is the reason. discreet: the same without the value."""

    def __init__(self, reason: str, discreet: str | None = None) -> None:
        super().__init__(reason)
        self.discreet = reason if discreet is None else discreet


def encode(entry: TableField, raw: Any) -> tuple[float | str, float, float]:
    """The value in the record's own terms, its feature, and the number that a cut is compared with.

    Raises:
        UnusableValueError: no category or number of this field.
    """
    if isinstance(entry, CategoryField):
        category = find_category(entry, raw)
        if category is None:
            known = f"is not known ({_accepted(entry)})"
            raise UnusableValueError(f"{str(raw)[:40]!r} {known}", f"what came {known}")
        own = entry.categories[category]
        return category, own / entry.divisor, own
    number = _number(entry, raw)
    return number, entry.feature(number), number


def find_category(entry: CategoryField, raw: Any) -> str | None:
    """The category that this spells, as itself or as a synonym; None where none.

    Raises:
        UnusableValueError: neither a string nor a whole number.
    """
    if isinstance(raw, bool) or not isinstance(raw, str | int):
        raise UnusableValueError(f"a {json_type(raw)} came, a category was expected ({_accepted(entry)})")
    return _spellings(tuple(entry.categories), tuple(entry.synonyms.items())).get(fold(str(raw)))


@lru_cache(maxsize=64)
def _spellings(categories: tuple[str, ...], synonyms: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Folded spelling -> category; of those that fold to one, a category before a synonym, and the first of each."""
    found: dict[str, str] = {}
    for spelling, category in (*((one, one) for one in categories), *synonyms):
        found.setdefault(fold(spelling), category)
    return found


def _accepted(entry: CategoryField) -> str:
    return f"accepted: {', '.join(entry.categories)}"


def _number(entry: NumberField, raw: Any) -> float:
    expected = f"a number in {entry.unit} from {entry.minimum:g} to {entry.maximum:g} was expected"
    if isinstance(raw, dict) and set(raw) == {"value", "unit"}:
        number = _finite(raw["value"], expected)
        factor = unit_factor(entry, raw["unit"])
        if factor is None:
            accepted = ", ".join([entry.unit, *entry.units])
            known = f"is not known (accepted: {accepted})"
            raise UnusableValueError(f"the unit {str(raw['unit'])[:20]!r} {known}", f"the unit {known}")
        return _in_range(number * factor, entry, expected)
    return _in_range(_finite(raw, expected), entry, expected)


def unit_factor(entry: NumberField, unit: Any) -> float | None:
    """How many of the field's own unit it is; None where the manifest does not know it, however it is spelled."""
    if not isinstance(unit, str):
        return None
    same = {fold(spelling) for spelling in spellings(fold(unit))} | {fold(unit)}
    for known, factor in {entry.unit: 1.0, **entry.units}.items():
        if fold(known) in same:
            return factor
    return None


def _finite(raw: Any, expected: str) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise UnusableValueError(f"a {json_type(raw)} came, {expected}")
    try:
        number = float(raw)
    except OverflowError:
        raise UnusableValueError(f"a number of more than {sys.float_info.max_10_exp} digits came, {expected}") from None
    if not math.isfinite(number):
        raise UnusableValueError(f"{number} came, {expected}", expected)
    return number


def _in_range(number: float, entry: NumberField, expected: str) -> float:
    if not entry.minimum <= number <= entry.maximum:
        raise UnusableValueError(f"{number:g} {entry.unit} came, {expected}", expected)
    return number


def field_key(text: str) -> str:
    """As `fold`, the name of a key of a record or of a column: PatientID, as DICOM spells it, is patient_id."""
    folded = fold(text)
    return PATIENT_ID_KEY if folded == "patientid" else folded


def fold(text: str) -> str:
    """A key, category or unit without what does not matter: letter case, blanks, - and _."""
    return text.strip().casefold().replace(" ", "_").replace("-", "_")


def json_type(value: Any) -> str:
    """What JSON calls it."""
    names = {str: "string", bool: "true/false value", dict: "nested object", list: "list", type(None): "null"}
    return names.get(type(value), "number" if isinstance(value, int | float) else type(value).__name__)
