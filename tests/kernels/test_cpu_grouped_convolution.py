"""The processor's grouped convolution, on every level of instructions, against float64."""

import logging
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from kernels.cpu_maps import BF16, F32, I8, UNITS, as_stored, each_level, largest, read, spread
from mmcaf_kernels.cpu.grouped_convolution import GroupedConvolution
from mmcaf_kernels.cpu.kernel import Stored
from mmcaf_kernels.cpu.library import missing
from mmcaf_kernels.cpu.maps import bfloat16, float32

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"no processor kernels here: {missing()}")

TOLERANCE = 1e-5
"""Of sums of up to 432 products in float32, of about 2."""
SHAPES = [(1, 1, 1, 1, 16), (2, 2, 3, 7, 48), (1, 3, 63, 5, 16), (1, 9, 4, 17, 32), (1, 2, 3, 100, 16)]
NAMES = ["x".join(map(str, shape)) for shape in SHAPES]


def case(shape: tuple[int, ...], group: int, x: Stored) -> dict[str, Any]:
    random = np.random.default_rng(sum(shape) + group)
    channels = shape[-1]
    size = (channels, group, 3, 3, 3)
    taps = random.normal(0, (27 * group) ** -0.5, size).astype(np.float32)
    scales = np.ones(channels, np.float32)
    if x.type == "i8":
        taps = random.integers(-127, 128, size).astype(np.float32)
        scales = (random.uniform(0.5, 1.5, channels) / 127 / (27 * group) ** 0.5).astype(np.float32)
    if x.type == "bf16":
        taps = float32(bfloat16(taps))
    values = random.normal(0, 2, shape).astype(np.float32)
    bias = random.normal(0, 1, channels).astype(np.float32)
    return {"x": as_stored(values, x), "taps": taps, "bias": bias, "scales": scales}


def exact(given: dict[str, Any], x: Stored, stride: int) -> NDArray[np.float64]:
    weight = given["taps"].astype(np.float64) * given["scales"].reshape(-1, 1, 1, 1, 1)
    moved = torch.from_numpy(np.moveaxis(read(given["x"], x), -1, 1).copy())
    groups = given["taps"].shape[0] // given["taps"].shape[1]
    bias = torch.from_numpy(given["bias"].astype(np.float64))
    found = F.conv3d(moved, torch.from_numpy(weight), bias, stride=stride, padding=1, groups=groups)
    return np.moveaxis(found.numpy(), 1, -1)


def computed(given: dict[str, Any], x: Stored, y: Stored, threads: int = 1, **options: Any) -> NDArray[np.float64]:
    weights = {name: given[name] for name in ("taps", "bias", "scales")}
    kernel = GroupedConvolution(given["x"].shape, **weights, x=x, y=y, **options)
    return read(kernel(given["x"], threads, out=spread(kernel.out_shape, y)), y)


@pytest.mark.parametrize("x", [F32, BF16, I8], ids=lambda stored: stored.type)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("group", [4, 8, 16])
@pytest.mark.parametrize("shape", SHAPES, ids=NAMES)
def test_as_float64(shape: tuple[int, ...], group: int, stride: int, x: Stored) -> None:
    given = case(shape, group, x)
    right = exact(given, x, stride)
    errors = {level: largest(computed(given, x, F32, stride=stride) - right) for level in each_level()}
    logging.info("largest errors: %s", errors)
    assert max(errors.values()) <= TOLERANCE, errors


def test_taps_that_are_no_bfloat16_are_not_rounded() -> None:
    given = case((1, 2, 5, 6, 32), 8, BF16)
    given["taps"] += given["taps"] / 300
    right = exact(given, BF16, 1)
    for level in each_level():
        assert largest(computed(given, BF16, F32) - right) <= TOLERANCE, level


@pytest.mark.parametrize("channels", [4, 12, 20, 36])
@pytest.mark.parametrize("x", [F32, BF16, I8], ids=lambda stored: stored.type)
def test_channels_that_fill_no_block(channels: int, x: Stored) -> None:
    given = case((1, 2, 5, 6, channels), 4, x)
    right = exact(given, x, 1)
    for level in each_level():
        assert largest(computed(given, x, F32) - right) <= TOLERANCE, level


@pytest.mark.parametrize("y", [F32, BF16, I8], ids=lambda stored: stored.type)
def test_clipped_and_rounded_once(y: Stored) -> None:
    given = case((1, 3, 5, 7, 24), 8, F32)
    right = np.clip(exact(given, F32, 1), -0.5, 1.25)
    unit = UNITS.get(y.type, 0) * (np.abs(right) if y.type == "bf16" else 1)
    for level in each_level():
        assert (np.abs(computed(given, F32, y, limits=(-0.5, 1.25)) - right) <= unit + TOLERANCE).all(), level


@pytest.mark.parametrize("x", [F32, BF16, I8], ids=lambda stored: stored.type)
def test_same_bits_for_any_number_of_threads(x: Stored) -> None:
    given = case((1, 6, 50, 9, 48), 4, x)
    for level in each_level():
        alone = computed(given, x, F32)
        for threads in (2, 3):
            np.testing.assert_array_equal(computed(given, x, F32, threads), alone, level)


def test_all_vectors_give_the_same_bits_of_int8() -> None:
    given = case((1, 3, 7, 13, 32), 16, I8)
    found = [computed(given, I8, F32) for level in each_level() if level != "reference"]
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_what_is_not_finite_is_not_hidden() -> None:
    given = case((1, 3, 6, 7, 16), 4, F32)
    given["x"][0, 1, 3, 3, 5] = np.nan
    for level in each_level():
        found = computed(given, F32, F32, limits=(0.0, 6.0))
        assert np.isnan(found[0, :, 2:5, 2:5, 4:8]).all(), level
        assert np.isfinite(np.delete(found, range(4, 8), axis=-1)).all(), level


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"taps": np.zeros((16, 4, 27), np.float32)}, "taps is float32"),
        ({"taps": np.zeros((16, 3, 3, 3, 3), np.float32)}, "4, 8 or 16 channels"),
        ({"taps": np.zeros((20, 8, 3, 3, 3), np.float32), "shape": (1, 3, 6, 7, 20)}, "divide"),
        ({"stride": 3}, "stride is 1 or 2"),
        ({"stride": 0}, "stride is 1 or 2"),
        ({"limits": (1.0, 0.0)}, "lower limit"),
        ({"limits": (float("nan"), 0.0)}, "lower limit"),
        ({"bias": np.zeros(15, np.float32)}, "bias is float32"),
        ({"x": I8}, "whole numbers from -127 to 127"),
        ({"y": Stored("i8", -1.0)}, "step"),
        ({"shape": (1, 3, 0, 7, 16)}, "no values"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_misuse_is_refused(change: dict[str, Any], says: str) -> None:
    given = case((1, 3, 6, 7, 16), 4, F32)
    with pytest.raises(ValueError, match=says):
        GroupedConvolution(**{"shape": given["x"].shape, "taps": given["taps"], **change})
