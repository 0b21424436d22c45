"""The manifest's table of a MedFusionNet, from what its weights hold and what its file says of the columns."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from mmcaf_engine.manifest import CategoryField, Cut, FhirPatient, Impute, NumberField, Refuse

from .columns import Column
from .metadata import MetadataSelection

UNKNOWN_RANGE = -1e6, 1e6
"""Plausible range of a column that nothing is known of."""


@dataclass(frozen=True)
class _Fixed:
    """One selected column's constants."""

    index: int
    fill: float
    mean: float
    std: float
    threshold: float
    direction: float
    label: str | None = None


def table_of_selection(
    selection: MetadataSelection, columns: tuple[Column, ...], chosen_for: tuple[str, ...]
) -> dict[str, Any]:
    """The manifest's `table`, not yet validated: scaled values and thresholds of the selected columns.

    Args:
        selection: with the values that training fixed.
        columns: all that training recorded, in its order; those not selected may stand in a record and are ignored.
        chosen_for: the label that each selected column's threshold was chosen for, or ().

    Raises:
        ValueError: a column is selected that there is none of.
    """
    fixed = _fixed(selection, chosen_for)
    if worst := [one.index for one in fixed if not 0 <= one.index < len(columns)]:
        raise ValueError(
            f"metadata_selection.feature_index selects column {worst[0]}, counted from 0, of {len(columns)}; "
            "name all columns in the file's metadata entry columns"
        )
    ignored = [column.name for at, column in enumerate(columns) if at not in {one.index for one in fixed}]
    return {"fields": [_field(columns[one.index], one) for one in fixed], "ignored": ignored}


def table_of_raw_values(columns: tuple[Column, ...]) -> dict[str, Any]:
    """The manifest's `table` of the profile release: values as they are, none of which may be missing."""
    return {"fields": [_field(column, None) for column in columns], "ignored": []}


def unknown_column(number: int) -> Column:
    """A column that nothing is known of, counted from 0."""
    lowest, highest = UNKNOWN_RANGE
    return Column(f"column_{number}", f"Column {number} of the training table", minimum=lowest, maximum=highest)


def _fixed(selection: MetadataSelection, chosen_for: tuple[str, ...]) -> list[_Fixed]:
    held = {name: _numbers(values) for name, values in selection.named_buffers()}
    return [
        _Fixed(
            index=int(index),
            fill=held["fill_value"][at],
            mean=held["mean"][at],
            std=held["std"][at],
            threshold=held["threshold"][at],
            direction=held["direction"][at],
            label=chosen_for[at] if chosen_for else None,
        )
        for at, index in enumerate(held["feature_index"])
    ]


def _field(column: Column, fixed: _Fixed | None) -> dict[str, Any]:
    common: dict[str, Any] = {
        "name": column.name,
        "description": column.description,
        "dicom": column.dicom,
        "fhir": None if column.fhir is None else FhirPatient(element=column.fhir),
    }
    one = fixed or _Fixed(0, math.nan, 0.0, 1.0, 0.0, 1.0)
    if column.codes is not None:
        common["cut"] = _cut(one, one.mean) if fixed else None
        return _category(column, one, common)
    common["cut"] = _cut(one, 0.0) if fixed else None
    field = NumberField.model_construct(
        **common,
        unit=column.unit,
        units=dict(column.units),
        minimum=column.minimum,
        maximum=column.maximum,
        scaling="standardise",
        mean=one.mean,
        std=one.std,
        missing=Refuse() if math.isnan(one.fill) else Impute(value=one.fill),
    )
    return field.model_dump(mode="json")


def _category(column: Column, one: _Fixed, common: dict[str, Any]) -> dict[str, Any]:
    """The feature is (code - mean) / std; where the value to fill in is none of the codes, the record must have it."""
    codes = column.codes or {}
    filled = [name for name, code in codes.items() if math.isclose(code, one.fill, abs_tol=1e-6)]
    field = CategoryField.model_construct(
        **common,
        categories={name: code - one.mean for name, code in codes.items()},
        synonyms=dict(column.synonyms),
        divisor=one.std,
        missing=Impute(value=filled[0]) if filled else Refuse(),
    )
    return field.model_dump(mode="json")


def _cut(one: _Fixed, offset: float) -> Cut:
    """t = direction * (x - threshold) >= 0, of values that `offset` is taken from."""
    direction: Literal["above", "below"] = "above" if one.direction > 0 else "below"
    return Cut.model_construct(value=one.threshold - offset, direction=direction, label=one.label)


def _numbers(values: Tensor) -> list[float]:
    """As the shortest decimal numbers that are the same in the type they are stored in."""
    return [float(str(value)) for value in values.numpy()] if values.is_floating_point() else values.tolist()
