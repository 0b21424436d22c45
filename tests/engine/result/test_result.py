"""The answer as JSON: its keys in the documented order, and never a token that is no JSON."""

import json
from dataclasses import replace

import pytest

from tiny_result import tiny_result

KEYS = ["schema_version", "created", "label", "probability", "probabilities", "positive", "findings"]
KEYS += [
    "windows",
    "study",
    "evidence",
    "record",
    "labels",
    "model",
    "remarks",
    "software",
    "engine",
    "options",
    "attention",
    "timing_ms",
]
KEYS += ["warnings", "disclaimer"]


def test_fields_stand_in_their_order() -> None:
    fields = tiny_result().to_dict()
    assert list(fields) == KEYS and fields["schema_version"] == 2
    assert fields["windows"] == ({"start_slice": 0, "slices": 1, "logit": 0.8, "probability": 0.7},)
    assert fields["created"] == "2026-11-30T09:08:48Z"
    assert list(json.loads(tiny_result().to_json())) == KEYS


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_never_written(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        replace(tiny_result(), timing_ms={"total": value}).to_json()


def test_other_letters_stay_as_they_are() -> None:
    assert "Größe" in tiny_result("Größe").to_json()
