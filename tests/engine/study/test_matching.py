"""Which series an input is, rule by rule, without any file."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from pydicom.dataset import Dataset

from mmcaf_engine.errors import StudyError
from mmcaf_engine.manifest import SeriesSpec
from mmcaf_engine.study.dicom.tags import Tags
from mmcaf_engine.study.selection.matching import b_in_words, match_series, words
from mmcaf_engine.study.selection.series import Candidate, Catalogue


def series(
    number: int,
    description: str = "",
    *,
    acquired: str = "",
    b_value: float | None = None,
    plane: int = 2,
    **header: Any,
) -> Candidate:
    dataset = Dataset()
    dataset.SeriesDescription = description
    for keyword, value in header.items():
        setattr(dataset, keyword, value)
    image_type = tuple(header.get("ImageType", ["ORIGINAL", "PRIMARY"]))
    tags = Tags(dataset, "image")
    frame: Any = SimpleNamespace(
        instance=SimpleNamespace(tags=tags),
        b_value=b_value,
        image_type=image_type,
        acquired=acquired,
        rows=8,
        columns=8,
    )
    return Candidate(
        "1", f"1.{number}", number, "MR", description, "", plane, (frame,), 10, 3.0, 27.0, patient="A", number=number
    )


def matched(rules: list[dict[str, Any]] | dict[str, Any], *candidates: Candidate, chosen: Any = None) -> int | None:
    """The number of the series that fits, None where none or several do."""
    match = rules if isinstance(rules, list) else [rules]
    spec = SeriesSpec.model_validate({"input": "x", "description": "a series", "match": match})
    try:
        (found,) = match_series(Catalogue(candidates), [spec], "study", modality="MR", chosen=chosen or {})
    except StudyError:
        return None
    return found.chosen.number


@pytest.mark.parametrize(
    ("word", "description", "fits"),
    [
        ("t2", "T2 axial", True),
        ("t2", "T2W axial", False),
        ("t2*", "t2w_tse", True),
        ("t2*", "xt2w", False),
        ("*t2", "fs-ax-wt2", True),
        ("*t2", "t2w", False),
        ("*diff*", "ep2d_mydiffusion", True),
        ("*diff*", "dif fusion", False),
        ("late phase", "VIBE late-phase", True),
        ("late phase", "late VIBE phase", False),
        ("phase late", "late phase", False),
        ("late pha*", "late phases", True),
    ],
)
def test_words(word: str, description: str, fits: bool) -> None:
    assert matched({"words": [word]}, series(1, description)) == (1 if fits else None)
    assert matched({"words": ["never", word]}, series(1, "other", ProtocolName=description)) == (1 if fits else None)
    other = {"contrast": False, "without": [word]}
    assert matched(other, series(1, description)) == (None if fits else 1)


@pytest.mark.parametrize(
    ("header", "b_value", "fits"),
    [
        ({}, 500.0, True),
        ({}, 1000.0, True),
        ({}, 499.9, False),
        ({}, 1000.1, False),
        ({}, None, False),
        ({"SequenceName": "ep_b800t"}, None, True),
        ({"SequenceName": "ep_b50t"}, None, False),
        ({"SequenceName": "ep_b50t"}, 800.0, True),
    ],
)
def test_b_values_with_their_ends(header: dict[str, Any], b_value: float | None, fits: bool) -> None:
    rule = {"b_value": {"minimum": 500, "maximum": 1000}}
    assert matched(rule, series(1, "dwi", b_value=b_value, **header)) == (1 if fits else None)


@pytest.mark.parametrize(
    ("rule", "number"),
    [
        ({"image_type": ["ADC"]}, 2),
        ({"image_type": ["adc"]}, 2),
        ({"words": ["dwi"], "without_image_type": ["adc"]}, 1),
        ({"words": ["dwi"]}, None),
        ({"contrast": True}, 3),
        ({"contrast": False, "words": ["t1"]}, 4),
    ],
    ids=str,
)
def test_image_types_and_contrast(rule: dict[str, Any], number: int | None) -> None:
    found = (
        series(1, "dwi", ImageType=["ORIGINAL", "PRIMARY"]),
        series(2, "dwi", ImageType=["ORIGINAL", "PRIMARY", "ADC"]),
        series(3, "t1", ContrastBolusAgent="Gd"),
        series(4, "t1"),
    )
    assert matched(rule, *found) == number


TIMES = {1: "20240506101500", 2: "20240506101000", 3: "20240506102000"}


@pytest.mark.parametrize("position", [1, 2, 3])
def test_turns_by_acquisition_time(position: int) -> None:
    rule = {"words": ["vibe"], "turn": {"position": position, "of": 3}}
    found = [series(at, "vibe", acquired=time) for at, time in TIMES.items()]
    assert matched(rule, *found) == {1: 2, 2: 1, 3: 3}[position]
    assert matched(rule, *found, series(4, "t2", acquired="20240506100000")) == {1: 2, 2: 1, 3: 3}[position]


@pytest.mark.parametrize(("position", "number"), [(1, 1), (2, 2)])
def test_a_series_takes_its_turn_by_its_first_slice(position: int, number: int) -> None:
    """A breath-hold may be acquired within one that began before it and ends after it."""
    rule = {"words": ["vibe"], "turn": {"position": position, "of": 2}}
    spans = {1: ("20240506101500", "20240506101000"), 2: ("20240506101100", "20240506101200")}
    parts = {at: [series(at, "vibe", acquired=time) for time in times] for at, times in spans.items()}
    found = [replace(one, frames=(*one.frames, *other.frames)) for one, other in parts.values()]
    assert matched(rule, *found) == number


@pytest.mark.parametrize(
    "times",
    [("1015", "1010"), ("1015", "1010", "1020", "1030"), ("1015", "1010", "1015"), ("1015", "1010", ""), ("", "", "")],
    ids=["too-few", "too-many", "two-at-once", "one-unknown", "all-unknown"],
)
def test_no_turn_where_times_do_not_tell(times: tuple[str, ...]) -> None:
    rule = {"words": ["vibe"], "turn": {"position": 1, "of": 3}}
    assert matched(rule, *(series(at, "vibe", acquired=time) for at, time in enumerate(times, start=1))) is None


def test_the_first_rule_that_one_fits_decides() -> None:
    rules = [{"words": ["arterial"]}, {"words": ["vibe"]}]
    assert matched(rules, series(1, "vibe"), series(2, "arterial")) == 2
    assert matched(rules, series(1, "vibe"), series(2, "t2")) == 1
    assert matched(rules, series(1, "vibe"), series(2, "vibe")) is None
    assert matched(rules, series(1, "vibe"), series(2, "vibe", plane=1)) == 1
    assert matched(rules, series(1, "vibe"), series(2, "vibe", ImageType=["DERIVED"])) == 1


def test_what_a_caller_says_comes_before_the_rules() -> None:
    found = series(1, "t2"), series(2, "other")
    assert matched({"words": ["t2"]}, *found, chosen={"x": "2"}) == 2
    assert matched({"words": ["t2"]}, *found, chosen={"x": "1.1"}) == 1
    assert matched({"words": ["t2"]}, *found, chosen={"x": "3"}) is None


def test_one_series_is_not_two_inputs() -> None:
    specs = [
        SeriesSpec.model_validate({"input": name, "description": name, "match": [{"words": [word]}]})
        for name, word in (("a", "t2"), ("b", "tse"))
    ]
    apart = match_series(Catalogue((series(1, "t2"), series(2, "tse"))), specs, "study", modality="MR", chosen={})
    assert [(one.input, one.chosen.number) for one in apart] == [("a", 1), ("b", 2)]
    with pytest.raises(StudyError):
        match_series(Catalogue((series(1, "t2 tse"),)), specs, "study", modality="MR", chosen={})
    with pytest.raises(StudyError):
        both = {"a": "1", "b": "1"}
        match_series(Catalogue((series(1, "x"), series(2, "y"))), specs, "study", modality="MR", chosen=both)


def test_words_of_a_text() -> None:
    assert words("T2W_tse (FS), b=800") == ("t2w", "tse", "fs", "b", "800")
    assert b_in_words([words("ep_b800t"), words("b=800")]) == 800
    assert b_in_words([words("b50 b800")]) is None
    assert b_in_words([words("ep2d b50 800 trace")]) is None
    assert b_in_words([words("dwi b50"), words("b50 50")]) == 50
    assert b_in_words([words("abdomen"), ()]) is None
