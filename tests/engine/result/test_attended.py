"""What attention weighs besides an image: words, fields, and how far two outputs agree; in answers and by hand."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from dicom_factory import hounsfield
from mmcaf_engine import Answerer, Result, Volume, load_bundle, open_session
from mmcaf_engine.errors import BackendError, StrictError, UsageError
from mmcaf_engine.inputs.prepare import Prepared
from mmcaf_engine.manifest import Manifest
from mmcaf_engine.result.attended import Agreement, Attended, agreement_warnings, attended, common_share
from mmcaf_engine.result.deidentify import deidentify
from mmcaf_engine.result.schema import result_schema
from refusals import refused
from tiny_bundle import SIZE
from tiny_liver import make_tiny_liver, tiny_liver_manifest
from tiny_report import PIECES
from tiny_words import make_tiny_words, words_manifest

CT = Volume(hounsfield(6, SIZE, SIZE), "hounsfield", (2.5, 0.7, 0.7))
RECORD = {"sex": "F", "age": 63, "findings": "New nodules,", "impression": "XXXX unchanged zebra."}
SPELLED = {"New": ["new"], "nodules": ["[UNK]"], ",": [","], "unchanged": ["un", "##change", "##d"]}
SPELLED |= {"zebra": ["[UNK]"], ".": ["."]}
AGREEMENT = {"outputs": ["alpha", "upper"], "bound": 0.6, "percentile": 5, "studies": 120, "data": "phantoms"}
FILE = {"sha256": "0" * 64, "size": 1}


@pytest.fixture(scope="module")
def answerer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answerer]:
    bundle = load_bundle(make_tiny_words(tmp_path_factory.mktemp("words") / "words.mmcaf"))
    with open_session(bundle, backend="onnxruntime", threads=1) as session:
        yield Answerer(session)


def test_words_are_those_of_the_report_with_the_sum_of_their_pieces(answerer: Answerer) -> None:
    answer = answerer.answer(CT, RECORD, explain="attention")
    numbers = {piece: PIECES.index(piece) + 1 for piece in PIECES}
    total = sum(numbers[piece] for pieces in SPELLED.values() for piece in pieces) + numbers["[CLS]"] + numbers["[SEP]"]
    expected = [(word, sum(numbers[piece] for piece in pieces) / total) for word, pieces in SPELLED.items()]
    assert [name for name, _ in answer.words] == [name for name, _ in expected]
    np.testing.assert_allclose([one for _, one in answer.words], [one for _, one in expected], atol=1e-6)
    assert answer.result.attention is not None
    words, fields = answer.result.attention.parts
    assert words.markers == pytest.approx((numbers["[CLS]"] + numbers["[SEP]"]) / total, abs=1e-6)
    assert words.meaning == "share of a word piece" and answer.result.attention.agreement is None
    table = answer.prepared.clinical.record
    assert table is not None
    sizes = 1 + np.abs(table.table()[0, :2])
    assert [one.name for one in fields.weights] == ["sex", "age"] and fields.markers is None
    np.testing.assert_allclose([one.weight for one in fields.weights], sizes / sizes.sum(), atol=1e-6)


def test_a_result_with_words_is_of_the_schema_and_read_back(answerer: Answerer) -> None:
    result = answerer.answer(CT, RECORD, explain="attention").result
    document = json.loads(result.to_json())
    Draft202012Validator(result_schema()).validate(document)
    assert Result.from_json(result.to_json()) == result
    del document["attention"]
    assert Result.from_json(json.dumps(document)).attention is None


def test_without_being_asked_there_are_none(answerer: Answerer) -> None:
    asked, plain = answerer.answer(CT, RECORD, explain="attention"), answerer.answer(CT, RECORD)
    assert plain.result.attention is None and plain.words == () and list(plain.outputs) == ["logit"]
    assert plain.result.probabilities == asked.result.probabilities


def test_words_make_no_object_of_a_heat_map(answerer: Answerer) -> None:
    with refused(UsageError, "pm", "heat map", option="dicom_objects"):
        answerer.answer(CT, RECORD, explain="attention", dicom_objects="sr,pm")


def test_words_are_in_no_log_and_no_deidentified_result(answerer: Answerer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = answerer.answer(CT, RECORD, explain="attention")
    hidden = deidentify(answer.result)
    assert hidden.attention is not None and hidden.attention.parts[0].weights == ()
    assert len(hidden.attention.parts[1].weights) == 2
    for text in (caplog.text, repr(answer), repr(answer.result.attention), hidden.to_json()):
        assert "zebra" not in text and "nodules" not in text
    assert "zebra" in answer.result.to_json()


def test_a_report_that_was_left_out_has_no_words(tmp_path: Path) -> None:
    bundle = make_tiny_words(tmp_path / "b.mmcaf", text={**words_manifest()["text"], "missing": "empty"})
    with open_session(load_bundle(bundle), backend="onnxruntime", threads=1) as session:
        answer = Answerer(session).answer(CT, {"sex": "F", "age": 63}, explain="attention")
    assert answer.words == () and answer.result.attention is not None
    assert answer.result.attention.parts[0].markers == pytest.approx(1)


@pytest.mark.parametrize(
    ("first", "second", "share"),
    [
        ([1, 1, 2], [2, 2, 4], 1.0),
        ([1, 0, 0], [0, 1, 1], 0.0),
        ([1, 1, 0, 0], [0, 1, 1, 0], 0.5),
        ([4, 1], [1, 4], 0.4),
        ([0, 0], [1, 1], 0.0),
    ],
    ids=["same", "apart", "half", "uneven", "nothing"],
)
def test_the_share_that_two_maps_have_in_common(first: list[float], second: list[float], share: float) -> None:
    assert common_share(np.array(first, float), np.array(second, float)) == pytest.approx(share)


def comparing(**agreement: Any) -> dict[str, Any]:
    """Fields of the tiny liver, whose two outputs weigh the same parts, which are compared."""
    entries = tiny_liver_manifest()["attention"]
    same = [{**entries[0], "output": entry["output"]} for entry in entries]
    return {"attention": same, "attention_agreement": {**AGREEMENT, **agreement}}


def liver(**agreement: Any) -> Manifest:
    files = dict.fromkeys(("model.onnx", "golden.npz"), FILE)
    return Manifest.model_validate({**tiny_liver_manifest(), **comparing(**agreement), "files": files})


def weights(*first: float) -> dict[str, np.ndarray[Any, Any]]:
    """Of two windows; in the second, which is looked at, `upper` is the same turned."""
    grid = np.ones((2, 6), np.float32)
    grid[1, : len(first)] = first
    return {"alpha": grid, "upper": grid[:, ::-1].copy()}


def test_little_agreement_is_warned_of_with_figures() -> None:
    found = attended(liver(), Prepared(()), weights(5, 5, 5, 0, 0, 0), 1)
    assert found is not None and found.agreement is not None
    assert found.parts == () and found.agreement.share == 0
    [warning] = agreement_warnings(found)
    for told in ("alpha", "upper", "0.00", "0.60", "5 %", "120", "phantoms"):
        assert told in warning
    much = attended(liver(), Prepared(()), weights(1, 1, 2, 2, 1, 1), 1)
    assert much is not None and much.agreement is not None
    assert much.agreement.share == 1 and agreement_warnings(much) == ()
    bound = Agreement(("a", "b"), 0.6, 0.6, 5, 100, "phantoms")
    assert agreement_warnings(Attended((), bound)) == () and agreement_warnings(None) == ()
    assert len(agreement_warnings(Attended((), replace(bound, share=0.5999)))) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1], ids=str)
def test_weights_that_are_none_are_refused(value: float) -> None:
    with refused(BackendError, "alpha", "not finite", option="explain"):
        attended(liver(), Prepared(()), weights(1, value), 1)
    assert attended(liver(), Prepared(()), weights(1, value), 0) is not None


def test_where_all_attention_is_of_an_image_nothing_is_listed() -> None:
    files = dict.fromkeys(("model.onnx", "golden.npz"), FILE)
    alone = Manifest.model_validate({**tiny_liver_manifest(), "files": files})
    assert attended(alone, Prepared(()), weights(1), 1) is None


def test_an_answer_says_it_where_attention_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    phases = {
        spec["name"]: Volume(hounsfield(8, 12, 10), "rescaled", (3.0, 1.0, 1.0))
        for spec in tiny_liver_manifest()["inputs"]
    }
    bundle = load_bundle(make_tiny_liver(tmp_path / "liver.mmcaf", **comparing()))
    with open_session(bundle, backend="onnxruntime", threads=1) as session:
        answerer = Answerer(session)
        assert answerer.answer(phases).result.attention is None
        found = answerer.answer(phases, explain="attention", strict=True).result.attention
        assert found is not None and found.agreement == Agreement(("alpha", "upper"), 1.0, 0.6, 5, 120, "phantoms")
        monkeypatch.setattr("mmcaf_engine.result.attended.common_share", lambda _first, _second: 0.25)
        assert any("0.25" in warning for warning in answerer.answer(phases, explain="attention").result.warnings)
        assert not answerer.answer(phases).result.warnings
        with refused(StrictError, "0.25", option="strict"):
            answerer.answer(phases, explain="attention", strict=True)
