"""Results read back: those of today as they were, those of schema version 1 in its terms, and what is none refused."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from mmcaf_engine import Result
from mmcaf_engine.bundle.device import device_uid
from mmcaf_engine.errors import UsageError
from mmcaf_engine.result.parts import Positive
from mmcaf_engine.result.schema import result_schema
from refusals import Fact, refused
from tiny_result import tiny_result

VERSION_1 = Path(__file__).parents[2] / "data" / "results_version_1"
"""Results of tiny bundles, as commit eee488a wrote them, the last of version 1."""
FILES = sorted(VERSION_1.glob("*.json"))
SCHEMA = Draft202012Validator(result_schema(), format_checker=Draft202012Validator.FORMAT_CHECKER)


def old(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((VERSION_1 / f"{name}.json").read_text(encoding="utf-8"))
    return found


def read(document: Any) -> Result:
    return Result.from_json(json.dumps(document), name="answer.json")


def test_what_is_written_is_read_back() -> None:
    whole = tiny_result("a gap", sources=("1.2.840.1.2",))
    for text in (whole.to_json(), whole.to_json(indent=2).encode()):
        again = Result.from_json(text)
        assert again == whole and again.to_json() == whole.to_json()
    assert again.wording.headline == "loud   0.700" and again.wording.rows[0][1] == "quiet 0.300   loud 0.700"
    moved = json.loads(whole.to_json()) | {"created": "2026-11-30T10:08:48+01:00"}
    assert read(moved) == whole and read(moved).to_json() == whole.to_json()


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_version_1_is_read_in_the_terms_of_version_2(file: Path) -> None:
    document = old(file.stem)
    found = Result.from_json(file.read_bytes())
    SCHEMA.validate(json.loads(found.to_json()))
    assert found.label == document["label"] and found.probabilities == document["probabilities"]
    assert found.probability == (document["probabilities"].get(found.label))
    assert [asdict(one) for one in found.findings] == document["findings"]
    study, record = document["study"], document["record"]
    assert [asdict(one) for one in found.study.selection] == [
        {**one, "spacing_mm": tuple(one["spacing_mm"])} for one in study["series"]
    ]
    assert (found.study.uids, found.study.slices) == (study["uids"], study["slices"])
    assert found.model.device_uid == device_uid(document["model"]["bundle_sha256"])
    assert found.timing_ms == document["timing_ms"] and found.disclaimer == document["disclaimer"]
    assert found.warnings == tuple(document["warnings"]) and found.remarks == tuple(document["remarks"])
    unknown = (found.created, found.evidence, found.labels, found.software, found.options, found.model.version)
    engine = found.engine
    assert {*unknown, engine.runtime, engine.runtime_version, engine.processor, engine.threads} == {None}
    assert engine.kernels is None and all(window.slices is None for window in found.windows)
    assert (found.record is None) == (record is None)
    if found.record is not None:
        assert found.record.features == record["features"] and found.record.identity == record["identity"]
        assert found.record.sha256 is None


@pytest.mark.parametrize("name", ["binary_loud", "binary_quiet", "image"])
def test_of_two_labels_version_1_said_the_second_ones_probability(name: str) -> None:
    document, found = old(name), read(old(name))
    second = list(document["probabilities"])[1]
    assert found.positive == Positive(second, document["probability"], document["logit"], document["threshold"])
    given = [(window["logit"], window["probability"]) for window in document["windows"]]
    if found.label != second:
        given = [(-logit, 1 - probability) for logit, probability in given]
    assert [(window.logit, window.probability) for window in found.windows] == given


def test_windows_of_another_label_than_the_answer_are_left_out() -> None:
    """In version 1 they were of the most probable label, which a higher threshold may leave absent."""
    assert read(old("multilabel_lesser")).windows == ()
    for name in ("multilabel_one", "multilabel_two", "multilabel_none", "multiclass"):
        document = old(name)
        given = [(one["start_slice"], one["logit"], one["probability"]) for one in document["windows"]]
        assert [(one.start_slice, one.logit, one.probability) for one in read(document).windows] == given


def test_windows_of_an_absent_label_are_left_out_where_several_are_present() -> None:
    document = old("multilabel_two")
    absent = {"label": "absent", "probability": 0.99, "logit": 4.6, "threshold": 0.995, "present": False}
    document["findings"].append(absent)
    document["probabilities"]["absent"] = 0.99
    assert read(document).windows == ()


def test_what_version_1_did_not_say_from_its_beginning() -> None:
    document = old("binary_loud")
    del document["remarks"], document["study"]["body_part"], document["study"]["series"]
    del document["record"]["identity"], document["model"]["signed_by"], document["engine"]["accuracy"]
    found = read(document)
    assert found.remarks == found.study.selection == () and found.study.body_part is None
    assert found.record is not None and found.record.identity is None and found.model.signed_by is None


def changed(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**document, **changes}


NEW = json.loads(tiny_result().to_json())
OLD = old("multilabel_one")


@pytest.mark.parametrize(
    ("document", "facts"),
    [
        ([], ("version", 1, 2)),
        ({}, ("no version",)),
        (changed(NEW, schema_version=3), ("version 3",)),
        (changed(NEW, schema_version="2"), ('"2"',)),
        (changed(NEW, schema_version=True), ("version true",)),
        (changed(NEW, more=1), ("more",)),
        (changed(NEW, wording={"headline": "", "rows": [], "windows": False}), ("wording",)),
        (changed(NEW, probability="0.7"), ("probability",)),
        (changed(NEW, probability=1.5), ("probability", 1)),
        (changed(NEW, created="2026-11-30T09:08:48"), ("created",)),
        (changed(NEW, evidence=[{"input": "image"}]), ("evidence.0",)),
        (changed(NEW, options={**NEW["options"], "gaps": "guess"}), ("options.gaps", "refuse")),
        ({name: value for name, value in NEW.items() if name != "positive"}, ("positive",)),
        ({name: value for name, value in OLD.items() if name != "threshold"}, ("version 1",)),
        (changed(OLD, probabilities={}), ("version 1",)),
        (changed(OLD, probabilities=[]), ("version 1",)),
        (changed(OLD, windows=3), ("version 1",)),
        (changed(OLD, study={**OLD["study"], "slices": "6"}), ("study.slices",)),
    ],
    ids=lambda value: "" if isinstance(value, tuple) else None,
)
def test_what_is_no_result_is_refused(document: Any, facts: tuple[Fact, ...]) -> None:
    with refused(UsageError, "answer.json", *facts):
        read(document)


@pytest.mark.parametrize("text", ["", "{", '{"schema_version": 2, "label": NaN}', b"\xff\xfe"])
def test_what_is_no_json_is_refused(text: str | bytes) -> None:
    with refused(UsageError, "answer.json"):
        Result.from_json(text, name="answer.json")


def test_the_schema_holds_for_results_and_for_nothing_else() -> None:
    SCHEMA.validate(NEW)
    for wrong in (
        changed(NEW, more=1),
        changed(NEW, schema_version=1),
        changed(NEW, probability="0.7"),
        changed(NEW, positive={}),
        {name: value for name, value in NEW.items() if name != "evidence"},
    ):
        with pytest.raises(ValidationError):
            SCHEMA.validate(wrong)
    assert json.loads(replace(tiny_result(), created=None).to_json())["created"] is None
