"""An answer over some of the slices: what the network says of them alone, and a result that names no others."""

import json
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from dicom_factory import ct_series, enhanced_ct, hounsfield, save
from mmcaf_engine import Answerer, Result, Volume, load_bundle, open_session
from mmcaf_engine.errors import StrictError
from mmcaf_engine.result.card import _said as said_on_card
from mmcaf_engine.result.decisions.statements import in_words
from mmcaf_engine.result.deidentify import deidentify
from mmcaf_engine.result.writers.fhir import to_fhir
from refusals import check_facts, refused
from tiny_bundle import SIZE, make_tiny_bundle, tiny_manifest
from tiny_result import REPORT

RECORD = {"sex": "F", "age": 63}
HU = hounsfield(13, SIZE, SIZE)


@pytest.fixture(scope="module")
def answerer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answerer]:
    bundle = make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny.mmcaf")
    with open_session(load_bundle(bundle), backend="onnxruntime", threads=1) as session:
        yield Answerer(session)


def volume(first: int, last: int) -> Volume:
    return Volume(HU[first - 1 : last], "hounsfield", (2.5, 0.7, 0.7))


@pytest.mark.parametrize("stride", [None, 1])
@pytest.mark.parametrize(("first", "last"), [(3, 12), (1, 13), (5, 8), (13 - 5, 13)])
def test_the_others_do_not_count(first: int, last: int, stride: int | None, answerer: Answerer) -> None:
    """As if there were no others, to the last bit."""
    part = answerer.answer(volume(1, 13), RECORD, slices=(first, last), stride=stride).result
    alone = answerer.answer(volume(first, last), RECORD, stride=stride).result
    assert part.probabilities == alone.probabilities and part.positive == alone.positive
    assert [(one.logit, one.slices) for one in part.windows] == [(one.logit, one.slices) for one in alone.windows]
    assert [one.start_slice - first + 1 for one in part.windows] == [one.start_slice for one in alone.windows]


def test_the_highest_window_elsewhere_does_not_decide(answerer: Answerer) -> None:
    whole = answerer.answer(volume(1, 13), RECORD).result
    highest = max(whole.windows, key=lambda one: one.logit)
    others = [one for one in whole.windows if one is not highest]
    for one in others:
        span = (one.start_slice + 1, one.start_slice + 4)
        found = answerer.answer(volume(1, 13), RECORD, slices=span).result
        assert found.windows == (one,) and found.positive.logit == one.logit < highest.logit


def test_the_result_names_no_other_image(answerer: Answerer, tmp_path: Path) -> None:
    images = ct_series(HU)
    study = save(images, tmp_path / "study")
    result = answerer.answer(study, RECORD, slices="3-8").result
    assert [one.sop_instance_uid for one in result.evidence] == [image.SOPInstanceUID for image in images[2:8]]
    assert result.study.slices == 13 and result.options.slices == (3, 8)
    assert len([one for one in result.remarks if one.startswith("slices 3 to 8 of 13")]) == 1
    assert json.loads(result.to_json())["options"]["slices"] == [3, 8]
    assert Result.from_json(result.to_json()) == result
    assert deidentify(result, study).options.slices == (3, 8)
    around = answerer.answer(study, RECORD, slices="6-6").result
    assert [one.sop_instance_uid for one in around.evidence] == [image.SOPInstanceUID for image in images[3:7]]
    assert [(one.start_slice, one.slices) for one in around.windows] == [(3, 4)]


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answerer]:
    """Of the same network, which was given a lesion's windows and reads their slices in the record."""
    preprocessing = tiny_manifest()["preprocessing"]
    preprocessing["windows"] |= {"trained_on": "lesion", "lesion_field": "lesion_slices"}
    bundle = make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "lesion.mmcaf", preprocessing=preprocessing)
    with open_session(load_bundle(bundle), backend="onnxruntime", threads=1) as session:
        yield Answerer(session)


def test_other_forms_say_so_too(answerer: Answerer, tmp_path: Path) -> None:
    """Who reads a report or a picture sees no remarks."""
    study = save(ct_series(HU), tmp_path / "study")
    whole = answerer.answer(study, RECORD).result
    answer = answerer.answer(study, RECORD, slices="3-8")
    part = answer.result
    assert " · only 3 to 8 from the feet were scored · " in answer.to_html()
    assert whole.scored is None and part.scored == (3, 8) and deidentify(part).scored == (3, 8)
    assert answerer.answer(study, RECORD, slices="1-13").result.scored is None
    assert "slices" not in in_words(whole)
    check_facts(in_words(part), "Of 13 slices", "only 3 to 8")
    check_facts(to_fhir(part, None)["entry"][0]["resource"]["conclusion"], "Of 13 slices", "only 3 to 8")
    assert not any("scored" in text for text, _, _ in said_on_card(whole))
    assert [text for text, _, _ in said_on_card(part) if "13 slice(s), only 3 to 8 from the feet were scored" in text]
    old = replace(part, windows=tuple(replace(window, slices=None) for window in part.windows))
    assert old.scored is None


def test_a_structured_report_refers_to_what_was_scored(answerer: Answerer, tmp_path: Path) -> None:
    images = ct_series(HU)
    study = save(images, tmp_path / "study")
    for options, scored in (({"slices": "3-8"}, images[2:8]), ({}, images)):
        made = answerer.answer(study, RECORD, **options).to_dicom()
        report = dcmread(BytesIO(made[REPORT]))
        (series,) = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
        referred = {one.ReferencedSOPInstanceUID for one in series.ReferencedSOPSequence}
        assert referred == {image.SOPInstanceUID for image in scored}
        assert (b"only 3 to 8 from the feet were scored" in made[REPORT]) == bool(options)


@pytest.mark.parametrize(("options", "frames"), [({"slices": "3-8"}, [3, 4, 5, 6, 7, 8]), ({}, None)])
def test_of_an_image_of_several_frames_it_names_those(
    options: dict[str, Any], frames: list[int] | None, answerer: Answerer, tmp_path: Path
) -> None:
    study = save([enhanced_ct(HU)], tmp_path / "study")
    report = dcmread(BytesIO(answerer.answer(study, RECORD, **options).to_dicom("sr")[REPORT]))
    [group] = [one for one in report.ContentSequence if one.ConceptNameCodeSequence[0].CodeValue == "126010"]
    [source] = [one for one in group.ContentSequence[0].ContentSequence if one.ValueType == "IMAGE"]
    assert source.ReferencedSOPSequence[0].get("ReferencedFrameNumber") == frames


def test_the_record_says_which(answerer: Answerer, reading: Answerer) -> None:
    """The numbers are those of the option; the option is said only where it was given."""
    record = {**RECORD, "lesion_slices": "3-8"}
    by_record, by_option, both = (
        reading.answer(volume(1, 13), given, strict=True, **options).result
        for given, options in ((record, {}), (RECORD, {"slices": "3-8"}), (record, {"slices": [3, 8]}))
    )
    assert by_record.windows == by_option.windows == both.windows and by_record.positive == by_option.positive
    assert by_record.windows == answerer.answer(volume(1, 13), RECORD, slices="3-8").result.windows
    assert (by_record.options.slices, by_option.options.slices, both.options.slices) == (None, (3, 8), (3, 8))
    assert by_record.remarks == by_option.remarks
    with refused(StrictError, "lesion_slices", "2-7", option="strict"):
        reading.answer(volume(1, 13), record, slices="2-7", strict=True)


def test_the_whole_study_is_answered_as_before_with_a_remark(answerer: Answerer, reading: Answerer) -> None:
    told = reading.answer(volume(1, 13), RECORD, strict=True).result
    usual = answerer.answer(volume(1, 13), RECORD).result
    assert told.windows == usual.windows and told.probabilities == usual.probabilities
    (remark,) = set(told.remarks) - set(usual.remarks)
    check_facts(remark, "all 13 slices", "lesion")


def test_strict_accepts_it(answerer: Answerer) -> None:
    assert answerer.answer(volume(1, 13), RECORD, slices="3-8", strict=True).result.warnings == ()


def test_results_of_before_have_none(answerer: Answerer) -> None:
    """Of schema version 2 there are results that knew no such option."""
    result = answerer.answer(volume(1, 13), RECORD).result
    document = json.loads(result.to_json())
    assert document["options"].pop("slices", "absent") is None
    assert Result.from_json(json.dumps(document)) == result
