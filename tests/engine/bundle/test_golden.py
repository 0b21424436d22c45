"""The raw case in golden.npz: written and read again to the last bit, and refused where it is damaged."""

from collections.abc import Callable
from dataclasses import replace
from math import gcd
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mmcaf_engine.bundle.golden import RawCase, RawStudy, Sample, own_probabilities, raw_arrays, read_raw_case, sample
from mmcaf_engine.errors import BundleError
from mmcaf_engine.manifest import Manifest
from mmcaf_engine.volume import Volume
from tiny_bundle import SIZE, SLICES, tiny_manifest

GENERATOR = np.random.default_rng(5)
WINDOWS = GENERATOR.normal(size=(2, 1, SLICES, SIZE, SIZE)).astype(np.float32)
VOLUME = Volume(
    GENERATOR.integers(-1000, 3000, (7, 9, 11)).astype(np.int16),
    "rescaled",
    (2.5, 0.7, 0.8),
    (-120.0, 31.5, 64.25),
    ((0.0, 0.6, 0.8), (0.0, 0.8, -0.6), (1.0, 0.0, 0.0)),
)
CASE = RawCase(
    study=RawStudy({"image": VOLUME}, None, {"sex": "F", "age": 63}, "Größe: 4 mm"),
    windows={"image": sample(WINDOWS, 1000)},
    starts=(0, 4, 8),
    features={"table": np.array([[0.0, 0.6]], np.float32)},
    probabilities=np.array([0.25, 0.75]),
    own={"fp16": np.array([0.26, 0.74])},
)


def a_bundle(folder: Path, arrays: dict[str, Any]) -> Any:
    """What a bundle is to the reader: a manifest and a file."""
    files = {name: {"sha256": "0" * 64, "size": 0} for name in ("model.onnx", "half.onnx", "golden.npz")}
    manifest = Manifest.model_validate(
        {**tiny_manifest(), "files": files, "models": {"fp32": "model.onnx", "fp16": "half.onnx"}}
    )
    np.savez(folder / "golden.npz", **arrays)
    return SimpleNamespace(manifest=manifest, folder=folder, open=lambda name: (folder / name).open("rb"))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    found = read_raw_case(a_bundle(tmp_path, raw_arrays(CASE)))
    assert found is not None
    volume = found.study.volumes["image"]
    assert np.array_equal(volume.values, VOLUME.values) and volume.values.dtype == np.int16
    assert replace(volume, values=VOLUME.values) == VOLUME
    assert (found.study.record, found.study.report, found.study.plane) == ({"sex": "F", "age": 63}, "Größe: 4 mm", None)
    kept, read = CASE.windows["image"], found.windows["image"]
    assert (read.shape, read.stride, read.values.dtype) == (kept.shape, kept.stride, np.float32)
    assert np.array_equal(read.values, kept.values)
    assert found.starts == CASE.starts
    assert np.array_equal(found.features["table"], CASE.features["table"])
    assert found.expected("fp16").tolist() == [0.26, 0.74]
    assert found.expected("fp32").tolist() == found.expected("bf16").tolist() == [0.25, 0.75]


def test_a_file_without_a_raw_case(tmp_path: Path) -> None:
    assert read_raw_case(a_bundle(tmp_path, {"image": WINDOWS})) is None


Arrays = dict[str, Any]
DAMAGED: dict[str, Callable[[Arrays], Arrays]] = {
    "no volume": lambda arrays: {name: one for name, one in arrays.items() if name != "raw.volume.image"},
    "a plane for a volume": lambda arrays: {**arrays, "raw.volume.image": VOLUME.values[0]},
    "unknown intensity": lambda arrays: {**arrays, "raw.intensity.image": np.frombuffer(b"bright", np.uint8)},
    "two of spacing": lambda arrays: {**arrays, "raw.spacing.image": np.ones(2)},
    "a value too few": lambda arrays: {**arrays, "raw.windows.image": arrays["raw.windows.image"][:-1]},
    "a value too many": lambda arrays: {**arrays, "raw.windows.image": np.append(arrays["raw.windows.image"], 0)},
    "no stride": lambda arrays: {**arrays, "raw.stride.image": np.array(0)},
    "no windows": lambda arrays: {**arrays, "raw.shape.image": np.array([0, 1, 4, 16, 16])},
    "no probabilities": lambda arrays: {**arrays, "raw.probabilities": np.empty(0)},
    "too many axes": lambda arrays: {**arrays, "raw.probabilities": np.ones((1, 2))},
    "of its own, none": lambda arrays: {**arrays, own_probabilities("fp16"): np.empty(0)},
    "a record that is a list": lambda arrays: {**arrays, "raw.record": np.frombuffer(b"[1]", np.uint8)},
    "a record that is no JSON": lambda arrays: {**arrays, "raw.record": np.frombuffer(b"{", np.uint8)},
    "objects, which could be code": lambda arrays: {**arrays, "raw.probabilities": np.array([1.0, None], object)},
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_what_is_damaged_is_refused(damage: Callable[[Arrays], Arrays], tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        read_raw_case(a_bundle(tmp_path, damage(raw_arrays(CASE))))


@pytest.mark.parametrize(
    ("shape", "most"),
    [((10, 10, 10), 990), ((1, 1, 4, 16, 16), 100), ((3, 5, 7), 105), ((6, 35), 1), ((6, 35), 105), ((2, 3), 100)],
)
def test_a_sample_is_bounded_and_from_all_over_the_array(shape: tuple[int, ...], most: int) -> None:
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    found = sample(array, most)
    assert found.shape == shape and 1 <= found.values.size <= most
    assert all(gcd(found.stride, length) == 1 for length in shape)
    assert np.array_equal(found.values, np.arange(0, array.size, found.stride))
    assert np.array_equal(found.of(array), found.values)
    if found.values.size >= max(shape):  # On every axis, every index is met.
        places = np.unravel_index(found.values.astype(int), shape)
        assert all(len(set(of_axis)) == length for of_axis, length in zip(places, shape, strict=True))


def test_the_same_places_of_another_array() -> None:
    found = Sample((2, 3), 2, np.zeros(3, np.float32))
    assert found.of(np.arange(6, dtype=np.float32).reshape(2, 3)).tolist() == [0, 2, 4]
