"""What MMCAF-Net's authors leave open, or have in two ways: everything that moves an answer and no checkpoint tells.

What is said of their code is of yjx1234/MMCAF-Net at commit 66c0c21.
"""

import json
from collections.abc import Mapping

from mmcaf_export.assumptions import Assumptions

from .network import MmcafConfig

PUBLISHED_SLICES = (11, 12)
PUBLISHED_SIZES = range(189, 193)
TEST_RESIZE = 208
"""Rows and columns that the authors' test script resizes slices to before it keeps the central ones."""

FIELDS = ("sex", "age", "weight", "t_stage", "n_stage", "m_stage", "smoking_history")


def assumptions(config: MmcafConfig, metadata: Mapping[str, str], rest: list[dict[str, object]]) -> Assumptions:
    """Of a network of this configuration.

    Args:
        metadata: what the checkpoint's file says of itself.
        rest: the preprocessing's steps after the resize, as settings have them.
    """
    return {**_window(config, metadata), **_IMAGE, **_resize(config, rest), **_TABLE, **_ANSWER}


def _window(config: MmcafConfig, metadata: Mapping[str, str]) -> Assumptions:
    settings = ("network.config.slices", "network.config.size")
    window = f"{config.slices} x {config.size} x {config.size}"
    if config.slices not in PUBLISHED_SLICES or config.size not in PUBLISHED_SIZES:
        return {
            settings: f"it takes windows of {window}, which the authors' code refuses: it takes 11 or 12 slices of 189 "
            "to 192 rows and columns. What this network computes beyond that is a reading of their code. Confirm it "
            f"with --set network.config.slices={config.slices} --set network.config.size={config.size}"
        }
    if {"slices", "size"} <= metadata.keys():
        return {}
    return {
        settings: f"it takes windows of {window}, which no weight tells; give others with --set "
        "network.config.slices=... --set network.config.size=..."
    }


_IMAGE: Assumptions = {
    "preprocessing.intensity": "it was trained on Hounsfield units. The authors' own HDF5 script stored raw pixel "
    "values; weights trained on its files need --set preprocessing.intensity=stored",
    "preprocessing.axes": "slices run from the feet to the head, so that a short study is padded at the head. The "
    "authors' script stored them in the order in which a folder lists its files; weights trained on slices from the "
    "head to the feet need --set preprocessing.axes=IPL, which pads at the feet",
    "preprocessing.windows.pad_value": "a short study was padded with air, -1000. The authors' code pads raw pixel "
    "values so too, and in unsigned ones -1000 wraps to 64536, which is as bright as bone; weights trained on such "
    "need --set preprocessing.windows.pad_value=64536",
    "preprocessing.windows.trained_on": "its windows lay at an annotated lesion, as its authors' did; an answer "
    "over a whole chest, the highest of all windows, says so. Weights trained on whole chests need --set "
    "preprocessing.windows.trained_on=study",
    "preprocessing.windows.stride": "windows lie side by side. The authors draw as many at random around a lesion, "
    "and their script for a single study moves on by one slice: --set preprocessing.windows.stride=1",
}


def _resize(config: MmcafConfig, rest: list[dict[str, object]]) -> Assumptions:
    size = config.size
    resize = {"step": "resize", "rows": TEST_RESIZE, "columns": TEST_RESIZE, "rounding": "opencv"}
    steps = [resize, {"step": "center_crop", "rows": size, "columns": size}, *rest]
    tested = (
        f"; their test script resizes to {TEST_RESIZE} x {TEST_RESIZE} and keeps the central {size} x {size}: --set "
        f"'preprocessing.steps={json.dumps(steps)}'"
        if size < TEST_RESIZE
        else ""
    )
    return {
        ("preprocessing.steps.resize.rows", "preprocessing.steps.resize.columns"): f"slices were resized to {size} x "
        f"{size}, as the authors' training script has it{tested}",
        "preprocessing.steps.resize.rounding": "pixels were whole numbers when they were resized, so that means are "
        "rounded as OpenCV rounds them; weights trained on fractions need --set "
        "preprocessing.steps.resize.rounding=none",
    }


_TABLE: Assumptions = {
    "table.order": f"the table's columns were {', '.join(FIELDS)}, in this order. The authors' code takes them by "
    "position from a file that is not published; give another order with --set 'table.order=["
    + ", ".join(f'"{name}"' for name in FIELDS)
    + "]'",
    "table.fields.sex.categories": "sex was coded M 1, F 0; the authors' table is not published. The other way round "
    'is --set \'table.fields.sex.categories={"M": 0, "F": 1}\'',
    ("table.fields.age.lower", "table.fields.age.upper"): "age was scaled from 20-90 years to 0-1. The training set's "
    "range is not in the checkpoint; give it with --set table.fields.age.lower=... and --set "
    "table.fields.age.upper=...",
    ("table.fields.weight.lower", "table.fields.weight.upper"): "weight was scaled from 35-130 kg to 0-1. The training "
    "set's range is not in the checkpoint; give it with --set table.fields.weight.lower=... and --set "
    "table.fields.weight.upper=...",
    **{
        f"table.fields.{letter.lower()}_stage.categories": f"{letter} stages were coded {codes}; give others with "
        f"--set 'table.fields.{letter.lower()}_stage.categories={{...}}'"
        for letter, codes in (
            ("T", "is 0, 1 and 1a 1, 1b 2, 1c 3, 2 and 2a 4, 2b 5, 3 6, 4 7"),
            ("N", "0 to 3 as they are"),
            ("M", "0 0, 1 and 1a 1, 1b 2, 1c 3"),
        )
    },
    **{
        f"table.fields.{letter.lower()}_stage.divisor": f"codes of {letter} stages were divided by 10; give another "
        f"divisor with --set table.fields.{letter.lower()}_stage.divisor=..."
        for letter in "TNM"
    },
    "table.fields.smoking_history": "smoking history was coded never 0, former 0.5, current 1",
}

_ANSWER: Assumptions = {
    "labels": "label 0 is adenocarcinoma and label 1 squamous-cell carcinoma, which the authors' code does not say. "
    'The other way round is --set \'labels=["squamous-cell carcinoma", "adenocarcinoma"]\'',
    "threshold": "label 1 is said from a probability of 0.5 on; the authors give no threshold. Give one with --set "
    "threshold=...",
    "aggregation.method": "a study's probability is the highest of its windows', as in the authors' test script. Their "
    "evaluation knows the mean, --set aggregation.method=mean, and a logistic regression over the windows', --set "
    "aggregation.method=logistic_regression with aggregation.coefficients and aggregation.intercept",
}
