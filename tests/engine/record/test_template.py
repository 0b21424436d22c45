"""A record to fill in, and the schema that an editor checks it with."""

from jsonschema import Draft202012Validator

from mmcaf_engine.manifest import TableSpec, TextSpec
from mmcaf_engine.record.template import record_schema, record_template

SPEC = TableSpec.model_validate(
    {
        "fields": [
            {"kind": "category", "name": "sex", "description": "Sex", "categories": {"M": 1, "F": 0}},
            {
                "kind": "number",
                "name": "weight",
                "description": "Weight",
                "unit": "kg",
                "units": {"lb": 0.45359237},
                "minimum": 2,
                "maximum": 400,
                "lower": 30,
                "upper": 130,
                "missing": {"policy": "impute", "value": 70},
            },
        ],
        "ignored": ["height"],
    }
)
TEXT = TextSpec(lowercase=True, max_tokens=8, buckets=(8,), fields=("findings", "impression"))


def test_every_field_is_there_to_be_filled_in() -> None:
    names = ["$schema", "patient_id", "sex", "weight", "findings", "impression"]
    assert list(record_template(SPEC, TEXT, "schema.json")) == names
    assert record_template(None, None, "schema.json") == {"$schema": "schema.json", "patient_id": None}


def test_the_slices_of_a_lesion_may_be_filled_in() -> None:
    assert list(record_template(SPEC, TEXT, "s", lesion="lesion_slices"))[-1] == "lesion_slices"
    schema = record_schema(SPEC, TEXT, "x", lesion="lesion_slices")
    assert schema["required"] == ["sex"] and "lesion_slices" not in record_schema(SPEC, TEXT, "x")["properties"]
    check = Draft202012Validator({**schema["properties"]["lesion_slices"], "$schema": schema["$schema"]})
    for given in ([40, 52], "40-52", ["1.2.3", "1.2.4"], "1.2.3 1.2.4", None):
        check.validate(given)
    for given in (40, [40], [0, 3], [], {}, True):
        assert not check.is_valid(given)


def test_what_is_imputed_may_be_left_out() -> None:
    assert record_schema(SPEC, TEXT, "x")["required"] == ["sex"]
    assert record_schema(None, TEXT, "x")["required"] == []


def test_nothing_else_is_accepted() -> None:
    schema = record_schema(SPEC, TEXT, "x")
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == {*record_template(SPEC, TEXT, "s"), "height"}
    number, measured, null = schema["properties"]["weight"]["anyOf"]
    assert (number["type"], number["minimum"], number["maximum"]) == ("number", 2, 400)
    assert (measured["required"], measured["additionalProperties"]) == (["value", "unit"], False)
    assert measured["properties"]["unit"] == {"enum": ["kg", "lb"]} and null == {"type": "null"}
    assert schema["properties"]["sex"]["anyOf"] == [{"enum": ["M", "F"]}]
