"""Whether several series cover one region of one patient, by where they lie."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mmcaf_engine.errors import StudyError
from mmcaf_engine.study.geometry.one_geometry import check_one_geometry
from mmcaf_engine.volume import HEAD_BACK_LEFT_LPS, Placement

PLACE = Placement((20, 100, 100), (5.0, 1.0, 1.0), (0.0, 0.0, 0.0), HEAD_BACK_LEFT_LPS, "1.2")
"""Each axis is 100 mm long; the first voxels are centred on 0."""


def leaning(degrees: float) -> Any:
    cosine, sine = float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))
    return ((0.0, 0.0, 1.0), (-sine, cosine, 0.0), (cosine, sine, 0.0))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"frame": ""},
        {"shape": (40, 200, 50), "spacing_mm": (2.5, 0.5, 2.0), "origin_mm": (0.5, -0.25, -1.25)},
        {"origin_mm": (0.0, 0.0, 10.0)},
        {"origin_mm": (0.0, -10.0, 0.0)},
        {"shape": (18, 100, 100)},
        {"shape": (22, 100, 100), "origin_mm": (0.0, 0.0, -5.0)},
        {"direction": leaning(4.9)},
    ],
    ids=["same", "frame-unknown", "another-matrix", "shifted", "shifted-aside", "shorter", "longer", "leaning"],
)
def test_one_region(changes: dict[str, Any]) -> None:
    other = replace(PLACE, **changes)
    check_one_geometry([("a", PLACE), ("b", other)], "study")
    check_one_geometry([("a", other), ("b", PLACE)], "study")
    check_one_geometry([("a", PLACE)], "study")


@pytest.mark.parametrize(
    "changes",
    [
        {"frame": "1.3"},
        {"origin_mm": (0.0, 0.0, 10.5)},
        {"origin_mm": (0.0, 0.0, -10.5)},
        {"origin_mm": (0.0, 10.5, 0.0)},
        {"origin_mm": (-10.5, 0.0, 0.0)},
        {"origin_mm": (0.0, 0.0, 500.0)},
        {"shape": (17, 100, 100)},
        {"shape": (23, 100, 100), "origin_mm": (0.0, 0.0, -5.0)},
        {"shape": (200, 100, 100)},
        {"direction": leaning(5.1)},
        {"direction": leaning(180)},
    ],
    ids=["frame", "up", "down", "back", "right", "far", "shorter", "longer", "far-longer", "leaning", "upside-down"],
)
def test_another_region(changes: dict[str, Any]) -> None:
    other = replace(PLACE, **changes)
    for places in (
        [("a", PLACE), ("b", other)],
        [("a", other), ("b", PLACE)],
        [("a", PLACE), ("b", PLACE), ("c", other)],
    ):
        with pytest.raises(StudyError):
            check_one_geometry(places, "study")
