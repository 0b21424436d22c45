"""The processor's upsampling kernel, on every level of instructions, against float64."""

import logging
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from kernels.cpu_maps import BF16, F32, I8, UNITS, as_stored, each_level, largest, read, spread
from mmcaf_kernels.cpu.kernel import Stored
from mmcaf_kernels.cpu.library import missing
from mmcaf_kernels.cpu.upsample_depthwise import UpsampleDepthwise
from mmcaf_kernels.upsample_dw.reference import upsample_dw

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"no processor kernels here: {missing()}")

TOLERANCE = 1e-5
"""Of sums of 27 products of about 1 in float32."""
SHAPES = [(1, 1, 1, 1, 1), (2, 1, 3, 5, 16), (1, 3, 31, 2, 17), (1, 7, 2, 4, 20), (1, 2, 3, 50, 33), (1, 4, 2, 2, 16)]
NAMES = ["x".join(map(str, shape)) for shape in SHAPES]


def case(shape: tuple[int, ...], x: Stored) -> dict[str, Any]:
    random = np.random.default_rng(sum(shape))
    channels = shape[-1]
    return {
        "x": as_stored(random.normal(0, 2, shape).astype(np.float32), x),
        "taps": random.normal(0, 0.4, (channels, 27)).astype(np.float32),
        "bias": random.normal(0, 1, channels).astype(np.float32),
    }


def exact(given: dict[str, Any], x: Stored) -> NDArray[np.float64]:
    moved = torch.from_numpy(np.moveaxis(read(given["x"], x), -1, 1).copy())
    found = upsample_dw(moved, *(torch.from_numpy(given[name].astype(np.float64)) for name in ("taps", "bias")))
    return np.moveaxis(found.numpy(), 1, -1)


def computed(given: dict[str, Any], x: Stored, y: Stored, threads: int = 1) -> NDArray[np.float64]:
    kernel = UpsampleDepthwise(given["x"].shape, given["taps"], given["bias"], x=x, y=y)
    return read(kernel(given["x"], threads, out=spread(kernel.out_shape, y)), y)


@pytest.mark.parametrize("x", [F32, BF16, I8], ids=lambda stored: stored.type)
@pytest.mark.parametrize("shape", SHAPES, ids=NAMES)
def test_as_float64(shape: tuple[int, ...], x: Stored) -> None:
    given = case(shape, x)
    right = exact(given, x)
    errors = {level: largest(computed(given, x, F32) - right) for level in each_level()}
    logging.info("largest errors: %s", errors)
    assert max(errors.values()) <= TOLERANCE, errors


@pytest.mark.parametrize("y", [BF16, I8], ids=lambda stored: stored.type)
def test_answers_are_rounded_once(y: Stored) -> None:
    given = case((1, 3, 6, 7, 19), F32)
    right = exact(given, F32)
    right = np.minimum(right, 127 * y.step) if y.type == "i8" else right
    unit = UNITS[y.type] * (right if y.type == "bf16" else 1)
    for level in each_level():
        assert (np.abs(computed(given, F32, y) - right) <= unit + TOLERANCE).all(), level


@pytest.mark.parametrize("x", [F32, BF16, I8], ids=lambda stored: stored.type)
def test_same_bits_for_any_number_of_threads(x: Stored) -> None:
    given = case((1, 4, 40, 5, 33), x)
    for level in each_level():
        if level == "reference":
            continue  # one value after the other: it has nothing to share
        alone = computed(given, x, F32)
        for threads in (2, 3):
            np.testing.assert_array_equal(computed(given, x, F32, threads), alone, level)


def test_what_is_not_finite_is_not_hidden() -> None:
    given = case((1, 3, 6, 7, 16), F32)
    given["x"][0, 1, 3, 3, 5] = np.nan
    for level in each_level():
        found = computed(given, F32, F32)
        assert np.isnan(found[0, 2:4, 6:8, 6:8, 5]).all(), level
        assert np.isfinite(np.delete(found, 5, axis=-1)).all(), level


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"taps": np.zeros((16, 28), np.float32)}, "taps is float32"),
        ({"bias": np.zeros(16)}, "bias is float64"),
        ({"shape": (3, 6, 7, 16)}, "N, D, H, W, C"),
        ({"shape": (1, 3, 6, 0, 16)}, "no values"),
        ({"y": Stored("i8", float("nan"))}, "step"),
        ({"y": Stored("u8")}, "'u8'"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_misuse_is_refused(change: dict[str, Any], says: str) -> None:
    given = case((1, 3, 6, 7, 16), F32)
    with pytest.raises(ValueError, match=says):
        UpsampleDepthwise(**{"shape": given["x"].shape, "taps": given["taps"], "bias": given["bias"], **change})
