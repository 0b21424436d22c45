"""Ranges: numpy's largest magnitudes, and where the methods cut a known histogram."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper

from mmcaf_engine.errors import UsageError
from mmcaf_export.precision import calibration, side_by_side
from mmcaf_export.precision.calibration import BINS, METHODS, PERCENTILE, Histograms, histograms, largest_magnitudes
from refusals import check_facts, refused
from small_networks import convolve, save_network

SHAPE = (1, 3, 32, 32)
WEIGHT = np.random.default_rng(5).normal(size=(2, 1, 3, 3, 3)).astype(np.float32)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """twice = 2 image; first = convolution of it; y = mean of first, which is also shown."""
    nodes = [
        helper.make_node("Mul", ["image", "two"], ["twice"]),
        helper.make_node("Conv", ["twice", "weight"], ["first"], pads=[1] * 6),
        helper.make_node("ReduceMean", ["first", "space"], ["y"], keepdims=0),
    ]
    constants = {"two": np.array(2, np.float32), "weight": WEIGHT, "space": np.array([2, 3, 4], dtype=np.int64)}
    return save_network(tmp_path / "m.onnx", nodes, {"image": ["N", *SHAPE]}, {"y": ["N", 2]}, constants)


def windows(*images: NDArray[Any]) -> list[dict[str, NDArray[np.float32]]]:
    return [{"image": image.reshape(1, *SHAPE).astype(np.float32)} for image in images]


def ranges(
    network: Path, largest: dict[str, float], chosen: list[dict[str, NDArray[np.float32]]], method: calibration.Method
) -> dict[str, float]:
    return histograms(network, largest, chosen).ranges(method)


def laplace(count: int, seed: int = 0) -> list[dict[str, NDArray[np.float32]]]:
    generator = np.random.default_rng(seed)
    return windows(*(generator.laplace(size=SHAPE) for _ in range(count)))


def test_largest_equals_numpy(network: Path) -> None:
    chosen = laplace(3)
    chosen[1]["image"][0, 0, 1, 2, 3] = -40.0
    found = largest_magnitudes(network, {"image", "twice", "first"}, iter(chosen))
    images = [window["image"] for window in chosen]
    assert found["image"] == 40.0 and found["twice"] == 80.0
    expected = max(np.abs(convolve(2 * image, WEIGHT)).max() for image in images)
    assert found["first"] == pytest.approx(expected, rel=1e-5)
    assert set(found) == {"image", "twice", "first"}


def test_minmax_is_the_largest(network: Path) -> None:
    assert ranges(network, {"image": 3.0}, laplace(1), "minmax") == {"image": 3.0}


@pytest.mark.parametrize("values", [("image",), ("twice",), ("y",), ("image", "twice", "first")], ids="-".join)
@pytest.mark.parametrize("method", METHODS)
def test_within_what_was_seen(network: Path, method: calibration.Method, values: tuple[str, ...]) -> None:
    chosen = laplace(2)
    largest = largest_magnitudes(network, values, chosen)
    found = ranges(network, largest, chosen, method)
    assert list(found) == list(largest)
    assert all(0.2 * largest[name] < found[name] <= largest[name] for name in values)


def test_percentile_equals_numpy(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "PERCENTILE", 90.0)
    chosen = laplace(8)
    largest = largest_magnitudes(network, {"image", "twice"}, chosen)
    found = ranges(network, largest, chosen, "percentile")
    expected = np.percentile(np.abs([window["image"] for window in chosen]), 90)
    assert 0 <= found["image"] - expected <= 1.5 * largest["image"] / BINS  # the end of the bin that it lies in
    assert 0 <= found["twice"] - 2 * expected <= 1.5 * largest["twice"] / BINS
    assert PERCENTILE > 99.99


def test_more_activations_than_are_held_at_once(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = laplace(2)
    largest = largest_magnitudes(network, {"image", "twice", "first"}, chosen)
    together = ranges(network, largest, chosen, "entropy")
    monkeypatch.setattr(calibration, "AT_ONCE", 1)
    assert ranges(network, largest, chosen, "entropy") == together


def test_a_far_outlier(network: Path) -> None:
    """One value of thousands at a hundred times the spread: entropy cuts it off, minmax cannot."""
    chosen = laplace(4)
    chosen[2]["image"][0, 0, 0, 0, 0] = 100.0
    largest = largest_magnitudes(network, {"image"}, chosen)
    assert ranges(network, largest, chosen, "minmax")["image"] == 100.0
    assert 3 < ranges(network, largest, chosen, "entropy")["image"] < 20
    usual = laplace(4)
    bulk = largest_magnitudes(network, {"image"}, usual)
    assert ranges(network, bulk, usual, "entropy")["image"] > 3


def test_a_uniform_activation_is_not_clipped(network: Path) -> None:
    chosen = windows(*(np.random.default_rng(at).uniform(-1, 1, SHAPE) for at in range(4)))
    largest = largest_magnitudes(network, {"image"}, chosen)
    assert ranges(network, largest, chosen, "entropy")["image"] > 0.95


@pytest.mark.parametrize("zeros", [0.0, 0.6, 0.95])
def test_zeros_do_not_narrow_the_range(network: Path, zeros: float) -> None:
    """Most of what a rectifier makes, and of the air around a patient, is exactly zero."""
    generator = np.random.default_rng(2)
    chosen = windows(*(generator.uniform(0, 1, SHAPE) * (generator.uniform(size=SHAPE) >= zeros) for _ in range(8)))
    largest = largest_magnitudes(network, {"image"}, chosen)
    assert ranges(network, largest, chosen, "entropy")["image"] > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_an_activation_of_zeros(network: Path, method: calibration.Method) -> None:
    chosen = windows(np.zeros(SHAPE))
    largest = largest_magnitudes(network, {"first"}, chosen)
    assert largest == {"first": 0.0} and ranges(network, largest, chosen, method) == {"first": 0.0}


def test_an_unknown_method(network: Path) -> None:
    with refused(UsageError, "'mse'") as caught:
        ranges(network, {"image": 1.0}, laplace(1), "mse")  # type: ignore[arg-type]
    check_facts(str(caught.value), "minmax", "percentile", "entropy")


def test_what_is_counted_apart_is_counted_together(network: Path) -> None:
    chosen = laplace(3)
    largest = largest_magnitudes(network, {"image", "first"}, chosen)
    together = Histograms(largest)
    for window in chosen:
        together.include(histograms(network, largest, [window]))
    whole = histograms(network, largest, chosen)
    for name in largest:
        np.testing.assert_array_equal(together.counts[name], whole.counts[name])
        assert whole.counts[name].sum() == 3 * np.prod(SHAPE if name == "image" else (2, *SHAPE[1:]))


def test_the_number_of_cores_changes_no_bit(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = laplace(7)
    found = []
    for cores in (1, 2, 5):
        monkeypatch.setattr(side_by_side, "usable_cores", lambda cores=cores: cores)
        found.append(largest_magnitudes(network, {"image", "twice", "first"}, chosen))
    assert found[0] == found[1] == found[2]
