"""The processor's multi-scale depthwise kernel, on every level of instructions, against float64."""

import logging
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from kernels.cpu_maps import BF16, F32, I8, UNITS, Floats, as_stored, each_level, largest, read, spread
from mmcaf_kernels.cpu.kernel import Stored
from mmcaf_kernels.cpu.library import missing
from mmcaf_kernels.cpu.maps import bfloat16, float32
from mmcaf_kernels.cpu.multi_scale_depthwise import TAPS, MultiScaleDepthwise, lay_taps
from mmcaf_kernels.msdc.reference import msdc

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"no processor kernels here: {missing()}")

TOLERANCE = 2e-5
"""Of sums of 125 products of about 1 in float32."""
SHAPES = [
    (1, 1, 1, 1, 1),
    (1, 1, 3, 5, 16),
    (2, 2, 7, 3, 33),
    (1, 3, 12, 9, 16),
    (1, 4, 5, 6, 20),
    (1, 5, 4, 3, 7),
    (1, 6, 63, 3, 16),
    (1, 7, 3, 4, 18),
    (1, 9, 3, 100, 17),
]
NAMES = ["x".join(map(str, shape)) for shape in SHAPES]


def case(shape: tuple[int, ...], x: Stored) -> dict[str, Any]:
    random = np.random.default_rng(sum(shape))
    channels = shape[-1]
    taps = random.normal(0, 0.3, (channels, TAPS)).astype(np.float32)
    scales = np.ones((3, channels), np.float32)
    if x.type == "i8":
        taps[:, 1:] = random.integers(-127, 128, (channels, TAPS - 1))
        scales[1:] = random.uniform(0.5, 1.5, (2, channels)) / 127 / 3
    if x.type == "bf16":
        taps[:, 1:] = float32(bfloat16(taps[:, 1:]))
    values = random.normal(1, 2, shape).astype(np.float32)
    bias = random.normal(0, 1, (3, channels)).astype(np.float32)
    return {"x": as_stored(values, x), "taps": taps, "bias": bias, "scales": scales}


def exact(x: NDArray[np.float64], taps: Floats, bias: Floats, scales: Floats) -> NDArray[np.float64]:
    parts = np.split(taps.astype(np.float64), [1, 28], axis=1)
    scaled = np.concatenate([part * scale[:, None] for part, scale in zip(parts, scales, strict=True)], axis=1)
    moved = torch.from_numpy(np.moveaxis(x, -1, 1).copy())
    found = msdc(moved, torch.from_numpy(scaled), torch.from_numpy(bias.T.astype(np.float64)))
    return np.moveaxis(found.numpy(), 1, -1)


def computed(given: dict[str, Any], x: Stored, y: Stored, threads: int = 1, **options: Any) -> NDArray[np.float64]:
    weights = {name: given[name] for name in ("taps", "bias", "scales")}
    kernel = MultiScaleDepthwise(given["x"].shape, **weights, x=x, y=y, **options)
    return read(kernel(given["x"], threads, out=spread(kernel.out_shape, y)), y)


@pytest.mark.parametrize("x", [F32, BF16, I8], ids=lambda stored: stored.type)
@pytest.mark.parametrize("shape", SHAPES, ids=NAMES)
def test_as_float64(shape: tuple[int, ...], x: Stored) -> None:
    given = case(shape, x)
    right = exact(read(given["x"], x), given["taps"], given["bias"], given["scales"])
    errors = {level: largest(computed(given, x, F32) - right) for level in each_level()}
    logging.info("largest errors: %s", errors)
    assert max(errors.values()) <= TOLERANCE, errors


def test_taps_that_are_no_bfloat16_are_not_rounded() -> None:
    given = case((1, 6, 5, 6, 18), BF16)
    given["taps"] += given["taps"] / 300
    right = exact(read(given["x"], BF16), given["taps"], given["bias"], given["scales"])
    for level in each_level():
        assert largest(computed(given, BF16, F32) - right) <= TOLERANCE, level


@pytest.mark.parametrize("y", [BF16, I8], ids=lambda stored: stored.type)
def test_answers_are_rounded_once(y: Stored) -> None:
    given = case((1, 3, 6, 7, 19), F32)
    right = exact(read(given["x"], F32), given["taps"], given["bias"], given["scales"])
    right = np.minimum(right, 127 * y.step) if y.type == "i8" else right
    unit = UNITS[y.type] * (right if y.type == "bf16" else 1)
    for level in each_level():
        assert (np.abs(computed(given, F32, y) - right) <= unit + TOLERANCE).all(), level


@pytest.mark.parametrize("x", [F32, BF16, I8], ids=lambda stored: stored.type)
@pytest.mark.parametrize("resized", [(3, 6, 5), (1, 1, 1), (6, 12, 10), (7, 25, 21)], ids=str)
def test_resized_as_float64(resized: tuple[int, int, int], x: Stored) -> None:
    given = case((1, 6, 12, 10, 18), x)
    right = exact(read(given["x"], x), given["taps"], given["bias"], given["scales"])
    moved = torch.from_numpy(np.moveaxis(right, -1, 1).copy())
    smaller = np.moveaxis(F.interpolate(moved, size=resized, mode="trilinear", align_corners=True).numpy(), 1, -1)
    errors = {level: largest(computed(given, x, F32, resized=resized) - smaller) for level in each_level()}
    assert max(errors.values()) <= TOLERANCE, errors


@pytest.mark.parametrize("x", [F32, BF16, I8], ids=lambda stored: stored.type)
@pytest.mark.parametrize("options", [{}, {"resized": (3, 25, 3)}], ids=["plain", "resized"])
def test_same_bits_for_any_number_of_threads(x: Stored, options: dict[str, Any]) -> None:
    given = case((1, 6, 50, 5, 40), x)
    for level in each_level():
        alone = computed(given, x, F32, **options)
        for threads in (2, 3):
            np.testing.assert_array_equal(computed(given, x, F32, threads, **options), alone, level)


def test_all_vectors_give_the_same_bits_of_int8() -> None:
    given = case((1, 6, 7, 9, 20), I8)
    found = [computed(given, I8, F32) for level in each_level() if level != "reference"]
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_what_is_not_finite_is_not_hidden() -> None:
    given = case((1, 3, 6, 7, 16), F32)
    given["x"][0, 1, 3, 3, 5] = np.nan
    for level in each_level():
        found = computed(given, F32, F32)
        assert np.isnan(found[0, 1, 1:6, 1:6, 5]).all(), level
        assert np.isfinite(np.delete(found, 5, axis=-1)).all(), level


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"taps": np.zeros((16, 152), np.float32)}, "taps is float32"),
        ({"bias": np.zeros((3, 16))}, "bias is float64"),
        ({"shape": (1, 3, 6, 16)}, "N, D, H, W, C"),
        ({"shape": (1, 0, 6, 7, 16)}, "no values"),
        ({"shape": (1, 7, 6, 7, 16), "resized": (3, 3, 3)}, "up to 6 planes"),
        ({"resized": (3, 0, 3)}, "not positive"),
        ({"x": Stored("i8", 0.0)}, "step"),
        ({"x": Stored("i8", 1.0)}, "whole numbers from -127 to 127"),
        ({"x": Stored("f16")}, "'f16'"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_misuse_is_refused(change: dict[str, Any], says: str) -> None:
    given = case((1, 3, 6, 7, 16), F32)
    made = {"shape": given["x"].shape, "taps": given["taps"], "bias": given["bias"], **change}
    with pytest.raises(ValueError, match=says):
        MultiScaleDepthwise(**made)


def test_arrays_of_another_kind_are_refused() -> None:
    given = case((1, 3, 6, 7, 16), F32)
    kernel = MultiScaleDepthwise(given["x"].shape, given["taps"], given["bias"])
    for wrong in (given["x"][:, :2], given["x"].astype(np.float64), np.asfortranarray(given["x"])):
        with pytest.raises(ValueError, match="x is"):
            kernel(wrong)


def test_weights_of_convolutions_lie_by_size() -> None:
    random = np.random.default_rng(0)
    weights = [random.normal(0, 1, (5, 1, size, size, size)).astype(np.float32) for size in (1, 3, 5)]
    taps = lay_taps(*weights)
    assert taps.shape == (5, TAPS)
    np.testing.assert_array_equal(taps[2, 28:], weights[2][2].ravel())
