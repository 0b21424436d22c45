"""Constants that no network can have been trained with are refused when a manifest is read."""

from typing import Any

import pytest
from pydantic import ValidationError

from mmcaf_engine.manifest.arithmetic import single
from mmcaf_engine.manifest.image import ImageSpec
from mmcaf_engine.manifest.preprocessing import ClipScaleStep, SubtractStep, WindowSpec
from mmcaf_engine.manifest.table import CategoryField, NumberField

Part = (
    type[ImageSpec]
    | type[ClipScaleStep]
    | type[SubtractStep]
    | type[WindowSpec]
    | type[CategoryField]
    | type[NumberField]
)

GIVEN: dict[Part, dict[str, Any]] = {
    ImageSpec: {"size": (8, 8), "channels": 1, "mean": (0.5,), "std": (0.25,)},
    ClipScaleStep: {"lower": -100.0, "upper": 900.0},
    SubtractStep: {"value": 0.15897},
    WindowSpec: {"slices": 12, "stride": 6, "pad_value": -1000.0},
    CategoryField: {"name": "sex", "description": "", "categories": {"M": 1.0, "F": 2.0}},
    NumberField: {"name": "age", "description": "", "unit": "years", "minimum": 0, "maximum": 120},
}
RANGE = {"lower": 18.0, "upper": 90.0}
Z = {"scaling": "standardise", "mean": 60.0, "std": 12.0}

MEANT: list[tuple[Part, dict[str, Any]]] = [
    (ImageSpec, {}),
    (ImageSpec, {"mean": (123.675,), "std": (58.395,)}),
    (ClipScaleStep, {}),
    (ClipScaleStep, {"lower": -1e6, "upper": 1e6}),
    (SubtractStep, {"value": 32768.0}),
    (WindowSpec, {}),
    (CategoryField, {}),
    (CategoryField, {"categories": {"never": 0.0, "former": 1.0, "ex": 1.0}, "divisor": 3.0}),
    (CategoryField, {"categories": {"only": 7.0}}),
    (NumberField, RANGE),
    (NumberField, Z),
]

NOT_MEANT: dict[str, tuple[Part, dict[str, Any]]] = {
    "std-of-nothing": (ImageSpec, {"std": (1e-320,)}),
    "std-below-single": (ImageSpec, {"std": (1e-46,)}),
    "std-of-everything": (ImageSpec, {"std": (1e300,)}),
    "mean-of-everything": (ImageSpec, {"mean": (1e308,)}),
    "mean-that-hides-all": (ImageSpec, {"mean": (1e30,)}),
    "one-channel-of-three": (ImageSpec, {"channels": 3, "mean": (0.5,) * 3, "std": (0.25, 1e-320, 0.25)}),
    "range-beyond-single": (ClipScaleStep, {"lower": -1e308, "upper": 1e308}),
    "range-of-nothing": (ClipScaleStep, {"lower": 1e30, "upper": 1e30 + 1e15}),
    "ends-that-are-one": (ClipScaleStep, {"lower": 0.0, "upper": 1e-320}),
    "subtracted-everything": (SubtractStep, {"value": 1e308}),
    "subtracted-that-hides-all": (SubtractStep, {"value": -1e12}),
    "padding-beyond-single": (WindowSpec, {"pad_value": 1e39}),
    "divisor-of-nothing": (CategoryField, {"divisor": 1e-320}),
    "divisor-of-everything": (CategoryField, {"divisor": 1e300}),
    "category-beyond-single": (CategoryField, {"categories": {"M": 1.0, "F": 1e300}}),
    "deviation-of-nothing": (NumberField, {**Z, "std": 1e-320}),
    "average-that-hides-all": (NumberField, {**Z, "mean": 1e300}),
    "span-of-nothing": (NumberField, {"lower": 0.0, "upper": 1e-310}),
    "span-of-everything": (NumberField, {"lower": -1e308, "upper": 1e308}),
    "plausible-that-is-not": (NumberField, {**RANGE, "maximum": 1e300}),
}


@pytest.mark.parametrize(("part", "changes"), MEANT)
def test_constants_that_can_be_meant(part: Part, changes: dict[str, Any]) -> None:
    assert part.model_validate({**GIVEN[part], **changes})


@pytest.mark.parametrize(("part", "changes"), NOT_MEANT.values(), ids=NOT_MEANT)
def test_constants_that_cannot_be_meant(part: Part, changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="cannot be meant"):
        part.model_validate({**GIVEN[part], **changes})


@pytest.mark.parametrize(
    ("value", "expected"), [(0.1, 0.10000000149011612), (1e39, float("inf")), (1e-46, 0.0), (-2.0, -2.0)]
)
def test_single_precision(value: float, expected: float) -> None:
    assert single(value) == expected
