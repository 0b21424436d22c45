"""What a checkpoint's file says of itself: text entries, lists and objects in them as JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from mmcaf_engine.manifest import RiskSpec, describe_validation

from .columns import DATA_SETS, KNOWN, Column, DataSet
from .config import IMAGE, METADATA, MedFusionConfig
from .table import UNKNOWN_RANGE, unknown_column

_OF_A_COLUMN = {"name", "description", "unit", "minimum", "maximum", "codes"}


@dataclass(frozen=True)
class SideCar:
    """What the weights do not tell.

    data_set: the known one that labels or columns were taken from, or None; columns: all that training recorded, in
    its order; threshold_labels: for which label each selected column's threshold was chosen, or (); risk_levels: cut
    points over labels' probabilities, or ().
    """

    data_set: str | None
    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    columns: tuple[Column, ...]
    threshold_labels: tuple[str, ...]
    risk_levels: tuple[RiskSpec, ...] = ()


def read_side_car(metadata: Mapping[str, str], config: MedFusionConfig, recorded: int) -> SideCar:
    """Read the entries data_set, labels, thresholds, columns, threshold_labels and risk_levels; what is missing has
    defaults.

    Without an entry data_set the data set is told from the number of labels and the modalities.

    Args:
        recorded: clinical columns that training recorded at least.

    Raises:
        ValueError: an entry that is not what it should be, or does not fit the weights.
    """
    name = metadata.get("data_set", _data_set(config))
    if name is not None and name not in DATA_SETS:
        raise ValueError(f"the file's metadata says data_set={name!r}; known are {', '.join(DATA_SETS)}")
    known = DATA_SETS[name] if name is not None else None
    labels = _texts(metadata, "labels") or _labels(known, config.labels)
    thresholds = _list(metadata, "thresholds") or [0.5] * config.labels
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in thresholds):
        raise ValueError("the file's metadata entry thresholds is no JSON list of numbers")
    for what, values in (("labels", labels), ("thresholds", thresholds)):
        if len(values) != config.labels:
            raise ValueError(f"the file's metadata has {len(values)} {what}; the weights give {config.labels} scores")
    columns = tuple(_column(entry, at) for at, entry in enumerate(_list(metadata, "columns")))
    chosen = _texts(metadata, "threshold_labels")
    if chosen and len(chosen) != config.features:
        raise ValueError(f"the file's metadata has {len(chosen)} threshold_labels for {config.features} columns")
    cut_offs = tuple(map(float, thresholds))
    return SideCar(name, labels, cut_offs, columns or _columns(known, config, recorded), chosen, _risk(metadata))


def _data_set(config: MedFusionConfig) -> str | None:
    if config.has(IMAGE):
        return "chestxray14" if config.labels == len(DATA_SETS["chestxray14"].labels) else None
    fits = config.modalities == METADATA and config.labels == len(DATA_SETS["cervical"].labels)
    return "cervical" if fits else None


def _labels(known: DataSet | None, count: int) -> tuple[str, ...]:
    if known is not None and len(known.labels) == count:
        return known.labels
    return tuple(f"finding {number}" for number in range(count))


def _columns(known: DataSet | None, config: MedFusionConfig, recorded: int) -> tuple[Column, ...]:
    """The data set's, or for other networks nameless ones."""
    if known is not None and recorded <= len(known.columns):
        return known.columns[:recorded] if config.profile == "release" else known.columns
    return tuple(unknown_column(number) for number in range(recorded))


def _column(entry: Any, position: int) -> Column:
    """One of the entry columns: a name, or an object that says more."""
    given = {"name": entry} if isinstance(entry, str) else entry
    if not isinstance(given, dict) or not isinstance(given.get("name"), str) or set(given) - _OF_A_COLUMN:
        raise ValueError(
            f"the file's metadata entry columns has at position {position} neither a name nor an object with a name "
            f"and some of {', '.join(sorted(_OF_A_COLUMN))}"
        )
    name = str(given["name"])
    lowest, highest = UNKNOWN_RANGE
    base = KNOWN.get(name, Column(name, name.replace("_", " "), minimum=lowest, maximum=highest))
    facts: dict[str, Any] = {field: getattr(base, field) for field in Column.__dataclass_fields__} | given
    if "unit" in given and given["unit"] != base.unit:
        facts["units"] = {}
    codes = facts["codes"]
    if codes is not None:
        try:
            facts["codes"] = {str(category): float(code) for category, code in codes.items()}
        except (AttributeError, TypeError, ValueError):
            raise ValueError(f"the file's metadata gives codes of {name} that are no object of numbers") from None
        facts["synonyms"] = {other: to for other, to in base.synonyms.items() if to in facts["codes"]}
    return Column(**facts)


def _risk(metadata: Mapping[str, str]) -> tuple[RiskSpec, ...]:
    try:
        return tuple(RiskSpec.model_validate(entry) for entry in _list(metadata, "risk_levels"))
    except ValidationError as failure:
        what = describe_validation(failure, "an entry")
        raise ValueError(f"the file's metadata entry risk_levels cannot be: {what}") from None


def _texts(metadata: Mapping[str, str], key: str) -> tuple[str, ...]:
    values = _list(metadata, key)
    if not all(isinstance(value, str) for value in values):
        raise ValueError(f"the file's metadata entry {key} is no JSON list of texts")
    return tuple(values)


def _list(metadata: Mapping[str, str], key: str) -> list[Any]:
    text = metadata.get(key)
    if text is None:
        return []
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, list):
        raise ValueError(f"the file's metadata entry {key} is no JSON list")
    return value
