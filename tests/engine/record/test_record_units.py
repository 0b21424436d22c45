"""Units, and the template that a user fills in."""

import json
from pathlib import Path
from typing import Any

import pytest

from command import Command
from mmcaf_engine.errors import RecordError
from mmcaf_engine.manifest import TableSpec
from mmcaf_engine.record.record import read_record
from mmcaf_engine.record.template import record_schema, record_template
from refusals import Fact, refused

SPEC = TableSpec.model_validate(
    {
        "fields": [
            {
                "kind": "number",
                "name": "weight",
                "description": "Body weight",
                "unit": "kg",
                "units": {"g": 0.001, "lb": 0.45359237, "[lb_av]": 0.45359237},
                "minimum": 25,
                "maximum": 300,
                "lower": 0,
                "upper": 100,
            },
            {
                "kind": "category",
                "name": "sex",
                "description": "Sex",
                "categories": {"M": 1, "F": 0},
                "missing": {"policy": "impute", "value": "F"},
            },
        ]
    }
)


@pytest.mark.parametrize(
    ("weight", "kilograms"),
    [
        (80, 80),
        ({"value": 80, "unit": "kg"}, 80),
        ({"value": 80000, "unit": "g"}, 80),
        ({"value": 176.37, "unit": "LB"}, 80.0),
        ({"unit": "[lb_av]", "value": 176.37}, 80.0),
    ],
    ids=["plain", "own-unit", "grams", "pounds", "ucum-pounds"],
)
def test_units_are_converted(weight: Any, kilograms: float) -> None:
    assert read_record({"weight": weight, "sex": "M"}, SPEC).values["weight"] == pytest.approx(kilograms, abs=1e-3)


@pytest.mark.parametrize(
    ("weight", "facts"),
    [
        ({"value": 12, "unit": "stone"}, ("'stone'", "kg", "g", "lb")),
        ({"value": 50, "unit": "lb"}, ("22.6796 kg", 25, 300)),
        ({"value": "80", "unit": "kg"}, ("string", "kg", 25, 300)),
        ({"value": 80}, ("nested", "kg", 25, 300)),
        ({"value": 80, "unit": None}, ("'None'", "kg", "g", "lb")),
        ({"value": 1000, "unit": "lb"}, ("453.592 kg", 25, 300)),
    ],
    ids=["unknown", "too-light", "text", "no-unit", "null-unit", "too-heavy"],
)
def test_refused_units(weight: Any, facts: tuple[Fact, ...]) -> None:
    with refused(RecordError, "weight", *facts):
        read_record({"weight": weight, "sex": "M"}, SPEC)


def test_unfilled_template_is_refused_by_name() -> None:
    with refused(RecordError, "weight", "missing"):
        read_record(record_template(SPEC, None, "x.schema.json"), SPEC)


def test_filled_template_is_accepted_without_remarks() -> None:
    record = read_record({**record_template(SPEC, None, "x.schema.json"), "weight": 80, "sex": "F"}, SPEC)
    assert record.warnings == () and record.patient_ids == ()


def test_schema_names_every_field_and_what_it_takes() -> None:
    schema = record_schema(SPEC, None, "tiny")
    assert schema["required"] == ["weight"]
    assert schema["properties"]["sex"]["anyOf"][0] == {"enum": ["M", "F"]}
    assert "If missing, F is used" in schema["properties"]["sex"]["description"]
    assert schema["properties"]["weight"]["anyOf"][0] == {"type": "number", "minimum": 25, "maximum": 300}


def test_command_writes_both_files_once(run: Command, tiny_bundle: Path, tmp_path: Path) -> None:
    record = tmp_path / "fill.json"
    outcome = run("mmcaf", "record-template", "--bundle", tiny_bundle, "-o", record)
    assert outcome.code == 0 and "0 to 120 years" in outcome.out
    assert json.loads(record.read_text())["$schema"] == "fill.schema.json"
    assert (tmp_path / "fill.schema.json").is_file()
    assert run("mmcaf", "record-template", "--bundle", tiny_bundle, "-o", record).code == 2
    assert run("mmcaf", "record-template", "--bundle", tiny_bundle, "-o", record, "--force").code == 0
