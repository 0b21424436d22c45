"""Settings of the form `table.fields.age.upper=90`, applied to a manifest or a configuration."""

import copy
import dataclasses
import json
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from mmcaf_engine.errors import ExportError, Remedy

CONFIG_PREFIX = "network.config."
ORDER = "table.order"
"""Names of the table's fields in the order of its columns: no field of the manifest, where the fields have it."""
_ABSENT: dict[str, Any] = {
    "release": None,
    "version": "",
    "identity": "optional",
    "body_part": None,
    "label_codes": {},
    "attention_agreement": None,
    "risk_levels": [],
    "branch_scores": [],
    "explain": {"judged": None},
}
_ABSENT_IN_FIELD = {"max_age_days": None}
_ABSENT_IN_ATTENTION = {"meaning": ""}
_ABSENT_IN_WINDOWS = {"trained_on": "study", "lesion_field": None, "order": "head"}
_ABSENT_IN_AGGREGATION: dict[str, Any] = {"coefficients": [], "intercept": None}
ConfigT = TypeVar("ConfigT")


def split_settings(settings: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Part the settings of the network's configuration, without their prefix, from the manifest's."""
    config = {k.removeprefix(CONFIG_PREFIX): v for k, v in settings.items() if k.startswith(CONFIG_PREFIX)}
    return config, {k: v for k, v in settings.items() if not k.startswith(CONFIG_PREFIX)}


def configure(config: ConfigT, settings: Mapping[str, str]) -> ConfigT:
    """Replace fields of a configuration dataclass.

    Raises:
        ExportError: an unknown field, a value of another type, or one that the configuration refuses.
    """
    known = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}  # type: ignore[arg-type]
    changes: dict[str, Any] = {}
    for name, text in settings.items():
        if name not in known:
            raise _unknown(CONFIG_PREFIX + name, name, "network.config", list(known))
        value = _parse(text, known[name])
        if isinstance(known[name], float) and isinstance(value, int):
            value = float(value)
        if type(value) is not type(known[name]):
            raise ExportError(
                f"{CONFIG_PREFIX}{name}: expected a {type(known[name]).__name__} such as {known[name]!r}, got "
                f"{text!r}, a {type(value).__name__}."
            )
        changes[name] = value
    try:
        return dataclasses.replace(config, **changes)  # type: ignore[type-var]
    except ValueError as failure:
        raise ExportError(f"{failure}.") from None


def with_absent_fields(document: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `document` with the fields that a manifest leaves out where they say nothing: settings find them so."""
    full = copy.deepcopy({**document, **{name: value for name, value in _ABSENT.items() if name not in document}})
    table = full.get("table")
    if isinstance(table, dict):
        table["fields"] = [{**_ABSENT_IN_FIELD, **field} for field in table["fields"]]
        table["order"] = [field["name"] for field in table["fields"]]
    if isinstance(aggregation := full.get("aggregation"), dict):
        full["aggregation"] = {**_ABSENT_IN_AGGREGATION, **aggregation}
    if isinstance(attention := full.get("attention"), list):
        full["attention"] = [{**_ABSENT_IN_ATTENTION, **entry} for entry in attention]
    preprocessing = full.get("preprocessing")
    if isinstance(preprocessing, dict) and isinstance(windows := preprocessing.get("windows"), dict):
        preprocessing["windows"] = {**_ABSENT_IN_WINDOWS, **windows}
    return full


def arranged(document: Mapping[str, Any], settings: Collection[str]) -> dict[str, Any]:
    """A copy without what only settings know: the table's fields in the order that they give, and windows that are laid
    along axes that run to the head, as they are anyway.

    Args:
        document: after `apply_settings`. settings: the paths that were set.

    Raises:
        ExportError: the order does not name each field once.
    """
    made = copy.deepcopy(dict(document))
    if isinstance(table := made.get("table"), dict) and "order" in table:
        order = table.pop("order")
        if ORDER in settings:
            table["fields"] = _in_order(table["fields"], order)
    preprocessing = made.get("preprocessing")
    windows = preprocessing.get("windows") if isinstance(preprocessing, dict) else None
    if isinstance(windows, dict) and windows.get("order") == "axes" and "I" not in str(made["preprocessing"]["axes"]):
        del windows["order"]
    return made


def _in_order(fields: Any, order: Any) -> list[Any]:
    named = {_label(field, at): field for at, field in enumerate(fields)} if isinstance(fields, list) else {}
    if not isinstance(order, list) or sorted(map(str, order)) != sorted(named):
        raise ExportError(
            f"{ORDER}: expected a JSON list with each of {', '.join(named)} once, got {json.dumps(order)[:200]}.",
            Remedy("Correct it", option="set"),
        )
    return [named[name] for name in order]


def apply_settings(document: Mapping[str, Any], settings: Mapping[str, str]) -> dict[str, Any]:
    """A copy of `document` with the values at the settings' dotted paths replaced.

    List entries are addressed by their "name" or "step", or by position. A value is read as JSON
    if it parses as such and as text otherwise; in place of a text, it stays text.

    Raises:
        ExportError: a path that leads nowhere; the message lists what there is.
    """
    changed = copy.deepcopy(dict(document))
    for path, text in settings.items():
        *parents, last = path.split(".")
        place: Any = changed
        for depth, part in enumerate(parents):
            place = _children(place)[_existing(place, part, path, parents[:depth])][1]
        key, current = _children(place)[_existing(place, last, path, parents)]
        place[key] = _parse(text, current)
    return changed


def _existing(place: Any, part: str, path: str, walked: list[str]) -> str:
    known = _children(place)
    if part not in known:
        raise _unknown(path, part, ".".join(walked) or "the manifest's settings", list(known))
    return part


def _children(place: Any) -> dict[str, tuple[Any, Any]]:
    """Name in a path -> (key or index, value)."""
    if isinstance(place, dict):
        return {str(key): (key, value) for key, value in place.items()}
    if isinstance(place, list):
        return {_label(value, index): (index, value) for index, value in enumerate(place)}
    return {}


def _label(value: Any, index: int) -> str:
    if isinstance(value, dict):
        return str(value.get("name", value.get("step", index)))
    return str(index)


def _parse(text: str, current: Any) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(current, str) and not isinstance(value, str) else value


def _unknown(path: str, part: str, where: str, known: list[str]) -> ExportError:
    there = f"there: {', '.join(known)}" if known else "nothing lies below it"
    return ExportError(f"{path}: no {part!r} in {where}; {there}.", Remedy("Correct the setting", option="set"))
