"""What a field is compared with: by what the manifest holds of it, and never a value that no record may have."""

from typing import Any

import pytest

from mmcaf_engine.manifest import TableSpec
from mmcaf_engine.record.record import Record, read_record
from mmcaf_engine.record.reference import Reference, reference_of, with_references

NUMBER: dict[str, Any] = {
    "kind": "number",
    "name": "age",
    "description": "Age",
    "unit": "years",
    "minimum": 0,
    "maximum": 120,
}
SCALED = {**NUMBER, "lower": 20, "upper": 90}
STANDARDISED = {**NUMBER, "scaling": "standardise", "mean": 61.5, "std": 9}
CATEGORY: dict[str, Any] = {
    "kind": "category",
    "name": "stage",
    "description": "Stage",
    "categories": {"T2": 2, "T1": 1, "T3": 3},
    "divisor": 4,
}


def impute(value: Any) -> dict[str, Any]:
    return {"missing": {"policy": "impute", "value": value}}


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (SCALED, Reference(55.0, "middle")),
        (STANDARDISED, Reference(61.5, "mean")),
        ({**SCALED, **impute(60)}, Reference(60.0, "imputed")),
        ({**STANDARDISED, **impute(60)}, Reference(60.0, "imputed")),
        (CATEGORY, Reference("T2", "first")),
        ({**CATEGORY, **impute("T3")}, Reference("T3", "imputed")),
        ({**SCALED, "upper": 300}, Reference(120.0, "middle")),
        ({**STANDARDISED, "mean": -3}, Reference(0.0, "mean")),
    ],
    ids=["middle", "mean", "imputed", "imputed-before-mean", "first", "imputed-category", "above-all", "below-all"],
)
def test_the_reference_of_a_field(field: dict[str, Any], expected: Reference) -> None:
    assert reference_of(TableSpec.model_validate({"fields": [field]}).fields[0]) == expected


def test_each_record_differs_in_one_field_and_its_cut() -> None:
    cut = {"cut": {"value": 60, "direction": "above"}}
    table = TableSpec.model_validate({"fields": [CATEGORY, {**SCALED, **cut}]})
    record = read_record({"stage": "T3", "age": 69}, table)
    (_, first, of_stage), (_, second, of_age) = with_references(record, table)
    assert (first.value, second.value) == ("T2", 55.0)
    assert of_stage.values == {"stage": "T2", "age": 69} and of_age.values == {"stage": "T3", "age": 55}
    assert record.table()[0].tolist() == pytest.approx([0.75, 0.7, 1.0])
    assert of_stage.table().tolist()[0][0] == 0.5 and (of_stage.table()[0, 1:] == record.table()[0, 1:]).all()
    assert of_age.table().tolist() == [[0.75, 0.5, 0.0]]
    assert isinstance(of_age, Record) and list(of_age.cuts) == ["age >= 60"]
