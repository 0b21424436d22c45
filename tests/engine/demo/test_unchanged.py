"""A seed's study stays what it was: figures of published tables, and the demonstration's own, were measured on them.

Means of blocks, not voxels: processors differ in the last bits of a sine, and so now and then in a rounded voxel.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mmcaf_engine.demo import chest_record, chest_study, liver_study, make_phantom, record
from mmcaf_engine.demo.radiograph import finding_maps

STORED = Path(__file__).parents[2] / "data" / "demo_studies.json"
SEEDS = {"lung": (2, 5), "liver": (2, 5), "chest": (5, 14)}
BLOCKS = 4
"""Of each axis."""


def blocks(values: NDArray[Any]) -> dict[str, list[float]]:
    """Mean and standard deviation of each of the parts that BLOCKS cuts along every axis make."""
    sides = [np.array_split(np.arange(length), BLOCKS) for length in values.shape]
    parts = [
        values[np.ix_(*(side[at] for side, at in zip(sides, place, strict=True)))].astype(np.float64)
        for place in np.ndindex(*[BLOCKS] * values.ndim)
    ]
    return {"mean": [round(part.mean(), 2) for part in parts], "std": [round(part.std(), 2) for part in parts]}


def lung(seed: int) -> dict[str, Any]:
    study = make_phantom(seed, size=64)
    nodule = study.patient.nodule
    facts = [*nodule.center_mm, nodule.diameter_mm, nodule.solid_hu, *study.spacing_mm]
    return {"record": record(study.patient), "facts": facts, "hu": blocks(study.hu)}


def liver(seed: int) -> dict[str, Any]:
    study = liver_study(seed, slices=16, size=32)
    facts = [study.label, *study.patient.lesion.centre_mm, study.patient.lesion.radius_mm, *study.spacing_mm]
    return {"facts": facts, **{phase: blocks(values) for phase, values in study.volumes.items()}}


def chest(seed: int) -> dict[str, Any]:
    study = chest_study(seed, size=64)
    maps = finding_maps(seed, 32).mean(axis=(1, 2))  # mm of water
    facts = [study.spacing_mm, *study.window, study.inverted, study.patient.heart_ratio, *maps.tolist()]
    words = {"findings": study.patient.names, "report": study.report.text, "record": chest_record(study.patient)}
    return {"facts": facts, "pixels": blocks(study.pixels), **json.loads(json.dumps(words))}


KINDS = {"lung": lung, "liver": liver, "chest": chest}


@pytest.mark.parametrize(("kind", "seed"), [(kind, seed) for kind in KINDS for seed in SEEDS[kind]])
def test_a_seeds_study_is_what_it_was(kind: str, seed: int) -> None:
    found, stored = KINDS[kind](seed), json.loads(STORED.read_text(encoding="utf-8"))[f"{kind} {seed}"]
    assert found.keys() == stored.keys()
    for name, expected in stored.items():
        if name == "facts":
            assert found[name] == pytest.approx(expected, rel=1e-4, abs=1e-6)
        elif isinstance(expected, dict) and "mean" in expected:
            for figure in ("mean", "std"):
                np.testing.assert_allclose(found[name][figure], expected[figure], atol=0.2, err_msg=f"{name} {figure}")
        else:
            assert found[name] == expected
