"""Settings: where a dotted path leads, how its value is read, and what a wrong one is told."""

import copy
from typing import Any

import pytest

from mmcaf_engine.errors import ExportError
from mmcaf_export.networks.mmcaf import MmcafConfig
from mmcaf_export.networks.mmcaf.entry import MmcafEntry
from mmcaf_export.settings import apply_settings, configure, split_settings, with_absent_fields
from refusals import Fact, refused

DEFAULT = MmcafEntry().manifest(MmcafConfig())


def at(document: Any, path: str) -> Any:
    """The value at a dotted path whose list entries are positions."""
    for part in path.split("."):
        document = document[int(part) if isinstance(document, list) else part]
    return document


@pytest.mark.parametrize(
    ("setting", "text", "place", "value"),
    [
        ("name", "lung", "name", "lung"),
        ("name", "2024", "name", "2024"),
        ("name", '"quoted"', "name", "quoted"),
        ("threshold", "0.4", "threshold", 0.4),
        ("demonstration", "true", "demonstration", True),
        ("preprocessing.intensity", "stored", "preprocessing.intensity", "stored"),
        ("preprocessing.windows.stride", "6", "preprocessing.windows.stride", 6),
        ("preprocessing.steps.resize.rows", "208", "preprocessing.steps.0.rows", 208),
        ("preprocessing.steps.subtract.value", "0.2", "preprocessing.steps.2.value", 0.2),
        ("preprocessing.steps", "[]", "preprocessing.steps", []),
        ("table.fields.age.upper", "85", "table.fields.1.upper", 85),
        ("table.fields.sex.categories.F", "2", "table.fields.0.categories.F", 2),
        ("table.fields.weight.missing", '{"policy": "impute", "value": 70}', "table.fields.2.missing.value", 70),
        ("labels.1", "squamous", "labels.1", "squamous"),
    ],
)
def test_setting(setting: str, text: str, place: str, value: object) -> None:
    before = repr(DEFAULT)
    assert at(apply_settings(DEFAULT, {setting: text}), place) == value
    assert repr(DEFAULT) == before


@pytest.mark.parametrize(
    ("setting", "facts"),
    [
        ("treshold", ("treshold", "name", "description")),
        ("table.fields.height.upper", ("'height'", "table.fields", "sex", "age", "weight", "t_stage", "n_stage")),
        ("table.fields.age.scale", ("'scale'", "table.fields.age", "kind", "name", "description", "unit")),
        ("preprocessing.steps.crop.rows", ("'crop'", "preprocessing.steps", "resize", "clip_scale", "subtract")),
        ("threshold.low", ("'low'", "threshold")),
        ("files.model", ("'files'", "name")),
        ("network.name", ("'network'", "name")),
        ("", ("''", "name")),
    ],
)
def test_unknown_path_lists_what_there_is(setting: str, facts: tuple[Fact, ...]) -> None:
    with refused(ExportError, *facts):
        apply_settings(DEFAULT, {setting: "1"})


def test_settings_of_the_network_are_parted_from_the_manifest() -> None:
    parted = split_settings({"network.config.slices": "8", "threshold": "0.4"})
    assert parted == ({"slices": "8"}, {"threshold": "0.4"})


def test_configuration() -> None:
    found = configure(MmcafConfig(), {"slices": "8", "size": "64", "width": "2", "fusion": "mean"})
    assert found == MmcafConfig(slices=8, size=64, width=2.0, fusion="mean")


@pytest.mark.parametrize(
    ("name", "text", "facts"),
    [
        ("slice", "8", ("'slice'", "network.config", "slices", "size", "width", "fusion")),
        ("slices", "8.5", ("slices", "int", 12, "'8.5'", "float")),
        ("slices", "true", ("slices", "int", 12, "'true'", "bool")),
        ("slices", "many", ("slices", "int", 12, "'many'", "str")),
        ("slices", "10", ("slices", 10)),
        ("fusion", "sum", ("fusion", "'sum'")),
    ],
)
def test_impossible_configuration(name: str, text: str, facts: tuple[Fact, ...]) -> None:
    with refused(ExportError, *facts):
        configure(MmcafConfig(), {name: text})


@pytest.mark.parametrize(
    ("settings", "path", "value"),
    [
        ({"release": "3"}, ("release",), 3),
        ({"version": "3.1"}, ("version",), "3.1"),
        ({"identity": "required"}, ("identity",), "required"),
        ({"body_part": '{"accepted": ["CHEST"]}'}, ("body_part", "accepted"), ["CHEST"]),
        ({"table.fields.weight.max_age_days": "90"}, ("table", "fields", 2, "max_age_days"), 90),
        ({"preprocessing.windows.trained_on": "study"}, ("preprocessing", "windows", "trained_on"), "study"),
        ({"preprocessing.windows.lesion_field": "roi"}, ("preprocessing", "windows", "lesion_field"), "roi"),
        ({"attention_agreement": '{"bound": 0.5}'}, ("attention_agreement", "bound"), 0.5),
        ({"label_codes.adenocarcinoma.value": "1"}, ("label_codes", "adenocarcinoma", "value"), "1"),
    ],
    ids=lambda given: next(iter(given)) if isinstance(given, dict) else None,
)
def test_what_a_manifest_leaves_out_can_be_set(settings: dict[str, str], path: tuple[Any, ...], value: Any) -> None:
    found: Any = apply_settings(with_absent_fields(DEFAULT), settings)
    for part in path:
        found = found[part]
    assert found == value


def test_windows_of_any_network_can_be_a_lesions() -> None:
    windows = {"slices": 4, "stride": 4, "pad_value": 0.0}
    full = with_absent_fields({"preprocessing": {"windows": windows, "steps": []}})
    assert full["preprocessing"]["windows"] == {**windows, "trained_on": "study", "lesion_field": None, "order": "head"}
    assert with_absent_fields({"preprocessing": {"windows": None}})["preprocessing"]["windows"] is None
    own = DEFAULT["preprocessing"]["windows"]
    assert (own["trained_on"], own["lesion_field"]) == ("lesion", "lesion_slices")
    assert "preprocessing.windows.trained_on" in MmcafEntry().assumed(MmcafConfig(), {})


def test_what_attention_means_can_be_set() -> None:
    full = with_absent_fields({"attention": [{"output": "alpha"}, {"output": "beta", "meaning": "a share"}]})
    found = apply_settings(full, {"attention.0.meaning": "another share"})
    assert [one["meaning"] for one in found["attention"]] == ["another share", "a share"]


def test_absent_fields_change_nothing() -> None:
    before = copy.deepcopy(DEFAULT)
    full = with_absent_fields(DEFAULT)
    assert list(full)[: len(DEFAULT)] == list(DEFAULT)
    full["label_codes"]["x"] = 1
    assert before == DEFAULT and "x" not in with_absent_fields({})["label_codes"]
