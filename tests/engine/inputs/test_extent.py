"""Where what the network saw lies in the volume: by marks that preprocessing moves."""

from typing import Any

import numpy as np
import pytest

from mmcaf_engine.inputs.extent import part_of, window_extent
from mmcaf_engine.inputs.prepare import Prepared, PreparedSeries
from mmcaf_engine.inputs.windows import preprocess
from mmcaf_engine.manifest import PreprocessingSpec
from mmcaf_engine.orientation import canonical
from mmcaf_engine.result.heatmap import PADDING, slice_names
from mmcaf_engine.result.key_slices import key_slices
from mmcaf_engine.volume import PatientHeader, StudyFacts, Volume
from tiny_bundle import tiny_manifest
from tiny_liver import tiny_liver_manifest

RESIZE = {"step": "resize", "method": "area", "rows": 52, "columns": 26, "rounding": "none"}
CROP = {"step": "center_crop", "rows": 48, "columns": 20}
SCALE = {"step": "clip_scale", "lower": 0.0, "upper": 1000.0}
WINDOWS = {"slices": 4, "stride": 3, "pad_value": 0.0}
CASES: dict[str, tuple[tuple[dict[str, Any], ...], int]] = {
    "as it is": ((SCALE,), 10),
    "resized": ((RESIZE, SCALE), 10),
    "resized, then cropped": ((RESIZE, CROP, SCALE), 10),
    "cropped, then resized": ((CROP, RESIZE, SCALE), 10),
    "padded": ((RESIZE, CROP, SCALE), 3),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bright_box_is_where_its_extent_says(case: str) -> None:
    """The middle of what is bright in a window, as shares of its extent, is the middle of the box in the volume."""
    steps, count = CASES[case]
    values = np.zeros((count, 104, 78), np.float32)
    values[1:3, 40:52, 30:42] = 1000
    spec = PreprocessingSpec.model_validate({**tiny_manifest()["preprocessing"], "windows": WINDOWS, "steps": steps})
    windows = preprocess(Volume(values, "hounsfield", (1.0, 1.0, 1.0)), spec)
    window = windows.window(0)[0, 0]
    extent = window_extent(values.shape, spec, windows, 0)
    for axis, (edges, middle) in enumerate(
        zip((extent.slices, extent.rows, extent.columns), (2.0, 46.0, 36.0), strict=True)
    ):
        along = window.sum(axis=tuple(other for other in range(3) if other != axis), dtype=np.float64)
        share = float((along * (np.arange(len(along)) + 0.5)).sum() / along.sum())
        low, high = part_of(edges, share, share, len(along))
        assert low == high == pytest.approx(middle, abs=0.01)


def test_a_short_study_that_is_padded_at_the_feet() -> None:
    """Its box is where its extent says, its slices have their own names, and key slices are none of the padding."""
    values = np.zeros((3, 104, 78), np.float32)
    values[1:3, 40:52, 30:42] = 1000
    said = {**tiny_manifest()["preprocessing"], "windows": {**WINDOWS, "slices": 5, "order": "axes"}, "steps": [SCALE]}
    spec = PreprocessingSpec.model_validate({**said, "axes": "IPL"})
    windows = preprocess(Volume(values, "hounsfield", (1.0, 1.0, 1.0)), spec)
    assert windows.before == 2 and windows.starts == (0,)
    seen = windows.window(0)[0, 0].max(axis=(1, 2))
    assert seen.tolist() == [1, 1, 0, 0, 0]
    along = canonical(windows.window(0)[0, 0], "IPL").sum(axis=(1, 2), dtype=np.float64)
    share = float((along * (np.arange(5) + 0.5)).sum() / along.sum())
    extent = window_extent(values.shape, spec, windows, 0)
    assert part_of(extent.slices, share, share, 5) == pytest.approx((2.0, 2.0))
    facts = StudyFacts("CT", {}, PatientHeader(), 3, (1.0, 1.0, 1.0))
    entry = PreparedSeries("image", facts, windows)
    assert slice_names(entry, 0) == [PADDING, PADDING, "1 of 3", "2 of 3", "3 of 3"]
    keys = key_slices(Prepared((entry,)), 0, ())
    assert {key.name for key in keys} <= {"1 of 3", "2 of 3", "3 of 3"}
    assert [(key.at, key.number) for key in keys] == [(at, at - 2) for at in (key.at for key in keys)]
    assert all(np.array_equal(key.values, windows.slices[key.at]) for key in keys)


def test_later_windows_begin_later_and_the_last_one_ends_at_the_last_slice() -> None:
    spec = PreprocessingSpec.model_validate({**tiny_manifest()["preprocessing"], "windows": WINDOWS, "steps": [SCALE]})
    windows = preprocess(Volume(np.eye(9, dtype=np.float32)[None].repeat(9, 0), "hounsfield", (1.0, 1.0, 1.0)), spec)
    found = [window_extent((9, 9, 9), spec, windows, window).slices for window in range(len(windows))]
    assert found == [(0, 4), (3, 7), (5, 9)]


@pytest.mark.parametrize("slices", [20, 8, 5])
def test_a_volume_that_is_resized_as_a_whole(slices: int) -> None:
    """To 8 slices, be it from more or from fewer: it reaches from the first to the last, and nothing is padding."""
    steps = [{"step": "resize_volume", "size": [12, 10, 8]}]
    spec = PreprocessingSpec.model_validate({**tiny_liver_manifest()["preprocessing"], "axes": "LPS", "steps": steps})
    values = np.random.default_rng(0).random((slices, 30, 40), dtype=np.float32)
    windows = preprocess(Volume(values, spec.intensity, (1.0, 1.0, 1.0)), spec)
    assert windows.slices.shape == (8, 10, 12)
    extent = window_extent(values.shape, spec, windows, 0)
    assert [extent.slices, extent.rows, extent.columns] == [pytest.approx((0, count)) for count in values.shape]
    facts = StudyFacts("MR", {}, PatientHeader(), slices, (1.0, 1.0, 1.0))
    expected = [int((at + 0.5) * slices / 8) + 1 for at in range(8)]
    assert slice_names(PreparedSeries("t2", facts, windows), 0) == [f"{number} of {slices}" for number in expected]
