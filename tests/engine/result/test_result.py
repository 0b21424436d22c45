"""The answer as JSON: its keys in the documented order, and never a token that is no JSON."""

import json
from dataclasses import replace

import pytest

from tiny_result import tiny_result

FIRST = ["schema_version", "label", "probability", "probabilities", "logit", "threshold", "findings"]


def test_what_was_answered_stands_first() -> None:
    fields = tiny_result().to_dict()
    assert list(fields)[: len(FIRST)] == FIRST and fields["schema_version"] == 1
    assert "wording" not in fields and fields["windows"] == ({"start_slice": 0, "logit": 0.8, "probability": 0.7},)
    assert list(json.loads(tiny_result().to_json())) == list(fields)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_never_written(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        replace(tiny_result(), timing_ms={"total": value}).to_json()


def test_other_letters_stay_as_they_are() -> None:
    assert "Größe" in tiny_result("Größe").to_json()
