"""The demo phantoms: repeatable, in range, with a visible nodule and a valid record."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from mmcaf_engine.demo import make_patient, make_phantom, record
from mmcaf_engine.demo.patient import TABLE_ORDER

SIZE = 128  # pixels; a quarter of the default, sixteen times faster


@pytest.mark.parametrize("seed", [0, 7, 123456])
def test_same_seed_same_voxels(seed: int) -> None:
    first, second = make_phantom(seed, size=SIZE), make_phantom(seed, size=SIZE)
    np.testing.assert_array_equal(first.hu, second.hu)
    assert first.spacing_mm == second.spacing_mm
    assert first.patient == second.patient


def test_other_seed_other_phantom() -> None:
    first, second = make_phantom(1, size=SIZE), make_phantom(2, size=SIZE)
    assert first.patient != second.patient
    assert first.hu.shape != second.hu.shape or (first.hu != second.hu).any()


@pytest.mark.parametrize("seed", range(4))
def test_voxels_look_like_a_chest_ct(seed: int) -> None:
    phantom = make_phantom(seed, size=SIZE)
    depth, rows, columns = phantom.hu.shape
    assert phantom.hu.dtype == np.int16
    assert (rows, columns) == (SIZE, SIZE) and 24 <= depth <= 36
    assert phantom.hu.min() >= -1024 and phantom.hu.max() <= 3071
    assert 2.5 <= phantom.spacing_mm[0] <= 5.0
    assert phantom.spacing_mm[1] == phantom.spacing_mm[2]
    shares = {
        "air and lung": (phantom.hu < -700).mean(),
        "fat": ((phantom.hu > -150) & (phantom.hu < -50)).mean(),
        "soft tissue": ((phantom.hu > 0) & (phantom.hu < 100)).mean(),
        "bone": (phantom.hu > 200).mean(),
    }
    assert all(share > 0.01 for share in shares.values()), shares


@pytest.mark.parametrize("size", [64, 512])
def test_patient_does_not_depend_on_the_grid(size: int) -> None:
    phantom = make_phantom(3, size=size)
    assert phantom.patient == make_patient(3)
    assert phantom.hu.shape[1:] == (size, size)
    if size == 512:
        assert 0.55 <= phantom.spacing_mm[1] <= 0.95  # mm


@pytest.mark.parametrize("size", [0, 62, 129])
def test_unusable_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="even number"):
        make_phantom(0, size=size)


@pytest.mark.parametrize("seed", range(6))
def test_nodule_is_denser_than_the_lung_around_it(seed: int) -> None:
    phantom = make_phantom(seed, size=256)
    z, y, x = (round(v) for v in phantom.nodule_index)
    assert all(0 <= i < n for i, n in zip((z, y, x), phantom.hu.shape, strict=True))
    reach = max(1, round(0.5 * phantom.patient.nodule.diameter_mm / phantom.spacing_mm[1]))
    inside = phantom.hu[z, y - reach : y + reach + 1, x - reach : x + reach + 1]
    assert inside.max() > -300  # HU; lung lies near -850


def test_the_two_classes_differ_in_traits_and_overlap() -> None:
    patients = [make_patient(seed) for seed in range(400)]
    labels = np.array([p.label for p in patients])
    assert 0.4 < labels.mean() < 0.6
    for trait, higher in (("spiculation", 0), ("patchiness", 0), ("lobulation", 1), ("centrality", 1)):
        values = np.array([getattr(p.nodule, trait) for p in patients])
        means = [values[labels == label].mean() for label in (0, 1)]
        assert means[higher] > means[1 - higher] + 0.1, trait
        # Overlap: the lower class still reaches above the mean of the higher one.
        assert (values[labels == 1 - higher] > means[higher]).mean() > 0.03, trait


def test_records_are_valid() -> None:
    for seed in range(200):
        patient = make_patient(seed)
        row = record(patient)
        assert list(row) == ["patient_id", *TABLE_ORDER]
        assert row["patient_id"] == patient.patient_id
        assert row["sex"] in ("M", "F")
        assert isinstance(row["age"], int) and 20 <= row["age"] <= 90
        assert isinstance(row["weight"], float) and 35 <= row["weight"] <= 130
        assert row["t_stage"] in ("1a", "1b", "1c", "2a", "2b", "3", "4")
        assert row["n_stage"] in ("0", "1", "2", "3")
        assert row["m_stage"] in ("0", "1a", "1b", "1c")
        assert row["smoking_history"] in ("never", "former", "current")


def test_stage_follows_diameter_or_is_raised() -> None:
    order = ["1a", "1b", "1c", "2a", "2b", "3", "4"]
    for seed in range(200):
        patient = make_patient(seed)
        diameter = patient.nodule.diameter_mm
        smallest = "1a" if diameter <= 10 else "1b" if diameter <= 20 else "1c"
        assert order.index(patient.t_stage) >= order.index(smallest)
        assert 4.0 <= diameter <= 30.0


def test_patients_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_patient(0).label = 1  # type: ignore[misc]


def test_phantoms_need_numpy_only() -> None:
    code = (
        "import sys; import mmcaf_engine.demo.phantom; "
        "print(sorted({'torch', 'scipy', 'pydicom', 'cv2', 'onnxruntime', 'openvino'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
