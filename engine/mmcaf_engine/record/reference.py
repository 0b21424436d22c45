"""The value of a field that says nothing in particular, and a record that has it: what the answer is compared with."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from ..manifest import CategoryField, Impute, NumberField, TableField, TableSpec
from .encode import encode
from .record import Record

ReferenceKind = Literal["imputed", "mean", "middle", "first"]


@dataclass(frozen=True)
class Reference:
    """A field's reference, in the record's own terms.

    kind: imputed, what a record without the field gets; mean, of the standardisation; middle, of the scaling's ends;
    first, of the categories, which are told in order.
    """

    value: float | str
    kind: ReferenceKind


def reference_of(entry: TableField) -> Reference:
    """The reference of a field, by what its manifest holds; of numbers, within the plausible range."""
    if isinstance(entry.missing, Impute):
        return Reference(entry.missing.value, "imputed")
    if isinstance(entry, CategoryField):
        return Reference(next(iter(entry.categories)), "first")
    if entry.mean is not None:
        return Reference(_plausible(entry.mean, entry), "mean")
    ends = [end for end in (entry.lower, entry.upper) if end is not None]
    return Reference(_plausible(sum(ends) / len(ends), entry), "middle")


def _plausible(value: float, entry: NumberField) -> float:
    return min(max(value, entry.minimum), entry.maximum)


def with_references(record: Record, table: TableSpec) -> Iterator[tuple[TableField, Reference, Record]]:
    """The record once for each field, in the table's order: with its reference in the place of what it says."""
    for entry in table.fields:
        reference = reference_of(entry)
        value, feature, own = encode(entry, reference.value)
        cuts = {} if entry.cut is None else {entry.cut.condition(entry.name): entry.cut.indicator(own)}
        changed = replace(
            record,
            values=record.values | {entry.name: value},
            features=record.features | {entry.name: feature},
            cuts=record.cuts | cuts,
        )
        yield entry, reference, changed
