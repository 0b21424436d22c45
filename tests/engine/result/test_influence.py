"""Which fields of a record moved an answer: to the last bit what another record's answer is, and only when asked."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from dicom_factory import hounsfield
from mmcaf_cli.text import render
from mmcaf_engine import Answerer, CancelToken, Result, Volume, load_bundle, open_session
from mmcaf_engine.errors import CancelledError
from mmcaf_engine.result.deidentify import deidentify
from tiny_bundle import SIZE, make_tiny_bundle, tiny_manifest
from tiny_image import make_tiny_image
from tiny_report import make_tiny_report

CHEST = Volume(hounsfield(6, SIZE, SIZE), "hounsfield", (2.5, 0.7, 0.7))
RECORD: dict[str, Any] = {"sex": "F", "age": 83}
TOLD = {**RECORD, "findings": "new nodule", "impression": ""}


def imputing() -> dict[str, Any]:
    table = tiny_manifest()["table"]
    table["fields"][1]["missing"] = {"policy": "impute", "value": 40}
    return {"table": table}


@pytest.fixture(scope="module")
def answerers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Answerer]]:
    folder = tmp_path_factory.mktemp("bundles")
    bundles = {
        "chest": make_tiny_bundle(folder / "chest.mmcaf"),
        "imputing": make_tiny_bundle(folder / "imputing.mmcaf", **imputing()),
        "alone": make_tiny_image(folder / "alone.mmcaf", image=False, table=True, threshold=0.6),
        "report": make_tiny_report(folder / "report.mmcaf"),
    }
    with ExitStack() as stack:
        yield {
            name: Answerer(stack.enter_context(open_session(load_bundle(bundle), backend="onnxruntime", threads=1)))
            for name, bundle in bundles.items()
        }


GIVEN: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "chest": (CHEST, RECORD, {"sex": "M", "age": 55.0}),
    "imputing": (CHEST, RECORD, {"sex": "M", "age": 40.0}),
    "alone": (None, {"age": 20}, {"age": 70.0}),
    "report": (CHEST, TOLD, {"sex": "M", "age": 55.0}),
}
"""Study, record, and the reference of each field."""


@pytest.mark.parametrize("name", GIVEN)
def test_it_is_the_answer_of_a_record_with_the_reference(name: str, answerers: dict[str, Answerer]) -> None:
    """Over all windows, of several labels too, by a network with a cut and a report beside it."""
    study, record, references = GIVEN[name]
    answer = answerers[name].answer(study, record, explain="record")
    result = answer.result
    assert result.record is not None and result.record.influence is not None
    assert [field.field for field in result.record.influence] == list(references)
    label = answer.bundle.manifest.labels[answer.score.label]
    for field in result.record.influence:
        other = answerers[name].answer(study, {**record, field.field: references[field.field]}).result
        assert (field.value, field.reference) == (record[field.field], references[field.field])
        assert (field.label, field.probability) == (other.label, other.probabilities[label])
        assert field.change == result.probabilities[label] - other.probabilities[label] != 0


def test_a_field_at_its_reference_changes_nothing_and_takes_no_window(answerers: dict[str, Answerer]) -> None:
    told: list[str] = []
    steps: list[tuple[str, int, int]] = []
    options: dict[str, Any] = {"announce": told.append, "progress": lambda *step: steps.append(step)}
    result = answerers["imputing"].answer(CHEST, {"sex": "F"}, explain="record", **options).result
    assert result.record is not None and result.record.influence is not None
    sex, age = result.record.influence
    assert (age.value, age.reference, age.kind, age.change) == (40.0, 40.0, "imputed", 0.0) and sex.change != 0
    assert told == ["record: 2 more windows, about 0.1 s."]
    assert [step for step in steps if step[0] == "explain"] == [("explain", 1, 2), ("explain", 2, 2)]
    steps.clear()
    answerers["chest"].answer(CHEST, RECORD, explain="record", **options)
    assert [step for step in steps if step[0] == "explain"] == [("explain", at, 4) for at in range(1, 5)]


def test_it_is_made_where_it_is_asked_for(answerers: dict[str, Answerer]) -> None:
    created = "2026-11-30T09:08:48Z"
    bare, told = (
        json.loads(answerers["chest"].answer(CHEST, RECORD, created=created, explain=explain).result.to_json())
        for explain in (None, "record")
    )
    assert {name for name in bare if bare[name] != told[name]} == {"record", "options", "timing_ms"}
    assert bare["record"]["influence"] is None and len(told["record"]["influence"]) == 2
    del bare["record"]["influence"], told["record"]["influence"]
    assert bare["record"] == told["record"] and told["options"]["explain"] == ["record"]


def test_it_is_read_back_and_a_result_without_it_too(answerers: dict[str, Answerer]) -> None:
    result = answerers["chest"].answer(CHEST, RECORD, explain="record").result
    document = json.loads(result.to_json())
    assert Result.from_json(json.dumps(document)) == result
    del document["record"]["influence"]
    read = Result.from_json(json.dumps(document))
    assert read.record is not None and read.record.influence is None


def test_nothing_of_it_is_left_without_the_patient(answerers: dict[str, Answerer]) -> None:
    hidden = deidentify(answerers["chest"].answer(CHEST, RECORD, explain="record").result)
    assert hidden.record is not None and hidden.record.influence is None
    assert "83" not in json.dumps(hidden.to_dict()["record"]) and "moved" not in render(hidden)


def test_in_words_the_largest_comes_first(answerers: dict[str, Answerer]) -> None:
    result = answerers["chest"].answer(CHEST, RECORD, explain="record").result
    assert result.record is not None and result.record.influence is not None
    largest, other = sorted(result.record.influence, key=lambda field: -abs(field.change))
    lines = [line for line in render(result).splitlines() if line.startswith("  moved")]
    assert [line.split()[1] for line in lines] == [f"{largest.change:+.3f}", f"{other.change:+.3f}"]
    assert lines[0].endswith("sex F, not M") and lines[1].endswith("age 83, not 55")
    same = answerers["chest"].answer(CHEST, {"sex": "M", "age": 55}, explain="record").result
    assert "moved         by no field of the record by 0.001 or more" in render(same)
    assert "moved" not in render(answerers["chest"].answer(CHEST, RECORD).result)


def test_another_answer_is_named(answerers: dict[str, Answerer]) -> None:
    result = answerers["alone"].answer({"age": 20}, explain="record").result
    (line,) = [line for line in render(result).splitlines() if line.startswith("  moved")]
    assert result.label == "dark" and line.endswith("age 20, not 70, else bright")


def test_it_ends_when_its_caller_has_no_more_patience(answerers: dict[str, Answerer]) -> None:
    token = CancelToken()

    def impatient(stage: str, done: int, total: int) -> None:
        if stage == "explain" and done == 2:
            token.cancel()

    with pytest.raises(CancelledError):
        answerers["chest"].answer(CHEST, RECORD, explain="record", cancel=token, progress=impatient)
