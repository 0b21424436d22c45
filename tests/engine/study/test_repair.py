"""What policies accepted, done to a volume: slices interpolated, a tilt undone, and copies compared."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mmcaf_engine.errors import StudyError
from mmcaf_engine.study.dicom.repair import differing_copies, repair
from mmcaf_engine.study.geometry.arrangement import Geometry
from mmcaf_engine.study.notes import NONE
from mmcaf_engine.volume import HEAD_BACK_LEFT_LPS

AIR = {"hounsfield": -1000, "rescaled": 0, "stored": 24}
"""Stored values are rescaled by 1 and -1024 here."""


def frames(*rescales: tuple[float | None, float | None]) -> Any:
    return [SimpleNamespace(slope=slope, intercept=intercept) for slope, intercept in rescales]


def geometry(order: tuple[int, ...], **changes: Any) -> Geometry:
    return Geometry(
        order, False, False, False, (2.5, 0.7, 0.8), (0.0, 0.0, 0.0), HEAD_BACK_LEFT_LPS, notes=NONE, **changes
    )


def planes(*values: float, dtype: type = np.int16) -> Any:
    return np.stack([np.full((2, 3), value, dtype) for value in values])


def test_what_is_in_order_stays_as_it_is() -> None:
    values = planes(1, 2, 3)
    assert repair(values, frames(), geometry((0, 1, 2)), "hounsfield", "study") is values


def test_missing_slices_lie_between_their_neighbours_by_their_distance() -> None:
    at = geometry((0, 1, 2), slots=(0, 3, 4))
    found = repair(planes(0, 30, 100), frames(), at, "hounsfield", "study")
    assert found.dtype == np.int16 and found[:, 0, 0].tolist() == [0, 10, 20, 30, 100]
    assert (found == found[:, :1, :1]).all()
    reals = repair(planes(0, 10, 0, dtype=np.float32), frames(), at, "rescaled", "study")
    assert reals.dtype == np.float32 and reals[:, 1, 2] == pytest.approx([0, 10 / 3, 20 / 3, 10, 0])


@pytest.mark.parametrize(("values", "between"), [((0, 1), 0), ((0, 3), 2), ((-3, 0), -2), ((-1, 0), 0), ((4, 7), 6)])
def test_whole_values_stay_whole_rounded_half_to_even(values: tuple[int, int], between: int) -> None:
    found = repair(planes(*values), frames(), geometry((0, 1), slots=(0, 2)), "hounsfield", "study")
    assert found[:, 0, 0].tolist() == [values[0], between, values[1]]


@pytest.mark.parametrize("intensity", AIR)
def test_a_tilt_is_undone_with_air_beyond_the_edge(intensity: Any) -> None:
    rows = np.arange(1, 5, dtype=np.int16)[:, np.newaxis] * np.array([[10, 20, 30]], np.int16)
    values = np.stack([rows, rows, rows, rows])
    shifts = ((1.0, 0.0), (0.0, -1.0), (0.25, 0.0), (9.0, 0.0))
    rescaled = frames(*[(1.0, -1024.0)] * 4)
    found = repair(values.copy(), rescaled, geometry((0, 1, 2, 3), shifts=shifts), intensity, "study")
    air = AIR[intensity]
    assert found.dtype == np.int16
    assert np.array_equal(found[0], np.vstack([rows[1:], np.full((1, 3), air)]))
    assert np.array_equal(found[1], np.hstack([np.full((4, 1), air), rows[:, :-1]]))
    below = np.vstack([rows[1:], np.full((1, 3), air)])
    assert np.array_equal(found[2], np.rint(0.75 * rows + 0.25 * below))
    assert (found[3] == air).all()


@pytest.mark.parametrize("rescales", [((1.0, -1024.0), (2.0, -1024.0)), ((None, None),) * 2, ((0.0, -1024.0),) * 2])
def test_raw_values_are_blended_only_where_they_share_one_rescale(rescales: Any) -> None:
    with pytest.raises(StudyError):
        repair(planes(1, 2), frames(*rescales), geometry((0, 1), slots=(0, 2)), "stored", "study")


@pytest.mark.parametrize(
    ("copies", "differing"), [((10, 30), 0), ((10, 31), 1), ((11, 30), 1), ((11, 31), 2), ((30, 10), 2)]
)
def test_copies_that_differ_from_what_is_kept_in_their_place(copies: tuple[int, int], differing: int) -> None:
    """Sent are five slices, of which 3 and 4 repeat the places of 2 and 0."""
    at = geometry((2, 1, 0), copies=((3, 2), (4, 0)))
    assert differing_copies(planes(10, 20, 30), planes(*copies), at) == differing


@pytest.mark.parametrize(
    ("slope", "intercept", "air"), [(1.0, -1024.0, 24), (2.0, -1024.0, 12), (0.5, -1000.0, 0), (4.0, 0.0, -250)]
)
def test_the_raw_value_of_air_is_by_slope_and_intercept(slope: float, intercept: float, air: int) -> None:
    """What comes in from beyond the edge, where a tilt is undone."""
    shifted = geometry((0, 1), shifts=((0.0, 0.0), (1.0, 0.0)))
    values = repair(planes(7, 7), frames(*[(slope, intercept)] * 2), shifted, "stored", "study")
    assert values[1].tolist() == [[7] * 3, [air] * 3]
