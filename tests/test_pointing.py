"""The pointing game's own arithmetic: which parts touch a nodule, what points at it, and the interval of a share."""

from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kernels.scripts import load


@pytest.fixture
def pointing(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load(monkeypatch, "pointing")


def phantom(centre: tuple[float, float, float], diameter_mm: float = 3.9) -> Any:
    """Of 20 x 16 x 16 voxels of 2 x 1 x 1 mm."""
    nodule = SimpleNamespace(diameter_mm=diameter_mm)
    return SimpleNamespace(
        hu=np.zeros((20, 16, 16), np.int16),
        spacing_mm=(2.0, 1.0, 1.0),
        patient=SimpleNamespace(nodule=nodule),
        nodule_index=centre,
    )


def test_the_parts_that_a_nodule_touches(pointing: ModuleType) -> None:
    """Over slices 8 to 15: parts of 4 slices, 4 rows and 2 columns."""
    values = np.zeros((2, 4, 8), np.float32)
    inside = pointing.touched(values, phantom((9.5, 5.5, 7.5)), 8, 8)
    assert inside.sum() == 2 and inside[0, 1, 3:5].all(), "columns 6 to 10, rows 4 to 8, slices 9 to 11"
    between = pointing.touched(values, phantom((11.5, 7.5, 7.5), diameter_mm=0.2), 8, 8)
    assert {tuple(part) for part in np.argwhere(between)} == {
        (slice_, row, column) for slice_ in (0, 1) for row in (1, 2) for column in (3, 4)
    }
    assert not pointing.touched(values, phantom((2.0, 5.5, 7.5)), 8, 8).any(), "the window misses it"


def test_a_map_points_with_its_largest_part(pointing: ModuleType) -> None:
    lesion = np.zeros((2, 2, 2), bool)
    lesion[1, 0, 1] = True
    values = np.full((2, 2, 2), 0.5, np.float32)
    values[1, 0, 1] = 0.6
    assert pointing.pointed(values, lesion) == pointing.Pointed(True, 1 / 8)
    assert not pointing.pointed(-values, lesion).hit
    assert not pointing.pointed(np.zeros((2, 2, 2), np.float32), np.ones((2, 2, 2), bool)).hit


@pytest.mark.parametrize(
    ("hits", "cases", "low", "high"),
    [(0, 200, 0.0, 0.0188), (100, 200, 0.4313, 0.5687), (200, 200, 0.9812, 1.0), (9, 16, 0.3318, 0.7690)],
)
def test_the_interval_of_a_share(hits: int, cases: int, low: float, high: float, pointing: ModuleType) -> None:
    assert pointing.wilson(hits, cases) == pytest.approx((low, high), abs=1e-4)
