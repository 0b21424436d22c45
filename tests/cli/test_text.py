"""The answer as lines of text, made of results by hand."""

from dataclasses import replace

import pytest

from mmcaf_cli.text import render
from mmcaf_engine.bundle.accuracy import AccuracySummary
from mmcaf_engine.result.attended import Agreement, Attended, AttendedParts, Weight
from mmcaf_engine.result.deidentify import deidentify
from mmcaf_engine.result.parts import FieldInfluence, RecordSummary, Window
from mmcaf_engine.result.result import Result
from tiny_result import multilabel, tiny_result


def several(*probabilities: float) -> Result:
    """Windows of 12 slices, every 10th, of a study that ends with the last of them."""
    windows = tuple(Window(10 * at, 12, 0.0, share) for at, share in enumerate(probabilities))
    whole = tiny_result()
    study = replace(whole.study, slices=10 * (len(windows) - 1) + 12)
    return replace(whole, windows=windows, study=study, timing_ms={"total": 1234.0})


def line(result: Result, name: str) -> str:
    [found] = [line for line in render(result).splitlines() if line.strip().startswith(name)]
    return found.strip().removeprefix(name).strip()


def test_the_three_highest_windows_are_named_by_their_slices_counted_from_one() -> None:
    shown = line(several(0.1, 0.9, 0.3, 0.7), "slices")
    assert shown == "11-22 (0.900), 31-42 (0.700), 21-32 (0.300), of 42; scores of loud"
    assert line(several(0.5), "slices") == "1-12 (0.500), of 12; scores of loud"
    old = several(0.5)
    assert (
        line(replace(old, windows=(replace(old.windows[0], slices=None),)), "slices")
        == "from 1 (0.500), of 12; scores of loud"
    )


def test_windows_are_scores_of_the_label_that_was_given_or_the_most_probable_one() -> None:
    """A label that speaks against a disease has its own windows, and no window is called more than its score."""
    quiet = replace(several(0.4, 0.3), label="quiet", probabilities={"quiet": 0.4, "loud": 0.6})  # threshold 0.8
    assert line(quiet, "slices").endswith("; scores of quiet")
    both = replace(quiet, label="quiet and loud", probability=None, probabilities={"quiet": 0.6, "loud": 0.7})
    assert line(both, "slices").endswith("; scores of loud")


def test_the_model_is_named_with_its_version() -> None:
    whole = several(0.5)
    assert line(whole, "model") == "tiny, bundle 000000000000"
    named = replace(whole.model, version="1.4", signed_by={"name": "our lab", "key": "1"})
    assert line(replace(whole, model=named), "model") == "tiny 1.4, bundle 000000000000, signed by our lab"


def test_the_time_is_in_seconds() -> None:
    assert line(several(0.5), "engine") == "openvino fp32 on CPU, 1.23 s in all"


@pytest.mark.parametrize(
    ("features", "missing", "shown"),
    [
        ({"age": 0.5, "weight": 0.1}, (), "2 fields, none missing"),
        ({"age": 0.5, "age >= 50": 1.0}, ("age",), "1 fields, imputed: age"),
        ({"word_pieces": 12.0}, (), "a report of 12 word pieces"),
        ({"word_pieces": 0.0}, ("report",), "no report"),
        ({"age": 0.5, "word_pieces": 7.0}, ("report",), "1 fields, none missing, a report of 7 word pieces"),
    ],
)
def test_what_was_read_of_the_record(features: dict[str, float], missing: tuple[str, ...], shown: str) -> None:
    assert line(replace(several(0.5), record=RecordSummary(features, missing, None, None, ())), "record") == shown
    assert line(replace(several(0.5), record=None), "record") == "none needed"


def test_of_a_deidentified_record_nothing_is_counted() -> None:
    assert line(deidentify(tiny_result()), "record").startswith("not shown, imputed: weight")


def test_a_change_names_its_label_where_the_answer_is_no_single_one() -> None:
    moved = FieldInfluence("age", 63.0, 50.0, "mean", "quiet", 0.2, 0.5)
    for result, said in ((tiny_result(), "+0.500 by age"), (several_present(), "+0.500 of mass by age")):
        assert result.record is not None
        assert line(replace(result, record=replace(result.record, influence=(moved,))), "moved").startswith(said)


def several_present() -> Result:
    """Mass and effusion, of which mass is likelier."""
    one = multilabel()
    findings = tuple(replace(finding, present=True) for finding in one.findings)
    return replace(one, label="mass, effusion", probability=None, findings=findings)


@pytest.mark.parametrize(("auroc", "shown"), [(-0.0123, "-0.0123"), (0.01, "+0.0100"), (None, "not measured")])
def test_what_the_precision_costs(auroc: float | None, shown: str) -> None:
    cost = AccuracySummary(
        cohort="demo:0-9", studies=10, max_probability_difference=0.0105, flips=1, auroc_difference=auroc
    )
    whole = several(0.5)
    said = line(replace(whole, engine=replace(whole.engine, precision="int8", accuracy=cost)), "precision")
    assert "probability within 0.0105, 1 label(s) changed" in said and said.endswith(f"AUROC {shown}")


def test_warnings_remarks_and_the_disclaimer_come_last() -> None:
    shown = render(replace(tiny_result("a gap", "old"), disclaimer="Research only.")).splitlines()
    assert [text.strip() for text in shown[-5:]] == [
        "warning       a gap",
        "warning       old",
        "remark        a gap",
        "remark        old",
        "Research only.",
    ]


def test_what_was_attended_to() -> None:
    weights = tuple(Weight(f"word{at}", 0.1 * at) for at in range(8))
    words = AttendedParts("w", "words", "share of a word", "words", weights, 0.25)
    fields = AttendedParts("f", "fields", "", "fields", (Weight("age", 0.75), Weight("sex", 0.0004)), None)
    agreement = Agreement(("a", "b"), 0.4321, 0.5, 5, 120, "phantoms")
    result = replace(several(0.5), attention=Attended((words, fields), agreement))
    shown = line(result, "words  ")
    assert shown.startswith("word7 0.700, word6 0.600,") and "word2" in shown and "word1" not in shown
    assert shown.endswith("; [CLS] and [SEP] 0.250")
    assert line(result, "fields  ") == "age 0.750, sex below 0.001"
    assert "words: share of a word" in render(result)
    assert line(result, "agreement") == "0.43 of a and b (95 % of 120 studies: 0.50 or more)"
    hidden = replace(words, weights=())
    assert line(replace(result, attention=Attended((hidden,), None)), "words  ").startswith("not shown")
    assert "agreement" not in render(replace(result, attention=Attended((), None)))
