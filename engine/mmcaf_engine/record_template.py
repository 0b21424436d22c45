"""A record to fill in, and the JSON Schema that an editor checks it with."""

from typing import Any

from .manifest import CategoryField, Impute, TableField, TableSpec
from .record import PATIENT_ID_KEY

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def record_template(spec: TableSpec, schema: str) -> dict[str, Any]:
    """Every field with null, which means missing; `schema` is where the JSON Schema lies."""
    return {"$schema": schema, PATIENT_ID_KEY: None, **dict.fromkeys(entry.name for entry in spec.fields)}


def record_schema(spec: TableSpec, title: str) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the flat record. Synonyms and other letter case are accepted beyond it."""
    return {
        "$schema": SCHEMA_DIALECT,
        "title": f"Record for {title}",
        "type": "object",
        "properties": {
            "$schema": {"type": "string"},
            PATIENT_ID_KEY: {
                "type": ["string", "null"],
                "description": "Must equal the study's PatientID (0010,0020) where both are given.",
            },
            **{entry.name: _property(entry) for entry in spec.fields},
        },
        "required": [entry.name for entry in spec.fields if not isinstance(entry.missing, Impute)],
        "additionalProperties": False,
    }


def _property(entry: TableField) -> dict[str, Any]:
    imputed = f" If missing, {entry.missing.value} is used." if isinstance(entry.missing, Impute) else ""
    null: list[Any] = [{"type": "null"}] if imputed else []
    if isinstance(entry, CategoryField):
        choices: dict[str, Any] = {"enum": list(entry.categories)}
        return {"description": entry.description + "." + imputed, "anyOf": [choices, *null]}
    number = {"type": "number", "minimum": entry.minimum, "maximum": entry.maximum}
    measured = {
        "type": "object",
        "properties": {"value": {"type": "number"}, "unit": {"enum": [entry.unit, *entry.units]}},
        "required": ["value", "unit"],
        "additionalProperties": False,
    }
    return {"description": f"{entry.description}, in {entry.unit}.{imputed}", "anyOf": [number, measured, *null]}
