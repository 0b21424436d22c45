"""What an export of MMCAF-Net says that it assumed: all that moves the answer, each until a setting settles it."""

import re
import shlex
from typing import Any

import pytest

from export.mmcaf_networks import SLIM
from mmcaf_engine.errors import ExportError
from mmcaf_engine.manifest import AggregationSpec, PreprocessingSpec, TableSpec
from mmcaf_export.assumptions import unsettled
from mmcaf_export.networks.mmcaf import MmcafConfig
from mmcaf_export.networks.mmcaf.entry import MmcafEntry
from mmcaf_export.settings import apply_settings, arranged, split_settings, with_absent_fields
from refusals import Fact, refused

ENTRY = MmcafEntry()
CONFIG = MmcafConfig()
ASSUMED = ENTRY.assumed(CONFIG, {})
TOPICS = {
    "Hounsfield": "preprocessing.intensity",
    "from the feet to the head": "preprocessing.axes",
    "wraps to 64536": "preprocessing.windows.pad_value",
    "a whole chest": "preprocessing.windows.trained_on",
    "side by side": "preprocessing.windows.stride",
    "208 x 208": "preprocessing.steps",
    "as OpenCV rounds": "preprocessing.steps.resize.rounding",
    "columns were sex, age, weight": "table.order",
    "sex was coded": "table.fields.sex.categories",
    "T stages were coded": "table.fields.t_stage.categories",
    "N stages were coded": "table.fields.n_stage.categories",
    "M stages were coded": "table.fields.m_stage.categories",
    "T stages were divided by 10": "table.fields.t_stage.divisor",
    "N stages were divided by 10": "table.fields.n_stage.divisor",
    "M stages were divided by 10": "table.fields.m_stage.divisor",
    "smoking history": "table.fields.smoking_history.categories",
    "label 0 is adenocarcinoma": "labels",
    "a probability of 0.5": "threshold",
    "the highest of its windows": "aggregation.method",
}


def said(*settings: str, config: MmcafConfig = CONFIG, **metadata: str) -> tuple[str, ...]:
    return unsettled(ENTRY.assumed(config, metadata), settings)


def made(**settings: str) -> dict[str, Any]:
    """The default manifest's fields after these settings, with dots in place of double underscores."""
    given = {path.replace("__", "."): text for path, text in settings.items()}
    return arranged(apply_settings(with_absent_fields(ENTRY.manifest(CONFIG)), given), given)


@pytest.mark.parametrize("topic", TOPICS)
def test_each_is_said_until_its_setting_is_given(topic: str) -> None:
    before = said()
    (line,) = (text for text in before if topic in text)
    assert line.startswith("assumed that ")
    after = said(TOPICS[topic])
    assert line not in after and set(before) - set(after) <= {line, *(text for text in before if "OpenCV" in text)}


def test_nothing_else_is_assumed_and_all_can_be_settled() -> None:
    assert len(said()) == len(TOPICS) + 3  # the window's size, and the ranges of age and weight
    everything = [path for key in ASSUMED for path in ((key,) if isinstance(key, str) else key)]
    assert said(*everything) == ()


def test_what_several_settings_settle_needs_them_all() -> None:
    age = next(text for text in said() if "20-90 years" in text)
    assert age in said("table.fields.age.upper") and age in said("table.fields.age.lower")
    assert age not in said("table.fields.age.lower", "table.fields.age.upper")
    assert age not in said("table.fields.age")


def test_another_setting_of_a_field_settles_nothing() -> None:
    """Nor does one whose name begins alike."""
    assert said("table.fields.weight.max_age_days", "table.fields.sex.synonyms", "thresholds", "labels_of") == said()


@pytest.mark.parametrize(
    ("config", "metadata", "refused_by_them", "given"),
    [
        (CONFIG, {}, False, True),
        (CONFIG, {"slices": "12", "size": "192"}, False, False),
        (SLIM, {}, True, True),
        (SLIM, {"slices": "12", "size": "96"}, True, True),
        (MmcafConfig(slices=24), {}, True, True),
    ],
)
def test_window_sizes_that_the_authors_code_refuses(
    config: MmcafConfig, metadata: dict[str, str], refused_by_them: bool, given: bool
) -> None:
    window = f"{config.slices} x {config.size} x {config.size}"
    lines = [text for text in said(config=config, **metadata) if window in text]
    assert len(lines) == given
    assert all(("refuses" in text) == refused_by_them for text in lines)
    both = ("network.config.slices", "network.config.size")
    assert not [text for text in said(*both, config=config, **metadata) if window in text]
    if given:
        assert lines[0] in said(both[1], config=config, **metadata)


def test_every_setting_that_is_proposed_makes_what_it_says() -> None:
    """The commands are copied from the lines as a shell reads them."""
    found = [text for line in said() for text in re.findall(r"--set ('[^']*'|[^\s,;]+)", line) if "..." not in text]
    given = dict(shlex.split(text)[0].split("=", 1) for text in found)
    assert {"preprocessing.steps", "preprocessing.axes", "table.order", "labels", "aggregation.method"} <= set(given)
    _, given = split_settings(given)
    for path, text in given.items():
        if path == "aggregation.method" and text != "mean":
            continue  # needs its coefficients beside it
        document = arranged(apply_settings(with_absent_fields(ENTRY.manifest(CONFIG)), {path: text}), {path: text})
        PreprocessingSpec.model_validate(document["preprocessing"])
        TableSpec.model_validate(document["table"])
        AggregationSpec.model_validate(document["aggregation"])
    steps = made(**{"preprocessing.steps": given["preprocessing.steps"]})["preprocessing"]["steps"]
    assert [(step["step"], step.get("rows")) for step in steps] == [
        ("resize", 208),
        ("center_crop", 192),
        ("clip_scale", None),
        ("subtract", None),
    ]
    assert made(table__fields__sex__categories=given["table.fields.sex.categories"])["table"]["fields"][0][
        "categories"
    ] == {"M": 0, "F": 1}


def test_columns_in_another_order() -> None:
    order = '["age", "sex", "weight", "smoking_history", "t_stage", "n_stage", "m_stage"]'
    document = made(table__order=order, table__fields__age__upper="85")
    table = TableSpec.model_validate(document["table"])
    assert [field.name for field in table.fields[:4]] == ["age", "sex", "weight", "smoking_history"]
    assert document["table"]["fields"][0]["upper"] == 85 and "order" not in document["table"]
    untouched = [field["name"] for field in made()["table"]["fields"]]
    assert untouched == ["sex", "age", "weight", "t_stage", "n_stage", "m_stage", "smoking_history"]


@pytest.mark.parametrize(
    ("order", "facts"),
    [
        ('["age", "sex"]', ("table.order", "each of sex, age, weight", '["age", "sex"]')),
        ("age,sex", ("table.order", '"age,sex"')),
        ('["age", "age", "weight", "smoking_history", "t_stage", "n_stage", "m_stage"]', ("once",)),
        ('["years", "sex", "weight", "smoking_history", "t_stage", "n_stage", "m_stage"]', ("years",)),
        ("[[1], {}]", ("table.order",)),
    ],
)
def test_an_order_that_is_none_is_refused(order: str, facts: tuple[Fact, ...]) -> None:
    with refused(ExportError, *facts):
        made(table__order=order)


def test_slices_from_the_head_are_laid_and_padded_from_there() -> None:
    """One setting is enough; without it the manifest is written as it was before there was the field."""
    assert "order" not in made()["preprocessing"]["windows"]
    assert "order" not in made(preprocessing__axes="SPL")["preprocessing"]["windows"]
    turned = PreprocessingSpec.model_validate(made(preprocessing__axes="IPL")["preprocessing"])
    assert turned.from_head and turned.windows is not None and turned.windows.order == "axes"
    kept = made(preprocessing__axes="IPL", preprocessing__windows__order="head")["preprocessing"]
    assert not PreprocessingSpec.model_validate(kept).from_head


def test_a_regression_over_windows_can_be_set() -> None:
    found = made(
        aggregation__method="logistic_regression", aggregation__coefficients="[0.5, -0.5]", aggregation__intercept="0.1"
    )["aggregation"]
    assert AggregationSpec.model_validate(found).coefficients == (0.5, -0.5)
