"""What the values of a series tell of it: no air, blank and repeated slices, volumes that lie within each other."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mmcaf_engine.study.extremes import Extremes

SHAPE = (12, 70, 65)
Volume = NDArray[np.floating[Any]]


def anatomy(seed: int, shape: tuple[int, int, int] = SHAPE) -> Volume:
    """What changes slowly from slice to slice, with noise; HU."""
    draw = np.random.default_rng(seed)
    blobs = np.cumsum(draw.normal(0, 300, shape), axis=0) + draw.normal(0, 3000, shape[1:])
    for axis, width in ((1, 9), (2, 9)):
        blobs = sum(np.roll(blobs, by, axis) for by in range(width))
    return np.clip(blobs / blobs.std() * 400 - 200, -1000, 1500) + draw.normal(0, 20, shape)


def told(values: Volume, intensity: Any = "hounsfield") -> list[str]:
    extremes = Extremes(values.shape, "series")
    for index in np.random.default_rng(0).permutation(len(values)):
        extremes.look(int(index), values[index])
    return [text.removeprefix("series: ") for text in extremes.warnings(intensity)]


@settings(max_examples=8, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 1000), st.sampled_from([(12, 70, 65), (7, 20, 33), (1, 40, 40), (9, 512, 40)]))
def test_one_volume_is_nothing_irregular(seed: int, shape: tuple[int, int, int]) -> None:
    assert told(anatomy(seed, shape)) == []
    assert told(np.random.default_rng(seed).normal(-400, 300, shape)) == []


@settings(max_examples=8, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 1000), st.sampled_from([2, 3]))
def test_volumes_whose_slices_take_turns_are_told(seed: int, volumes: int) -> None:
    others = [anatomy(1000 * seed + at) for at in range(volumes)]
    mixed = np.stack([others[at % volumes][at] for at in range(len(others[0]))])
    assert [f"slices of {volumes} volumes" in text for text in told(mixed)] == [True]


@pytest.mark.parametrize(("share", "warned"), [(1.02, False), (2.0, True)])
def test_slices_that_a_scanner_made_a_little_brighter_by_turns_are_one_volume(share: float, warned: bool) -> None:
    """As of MR, whose neighbouring slices take signal from each other."""
    values = anatomy(3) + 2000
    values[1::2] *= share
    assert bool(told(values, "rescaled")) == warned


@pytest.mark.parametrize(("low", "warned"), [(-1000, False), (-500, False), (-499, True), (24, True)])
def test_hounsfield_units_have_air(low: int, warned: bool) -> None:
    values = np.clip(anatomy(1), low, None)
    values[0, 0, 0] = low
    assert [f"lowest value is {low} HU" in text for text in told(values)] == [True] * warned
    assert told(values, "rescaled") == []


@pytest.mark.parametrize(("at", "warned"), [(5, True), (10, True), (0, False), (11, False)])
def test_a_slice_of_another_volume_or_rescale_is_told(at: int, warned: bool) -> None:
    values, other = anatomy(1), anatomy(1)
    other[at] += 1024
    strange = values.copy()
    strange[at] = anatomy(7)[at]
    for mixed in (other, strange):
        said = [text for text in told(mixed) if "differ much more from both of their neighbours" in text]
        assert said == told(mixed) and len(said) == warned
        assert all(text.startswith("1 of 12 ") and f"first slice {at + 1};" in text for text in said)


def test_slices_without_anything_are_counted() -> None:
    values = anatomy(1)
    values[[3, 4]] = -1000
    assert told(values) == ["2 of 12 slices have one value each, first slice 4; there is nothing to be seen in them."]


def test_slices_that_came_twice_are_counted() -> None:
    values = anatomy(1)
    values[4] = values[5] = values[3]
    assert told(values) == ["2 slices hold the same values as the one before them, first slice 5."]
    values[4, 0, 0] = 1600  # between the samples, but an end
    values[5, 0, 1] = 1700
    assert told(values) == []
