"""The record's table with cuts, standardised features and ignored fields."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from mmcaf_engine.errors import RecordError
from mmcaf_engine.manifest import TableSpec
from mmcaf_engine.record.record import read_record
from mmcaf_engine.record.template import record_schema, record_template
from refusals import refused

AGE: dict[str, Any] = {
    "kind": "number",
    "name": "age",
    "description": "Age",
    "unit": "years",
    "minimum": 0,
    "maximum": 120,
    "scaling": "standardise",
    "mean": 46.5,
    "std": 16.25,
    "cut": {"value": 50, "direction": "above", "label": "Effusion"},
}
HEIGHT: dict[str, Any] = {
    "kind": "number",
    "name": "height",
    "description": "Height",
    "unit": "m",
    "units": {"cm": 0.01},
    "minimum": 0.3,
    "maximum": 2.5,
    "lower": 1,
    "upper": 2,
    "cut": {"value": 1.6, "direction": "below"},
    "missing": {"policy": "impute", "value": 1.6},
}
SEX: dict[str, Any] = {
    "kind": "category",
    "name": "sex",
    "description": "Sex",
    "categories": {"M": 10, "F": 20},
    "divisor": 10,
}
VIEW: dict[str, Any] = {
    **SEX,
    "name": "view",
    "categories": {"AP": 1, "PA": 3},
    "cut": {"value": 3, "direction": "above"},
}
SPEC = TableSpec.model_validate({"fields": [AGE, SEX, HEIGHT, VIEW], "ignored": ["Patient Name", "bmi"]})
GOOD = {"age": 63, "sex": "M", "height": 1.7, "view": "PA"}


def test_columns_are_the_fields_and_then_the_cuts() -> None:
    assert SPEC.width == 7 and [field.name for field in SPEC.cuts] == ["age", "height", "view"]
    table = read_record(GOOD, SPEC).table()
    assert table.dtype == np.float32 and table.shape == (1, 7)
    np.testing.assert_allclose(table[0], [(63 - 46.5) / 16.25, 1, 0.7, 0.3, 1, 0, 1], rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "cuts"),
    [
        ({"age": 50}, (1, 0, 1)),
        ({"age": 49.999}, (0, 0, 1)),
        ({"height": 1.6}, (1, 1, 1)),
        ({"height": 1.601}, (1, 0, 1)),
        ({"height": {"value": 159, "unit": "cm"}}, (1, 1, 1)),
        ({"height": None}, (1, 1, 1)),
        ({"view": "ap"}, (1, 0, 0)),
    ],
    ids=["at-above", "below-above", "at-below", "above-below", "other-unit", "imputed", "category"],
)
def test_a_cut_counts_its_own_value_in_the_fields_unit(changes: dict[str, Any], cuts: tuple[int, ...]) -> None:
    record = read_record({**GOOD, **changes}, SPEC)
    assert tuple(record.cuts.values()) == cuts
    assert list(record.cuts) == ["age >= 50", "height <= 1.6", "view >= 3"]
    np.testing.assert_array_equal(record.table()[0, 4:], cuts)


def test_fields_that_are_ignored_are_not_remarked_on_and_unknown_ones_are() -> None:
    record = read_record({**GOOD, "patient-name": "x", "BMI": None, "ward": 3}, SPEC)
    assert record.warnings == ("the record's 'ward' mean nothing to this network; ignored.",)
    assert list(record.features) == ["age", "sex", "height", "view"]


@pytest.mark.parametrize(
    ("value", "came"), [(float("nan"), "nan"), (float("inf"), "inf"), ("63", "string"), (True, "true/false")], ids=str
)
def test_what_is_no_number_is_refused(value: Any, came: str) -> None:
    with refused(RecordError, "age", came, "years", 0, 120):
        read_record({**GOOD, "age": value}, SPEC)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({**AGE, "lower": 20}, "standardise.* mean .*std.* lower .*upper"),
        ({**AGE, "std": None}, "standardise.* mean .*std"),
        ({**AGE, "std": 0}, "std\n.* 0 "),
        ({**AGE, "scaling": "min_max"}, "min_max.* lower .*upper.* mean .*std"),
        ({**HEIGHT, "upper": 1}, "lower .*upper"),
        ({**AGE, "cut": {"value": 50, "direction": "over"}}, "'above' or 'below'"),
        ({**AGE, "cut": {"direction": "above"}}, "value"),
        ({**AGE, "cut": {"value": float("nan"), "direction": "above"}}, "value\n.*finite"),
    ],
    ids=["both", "half", "zero", "other", "reversed", "direction", "no-value", "nan"],
)
def test_a_field_that_cannot_be_is_refused(field: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TableSpec.model_validate({"fields": [field]})


def test_a_field_cannot_be_read_and_ignored() -> None:
    with pytest.raises(ValidationError, match=r"\['age'\]"):
        TableSpec.model_validate({"fields": [AGE], "ignored": ["bmi", "age"]})


def test_the_template_accepts_what_is_ignored() -> None:
    assert list(record_template(SPEC, None, "x.json")) == ["$schema", "patient_id", "age", "sex", "height", "view"]
    properties = record_schema(SPEC, None, "tiny")["properties"]
    assert properties["bmi"] == {"description": "Not read by this network."}
