"""Resizing by pixel coverage against OpenCV, and against exact arithmetic where that is known."""

import hashlib
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mmcaf_engine.errors import UsageError
from mmcaf_engine.inputs.resize import resize_area, resize_area_whole

TOLERANCE_HU = 1e-3
"""float32 sums of up to 4096 values near 1000 HU, added in another order than OpenCV's; measured 3.7e-4."""

SIZES = [
    ((512, 512), (192, 192)),
    ((512, 512), (208, 208)),
    ((512, 512), (191, 63)),
    ((512, 512), (511, 512)),
    ((512, 512), (1, 1)),
    ((384, 300), (192, 192)),
    ((100, 63), (63, 1)),
    ((7, 5), (7, 3)),
    ((128, 128), (192, 192)),
    ((160, 160), (208, 208)),
    ((68, 136), (192, 192)),
    ((63, 100), (192, 191)),
    ((3, 1), (5, 7)),
    ((1, 1), (3, 3)),
    ((192, 100), (192, 192)),
    ((512, 128), (192, 192)),
    ((100, 513), (192, 192)),
]


@pytest.mark.parametrize(("before", "after"), SIZES, ids=[f"{a[0]}x{a[1]}-to-{b[0]}x{b[1]}" for a, b in SIZES])
def test_equals_opencv(
    before: tuple[int, int], after: tuple[int, int], record_property: Callable[[str, object], None]
) -> None:
    cv2 = pytest.importorskip("cv2", reason="the reference is OpenCV")
    image = np.random.default_rng(0).uniform(-1200, 1500, before).astype(np.float32)
    expected = cv2.resize(image, after[::-1], interpolation=cv2.INTER_AREA)
    error = float(np.abs(resize_area(image, *after) - expected).max())
    record_property("max_error_hu", error)
    assert error <= TOLERANCE_HU


def test_equals_opencv_for_random_sizes() -> None:
    cv2 = pytest.importorskip("cv2", reason="the reference is OpenCV")
    draw = np.random.default_rng(1)
    worst = 0.0
    for _ in range(400):
        height, width, rows, columns = (int(side) for side in draw.integers(1, 130, 4))
        image = draw.uniform(-1200, 1500, (height, width)).astype(np.float32)
        expected = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
        worst = max(worst, float(np.abs(resize_area(image, rows, columns) - expected).max()))
    assert worst <= TOLERANCE_HU


WHOLE_SIZES = [
    ((512, 512), (192, 192)),
    ((480, 480), (208, 208)),
    ((640, 640), (192, 192)),
    ((384, 384), (192, 192)),
    ((768, 576), (192, 192)),
    ((384, 300), (192, 192)),
    ((63, 100), (31, 50)),
    ((100, 100), (192, 192)),
    ((384, 100), (192, 192)),
    ((64, 48), (4, 4)),
    ((192, 192), (192, 192)),
]


@pytest.mark.parametrize(
    ("before", "after"), WHOLE_SIZES, ids=[f"{a[0]}x{a[1]}-to-{b[0]}x{b[1]}" for a, b in WHOLE_SIZES]
)
@pytest.mark.parametrize("dtype", [np.int16, np.uint16])
def test_whole_values_are_opencvs_to_the_bit(before: tuple[int, int], after: tuple[int, int], dtype: type) -> None:
    cv2 = pytest.importorskip("cv2", reason="the reference is OpenCV")
    image = np.random.default_rng(0).integers(np.iinfo(dtype).min, np.iinfo(dtype).max + 1, before).astype(dtype)
    expected = cv2.resize(image, after[::-1], interpolation=cv2.INTER_AREA)
    given = image if dtype is np.int16 else image.astype(np.float32)
    assert np.array_equal(resize_area_whole(given, *after), expected)


@pytest.mark.parametrize(("before", "rows", "columns"), [((8194, 2), 4097, 1), ((4, 4), 0, 2), ((4, 0), 2, 2)])
def test_refuses_sides_of_whole_values_that_are_not_resized(before: tuple[int, int], rows: int, columns: int) -> None:
    with pytest.raises(UsageError, match="1 to 4096"):
        resize_area_whole(np.zeros(before, np.int16), rows, columns)


DIGEST_OF_OPENCV = {
    ((512, 512), (192, 192)): "2b34edd7b5f08403",
    ((480, 480), (208, 208)): "8ac07959fae25bed",
    ((384, 384), (192, 192)): "ec8271e7c6ac69a9",
    ((768, 576), (192, 192)): "e040036f5633b26f",
    ((384, 300), (192, 192)): "9a375ae2530034e5",
    ((160, 160), (208, 208)): "28bf109f9f5da812",
}
"""Before and after -> first digits of the SHA-256 of what cv2.resize of `pattern` by INTER_AREA gave, of
opencv-python-headless 4.10.0 and 5.0.0 alike."""


def pattern(rows: int, columns: int) -> NDArray[np.int16]:
    at = np.arange(rows * columns, dtype=np.int64)
    return ((at * 7919 + at * at % 1013 * 31) % 2701 - 1200).astype(np.int16).reshape(rows, columns)


@pytest.mark.parametrize(("before", "after"), DIGEST_OF_OPENCV)
def test_whole_values_are_those_that_opencv_gave(before: tuple[int, int], after: tuple[int, int]) -> None:
    found = resize_area_whole(pattern(*before), *after).astype(np.int16)
    assert hashlib.sha256(found.tobytes()).hexdigest()[:16] == DIGEST_OF_OPENCV[before, after]


def test_means_over_whole_pixels() -> None:
    image = np.arange(16, dtype=np.float32).reshape(4, 4)
    assert resize_area(image, 2, 2).tolist() == [[2.5, 4.5], [10.5, 12.5]]


def test_replicates_when_doubling() -> None:
    image = np.array([[1, 2], [3, 4]], np.float32)
    assert resize_area(image, 4, 4).tolist() == np.kron(image, np.ones((2, 2))).tolist()


def test_512_to_192_is_exact_for_whole_intensities() -> None:
    """Weights in eighths: no rounding, so that half-way cases later round to even as they should."""
    image = np.random.default_rng(2).integers(-1200, 1500, (512, 512))
    eighths = np.zeros((192, 512), np.int64)
    for output in range(192):
        for eighth in range(8):
            eighths[output, (output * 8 + eighth) // 3] += 1
    expected = eighths @ image @ eighths.T / 64
    assert np.array_equal(resize_area(image.astype(np.float32), 192, 192), expected)


def test_same_bits_alone_and_in_a_stack() -> None:
    stack = np.random.default_rng(3).normal(size=(3, 100, 63)).astype(np.float32)
    once, twice = resize_area(stack, 63, 31), resize_area(stack, 63, 31)
    assert np.array_equal(once, twice)
    assert np.array_equal(once[1], resize_area(stack[1], 63, 31))


def test_same_size_gives_a_copy() -> None:
    image = np.ones((3, 5), np.float32)
    result = resize_area(image, 3, 5)
    result[:] = 0
    assert image.all()


@pytest.mark.parametrize(
    ("shape", "rows", "columns"),
    [((5,), 3, 3), ((1, 2, 3, 4), 3, 3), ((0, 5), 3, 3), ((5, 5), 0, 3), ((5, 5), 3, 4097)],
    ids=["1-axis", "4-axes", "empty", "to-nothing", "too-large"],
)
def test_refuses(shape: tuple[int, ...], rows: int, columns: int) -> None:
    with pytest.raises(UsageError):
        resize_area(np.zeros(shape, np.float32), rows, columns)
