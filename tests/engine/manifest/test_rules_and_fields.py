"""Rules, fields, steps and tensors of a manifest, each by itself: what it computes, and what it refuses."""

from typing import Any

import pytest

from mmcaf_engine.manifest import (
    BodyPartRule,
    BValues,
    CategoryField,
    ClipScaleStep,
    Code,
    Cut,
    NumberField,
    PreprocessingSpec,
    Provenance,
    SeriesRule,
    TableSpec,
    TensorSpec,
    TextSpec,
    Turn,
)
from mmcaf_engine.manifest.attention import AttentionSpec, weighed_input
from tiny_bundle import ORIGIN

AGE: dict[str, Any] = {
    "name": "age",
    "description": "Age",
    "unit": "years",
    "minimum": 0,
    "maximum": 120,
    "lower": 20,
    "upper": 90,
}
SEX: dict[str, Any] = {"name": "sex", "description": "Sex", "categories": {"M": 1, "F": 0}}
OBSERVED = {"resource": "Observation", "codes": ["30525-0"]}
BY_MEAN = {"scaling": "standardise", "lower": None, "upper": None, "mean": 60, "std": 4}


# Body parts


@pytest.mark.parametrize(
    ("rule", "verdicts"),
    [
        ({"accepted": ["CHEST"]}, {"CHEST": "accepted", " chest ": "accepted", "": "accepted", "HEAD": "warned"}),
        ({"warned": ["HEAD"]}, {"CHEST": "accepted", "Head": "warned", " ": "accepted"}),
        ({"refused": ["Head"]}, {"CHEST": "accepted", "HEAD ": "refused", "": "accepted"}),
        ({"accepted": ["CHEST"], "refused": ["HEAD"]}, {"head": "refused", "ABDOMEN": "warned", "": "accepted"}),
    ],
    ids=["accepted", "warned", "refused", "both"],
)
def test_verdicts_on_body_parts(rule: dict[str, Any], verdicts: dict[str, str]) -> None:
    found = BodyPartRule(**rule)
    assert {value: found.verdict(value) for value in verdicts} == verdicts


@pytest.mark.parametrize("rule", [{}, {"accepted": ["CHEST", "chest"]}, {"accepted": ["A"], "refused": ["a"]}])
def test_a_rule_of_body_parts_names_each_once(rule: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        BodyPartRule(**rule)


# Series


@pytest.mark.parametrize("word", ["t2", "t2*", "*dwi*", "*b800", "arterial phase", "t1 vibe*"])
def test_words_of_a_rule(word: str) -> None:
    assert SeriesRule(words=(word,)).words == (word,)


@pytest.mark.parametrize("word", ["", " ", "T2", "t2+", "t2 ", "a  b", "*", "a*b", "**a", "a/b", "é"])
def test_what_is_no_word_of_a_rule(word: str) -> None:
    with pytest.raises(ValueError):
        SeriesRule(words=(word,))


def test_a_rule_asks_for_something() -> None:
    for given in (
        {"contrast": False},
        {"contrast": True},
        {"image_type": ("ORIGINAL",)},
        {"turn": {"position": 1, "of": 2}},
    ):
        SeriesRule.model_validate(given)
    for given in ({}, {"without": ("localizer",)}, {"without_image_type": ("DERIVED",)}):
        with pytest.raises(ValueError):
            SeriesRule.model_validate(given)


def test_ranges_of_a_rule() -> None:
    assert BValues(minimum=800, maximum=800).maximum == 800
    assert Turn(position=3, of=3).of == 3
    with pytest.raises(ValueError):
        BValues(minimum=801, maximum=800)
    with pytest.raises(ValueError):
        Turn(position=4, of=3)


# The table


def test_features_of_numbers() -> None:
    assert NumberField(**AGE).feature(20) == 0
    assert NumberField(**AGE).feature(90) == 1
    assert NumberField(**AGE).feature(62) == pytest.approx(0.6)
    assert NumberField(**{**AGE, **BY_MEAN}).feature(66) == 1.5


@pytest.mark.parametrize(("direction", "sides"), [("above", (0, 1, 1)), ("below", (1, 1, 0))])
def test_a_cut_holds_its_own_value(direction: Any, sides: tuple[float, ...]) -> None:
    cut = Cut(value=60, direction=direction)
    assert tuple(cut.indicator(value) for value in (59.9, 60, 60.1)) == sides
    assert cut.condition("age") == f"age {'>=' if direction == 'above' else '<='} 60"


def test_the_width_of_a_table_is_its_fields_and_cuts() -> None:
    cut = {"value": 60, "direction": "above"}
    fields = [{"kind": "category", **SEX}, {"kind": "number", **AGE, "cut": cut}]
    table = TableSpec.model_validate({"fields": fields})
    assert table.width == 3 and [field.name for field in table.cuts] == ["age"]
    for wrong in ({"fields": [fields[0], fields[0]]}, {"fields": fields, "ignored": ["age"]}, {"fields": []}):
        with pytest.raises(ValueError):
            TableSpec.model_validate(wrong)


@pytest.mark.parametrize(
    "changes",
    [
        {"minimum": 120},
        {"lower": 90},
        {"lower": 91},
        {"lower": None},
        {"mean": 60},
        {"std": 4},
        {**BY_MEAN, "mean": None},
        {**BY_MEAN, "upper": 90},
        {**BY_MEAN, "std": 0},
        {"missing": {"policy": "impute", "value": 121}},
        {"missing": {"policy": "impute", "value": -1}},
        {"missing": {"policy": "impute", "value": "old"}},
        {"max_age_days": 30},
        {"max_age_days": 30, "fhir": {"resource": "Patient", "element": "birthDate"}},
        {"maximum": float("inf")},
        {"lower": float("nan")},
    ],
    ids=str,
)
def test_a_number_field_that_is_refused(changes: dict[str, Any]) -> None:
    NumberField.model_validate({**AGE, "max_age_days": 30, "fhir": OBSERVED})
    NumberField.model_validate({**AGE, "missing": {"policy": "impute", "value": 120}})
    with pytest.raises(ValueError):
        NumberField.model_validate({**AGE, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"synonyms": {"male": "X"}},
        {"fhir": {**OBSERVED, "answers": {"LA1": "X"}}},
        {"missing": {"policy": "impute", "value": "X"}},
        {"categories": {}},
        {"divisor": 0},
        {"max_age_days": 30},
    ],
    ids=str,
)
def test_a_category_field_that_is_refused(changes: dict[str, Any]) -> None:
    CategoryField.model_validate(
        {**SEX, "synonyms": {"m": "M"}, "fhir": {**OBSERVED, "answers": {"LA2": "F"}}, "max_age_days": 30}
    )
    CategoryField.model_validate({**SEX, "missing": {"policy": "impute", "value": "F"}})
    with pytest.raises(ValueError):
        CategoryField.model_validate({**SEX, **changes})


# Preprocessing


def spec(steps: list[dict[str, Any]], *, windows: bool = False, axes: str = "SPL") -> PreprocessingSpec:
    stacked = {"slices": 4, "stride": 2, "pad_value": 0} if windows else None
    return PreprocessingSpec.model_validate(
        {"modality": "CT", "intensity": "stored", "windows": stacked, "steps": steps, "axes": axes}
    )


RESIZE_VOLUME = {"step": "resize_volume", "size": [4, 8, 8]}
CROP = {"step": "center_crop", "rows": 8, "columns": 8}
SUBTRACT = {"step": "subtract", "value": 1}


@pytest.mark.parametrize(("axes", "at"), [("SPL", 0), ("IAR", 0), ("LAS", 2), ("PSL", 1), ("RIP", 1)])
def test_the_axis_of_slices(axes: str, at: int) -> None:
    assert spec([], windows=True, axes=axes).slice_axis == at


@pytest.mark.parametrize("axes", ["SPP", "SPA", "SIL", "LRS", "SP", "SPLA", "spl", ""])
def test_what_are_no_axes(axes: str) -> None:
    with pytest.raises(ValueError):
        spec([], windows=True, axes=axes)


def test_the_order_of_steps() -> None:
    assert spec([CROP, RESIZE_VOLUME, SUBTRACT]).size == (4, 8, 8)
    assert spec([CROP, SUBTRACT], windows=True).size is None
    for steps, windows in (
        ([CROP], False),
        ([RESIZE_VOLUME], True),
        ([RESIZE_VOLUME, RESIZE_VOLUME], False),
        ([RESIZE_VOLUME, CROP], False),
        ([{"step": "standardise"}, CROP, RESIZE_VOLUME], False),
        ([{"step": "standardise"}], True),
    ):
        with pytest.raises(ValueError):
            spec(steps, windows=windows)


@pytest.mark.parametrize("lower", [900.0, 900.5])
def test_a_range_is_not_empty(lower: float) -> None:
    with pytest.raises(ValueError):
        ClipScaleStep(lower=lower, upper=900.0)


# Tensors


@pytest.mark.parametrize(
    "tensor",
    [
        {"kind": "table", "shape": ["N", 2]},
        {"kind": "tokens", "dtype": "int64", "shape": ["N", "L"]},
        {"kind": "words", "shape": ["N", "L", 4]},
        {"kind": "attention", "shape": ["N", 4], "optional": True},
        {"kind": "attention", "shape": ["N", "L"]},
    ],
    ids=lambda tensor: tensor["kind"],
)
def test_a_tensor(tensor: dict[str, Any]) -> None:
    assert TensorSpec.model_validate({"name": "x", **tensor}).kind == tensor["kind"]


@pytest.mark.parametrize(
    "tensor",
    [
        {"kind": "table", "shape": [1, 2]},
        {"kind": "table", "shape": ["N", "N"]},
        {"kind": "table", "shape": ["N", "L"]},
        {"kind": "table", "shape": ["N", 0]},
        {"kind": "table", "dtype": "int64", "shape": ["N", 2]},
        {"kind": "tokens", "dtype": "float32", "shape": ["N", "L"]},
        {"kind": "tokens", "dtype": "int64", "shape": ["N", 8]},
        {"kind": "token_mask", "dtype": "int64", "shape": ["N", "L", 1]},
        {"kind": "score", "shape": ["N", 1], "optional": True},
        {"kind": "score", "shape": ["N", "L"]},
        {"kind": "attention", "shape": ["N", "L", 4]},
    ],
    ids=str,
)
def test_a_tensor_that_is_refused(tensor: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        TensorSpec.model_validate({"name": "x", **tensor})


def test_the_input_that_attention_weighs() -> None:
    kinds = (
        ("table", "table", (2,)),
        ("image", "image", (1, 4, 4)),
        ("t1", "volume", (1, 4, 4, 4)),
        ("t2", "volume", (1, 4, 4, 4)),
        ("ids", "tokens", ("L",)),
        ("mask", "token_mask", ("L",)),
    )
    inputs = [
        TensorSpec(name=name, kind=kind, dtype="int64" if "L" in shape else "float32", shape=("N", *shape))  # type: ignore[arg-type]
        for name, kind, shape in kinds
    ]

    def weighed(name: str | None) -> str | None:
        found = weighed_input(AttentionSpec(output="w", title="W", grid=(2, 2), input=name), inputs)
        return None if found is None else found.name

    assert {name: weighed(name) for name in (None, "t1", "t2", "image", "table", "ids", "mask", "other")} == {
        None: "t1",
        "t1": "t1",
        "t2": "t2",
        "image": "image",
        "table": "table",
        "ids": "ids",
        "mask": None,
        "other": None,
    }


# Text, codes and where it came from


@pytest.mark.parametrize("buckets", [[], [64, 32], [32, 32, 64], [32], [32, 128], [1, 64]])
def test_buckets_ascend_to_the_longest_text(buckets: list[int]) -> None:
    assert TextSpec(lowercase=True, max_tokens=64, buckets=(32, 64)).buckets == (32, 64)
    with pytest.raises(ValueError):
        TextSpec.model_validate({"lowercase": True, "max_tokens": 64, "buckets": buckets})


@pytest.mark.parametrize("meaning", ["", " Mass", "Mass\\Nodule", "Mass\n", "x" * 65])
def test_a_code_is_what_dicom_can_hold(meaning: str) -> None:
    assert Code(scheme="SCT", value="4147007", meaning="Mass").value == "4147007"
    with pytest.raises(ValueError):
        Code(scheme="SCT", value="4147007", meaning=meaning)


def test_layers_that_are_left_in_fp32() -> None:
    def of(**entries: Any) -> Any:
        return Provenance.model_validate({**ORIGIN["provenance"], **entries})

    fp16 = {"layers": 3, "kept": {"head": "overflows"}}
    bf16 = {"layers": 5, "kept": {"stem": "loses digits", "tail": "too"}}
    assert of().spared() == {}
    assert of(fp16=fp16).spared() == {"fp16": ("head",)}
    assert of(fp16=fp16, bf16=bf16).spared() == {"fp16": ("head",), "bf16": ("stem", "tail")}
    assert "fp16" not in of().model_dump() and of(fp16=fp16).model_dump()["fp16"] == fp16
