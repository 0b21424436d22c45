"""The JSON Schema of a result, as published in docs/result.schema.json, and its fields as docs/result.md lists them."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter

from .result import OFTEN_ABSENT, Result

_SINCE_1 = {
    *("schema_version", "label", "probabilities", "findings", "windows", "study", "record", "model", "remarks"),
    *("engine", "timing_ms", "warnings", "disclaimer", "windows[].start_slice"),
    *(f"findings[].{name}" for name in ("label", "probability", "logit", "threshold", "present")),
    *(f"study.{name}" for name in ("uids", "modality", "body_part", "slices", "spacing_mm", "warnings")),
    *(f"record.{name}" for name in ("features", "missing", "identity", "warnings")),
    *(f"model.{name}" for name in ("name", "bundle_sha256", "signed_by")),
    *(f"engine.{name}" for name in ("backend", "precision", "device", "fallback", "accuracy")),
}
_UNTIL_1 = {
    "positive.probability": "`probability`",
    "positive.logit": "`logit`",
    "positive.threshold": "`threshold`",
    "study.selection": "`study.series`",
    **{
        f"study.selection[].{name}": f"`study.series[].{name}`"
        for name in ("input", "source", "chosen", "slices", "spacing_mm")
    },
}
"""Field -> what it was called in schema version 1."""


def result_schema() -> dict[str, Any]:
    """What `Result.to_dict` gives: every field is there, in any result, but those of `OFTEN_ABSENT`."""
    schema = TypeAdapter(Result).json_schema(mode="serialization")
    schema["required"] = [name for name in schema["required"] if name not in OFTEN_ABSENT]
    return schema


def result_table() -> list[str]:
    """Every field with its type, what it says, and since which schema version, as lines of Markdown."""
    schema = result_schema()
    head = ["| field | type | | since |", "|---|---|---|---|"]
    return head + [
        f"| `{path}` | {_type(facts, schema)} | {_said(facts, schema)} | {_since(path)} |"
        for path, facts in _fields(schema, schema, "")
    ]


def _said(facts: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Its description; of a part that needs no other, the part's own."""
    within = schema["$defs"].get(facts.get("$ref", "").rpartition("/")[2], {})
    return str(facts.get("description") or within.get("description", ""))


def _since(path: str) -> str:
    path = path.replace("{}", "")
    if path.startswith("engine.accuracy."):
        return "1"
    return "1" if path in _SINCE_1 else f"2, before {_UNTIL_1[path]}" if path in _UNTIL_1 else "2"


def _fields(part: Mapping[str, Any], schema: Mapping[str, Any], above: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, facts in part["properties"].items():
        path = f"{above}{name}"
        yield path, facts
        for within, mark in _parts(facts):
            yield from _fields(schema["$defs"][within.rpartition("/")[2]], schema, f"{path}{mark}.")


def _parts(facts: Mapping[str, Any], mark: str = "") -> Iterator[tuple[str, str]]:
    """The parts that a field consists of: where each is defined, and how a path says that there are several."""
    if "$ref" in facts:
        yield facts["$ref"], mark
    for one in facts.get("anyOf", ()):
        yield from _parts(one, mark)
    if isinstance(items := facts.get("items"), Mapping):
        yield from _parts(items, "[]")
    if isinstance(values := facts.get("additionalProperties"), Mapping):
        yield from _parts(values, "{}")


def _type(facts: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if "anyOf" in facts:
        return " or ".join(dict.fromkeys(_type(one, schema) for one in facts["anyOf"]))
    if "enum" in facts:
        return ", ".join(facts["enum"])
    if "const" in facts:
        return str(facts["const"])
    if facts.get("type") == "array":
        return f"array of {_type(facts.get('items', facts.get('prefixItems', [{}])[0]), schema)}"
    if isinstance(values := facts.get("additionalProperties"), Mapping):
        return f"object of {_type(values, schema)}"
    return "time" if facts.get("format") == "date-time" else str(facts.get("type", "object"))
