"""A record to fill in, and the JSON Schema that an editor checks it with."""

from typing import Any

from ..manifest import CategoryField, Impute, TableField, TableSpec, TextSpec
from .encode import PATIENT_ID_KEY

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"


_SLICES: list[dict[str, Any]] = [
    {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 2, "maxItems": 2},
    {"type": "array", "items": {"type": "string"}, "minItems": 1},
    {"type": "string"},
    {"type": "null"},
]
"""In the forms that `slices.read_named` reads."""


def record_template(
    spec: TableSpec | None, text: TextSpec | None, schema: str, *, lesion: str | None = None
) -> dict[str, Any]:
    """Every field with null, which means missing.

    Args:
        schema: where the JSON Schema lies. lesion: the manifest's `lesion_field`.
    """
    names = [entry.name for entry in _fields(spec)] + list(_text_fields(text))
    names += [] if lesion is None else [lesion]
    return {"$schema": schema, PATIENT_ID_KEY: None, **dict.fromkeys(names)}


def record_schema(
    spec: TableSpec | None, text: TextSpec | None, title: str, *, lesion: str | None = None
) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the flat record. Synonyms and other letter case are accepted beyond it."""
    slices = "First and last slice of the lesion, from 1 at the feet, such as 40-52, or its images' SOPInstanceUIDs."
    whole = "" if text is None or len(text.fields) == 1 else f" The report is {' and '.join(text.fields)} together."
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
            **{entry.name: _property(entry) for entry in _fields(spec)},
            **{
                name: {"type": ["string", "null"], "description": f"Text of the report.{whole}"}
                for name in _text_fields(text)
            },
            **({} if lesion is None else {lesion: {"description": slices, "anyOf": _SLICES}}),
            **{name: {"description": "Not read by this network."} for name in (spec.ignored if spec else ())},
        },
        "required": [entry.name for entry in _fields(spec) if not isinstance(entry.missing, Impute)],
        "additionalProperties": False,
    }


def _fields(spec: TableSpec | None) -> tuple[TableField, ...]:
    return () if spec is None else spec.fields


def _text_fields(text: TextSpec | None) -> tuple[str, ...]:
    return () if text is None else text.fields


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
